/**
 * One run of a benchmark: contenders take turns, round after round, each turn on a file system of its own, so that what
 * disturbs the machine disturbs them all. In the first round what each has made is compared: what is fast and wrong is
 * no contender. A time is never asserted.
 *
 *     await race({ id: 'diff', title: '…', metrics: [TIME], disk: GIB, base: gnuTar, contenders: [gnuTar, ...ours(…)] })
 */
import { isDeepStrictEqual } from 'node:util'
import { type Build, BUILDS, COMPARED } from './builds.ts'
import type { FileSystemKind } from '../../helpers/loopfs.ts'
import { benchDisk } from './disk.ts'
import type { Goal } from './goal.ts'
import { report } from './report.ts'
import type { Metric, Result, Row, Runs } from './result.ts'
import { missingTool, type Tool } from './tools.ts'

/** Rounds of each contender. One is a smoke test. */
export const ROUNDS: number = roundsOf(process.env['BENCH_ROUNDS'] ?? '5')
/** A smoke test's workloads that repeat something repeat it less often. */
export const IS_SMOKE: boolean = ROUNDS === 1

function roundsOf(text: string): number {
  const rounds = Number(text)
  if (Number.isInteger(rounds) && rounds > 0) return rounds
  throw new RangeError(`BENCH_ROUNDS is ${text}: a number of rounds, 1 or more`)
}

/** What was durable when the clock stopped is said of every contender. */
export type Name = `${string}durability ${string}`

export interface Contender {
  readonly name: Name
  readonly runs: Runs
  /** Of ours: which build. */
  readonly build?: Build
  readonly needs?: readonly Tool[]
  /** The file system that it works on; ext4 by default. */
  readonly on?: FileSystemKind
  /** `dir` is empty, on a file system that nothing was on before. */
  readonly run: (dir: string) => Sample | Promise<Sample>
}

export interface Sample {
  /** By the metrics' names; one that has no meaning for the contender is left out. */
  readonly values: Readonly<Record<string, number>>
  /** What it made, for the comparison; asked for in the first round only, while `dir` is still there. */
  readonly output?: () => unknown
}

export interface Race {
  /** Names the file of the result. */
  readonly id: string
  readonly title: string
  /** What is measured and what is compared, in a sentence or two. */
  readonly about: string
  /** The first one decides. */
  readonly metrics: readonly Metric[]
  /** Size of each turn's file system in bytes. */
  readonly disk: number
  /** Whom the others are compared with. */
  readonly base: Name
  readonly contenders: readonly Contender[]
  readonly goals?: readonly Goal[]
}

/** A contender of each build that takes part: one, or with `--compare` two. */
export function ours(make: (build: Build) => Omit<Contender, 'build'>): Contender[] {
  return BUILDS.map((build) => ({ ...make(build), build }))
}

/** Runs all rounds and reports. @throws when a contender fails, or made something else than the others */
export async function race(plan: Race): Promise<void> {
  const wanted = plan.contenders.filter(({ build }) => COMPARED === undefined || build !== undefined)
  const absent = wanted.flatMap(({ name, needs = [] }) =>
    needs.filter(missingTool).map((tool) => ({ name, tool })),
  )
  const contenders = wanted.filter(({ name }) => !absent.some((one) => one.name === name))
  const turns = contenders.map((contender) => ({ contender, row: rowOf(contender, plan.metrics) }))
  const same = new SameOutput()
  for (let round = 0; round < ROUNDS; round++) {
    // Every other round backwards: nobody always comes after the same one.
    for (const { contender, row } of round % 2 === 0 ? turns : turns.toReversed()) {
      using disk = benchDisk(plan.disk, contender.on)
      const { values, output } = await contender.run(disk.dir)
      for (const [name, value] of Object.entries(values)) row.values[name]?.push(value)
      if (round === 0 && output !== undefined) same.expect(contender.name, await output())
    }
  }
  report(
    resultOf(
      plan,
      turns.map(({ row }) => row),
      absent,
    ),
  )
}

type OpenRow = Row & { readonly values: Record<string, number[]> }

function rowOf({ name, runs, build }: Contender, metrics: readonly Metric[]): OpenRow {
  const values = Object.fromEntries(metrics.map((metric) => [metric.name, [] as number[]]))
  return { name, runs, values, ...(COMPARED !== undefined && build !== undefined && { build: build.label }) }
}

function resultOf(
  plan: Race,
  rows: readonly Row[],
  absent: Result['absent'],
): Omit<Result, 'machine' | 'date'> {
  const { id, title, about, metrics, base, goals = [] } = plan
  return {
    id,
    title,
    about,
    metrics,
    base,
    rounds: ROUNDS,
    rows,
    absent,
    goals: goals.map((goal) => goal(rows)),
  }
}

/** Compares what contenders made with what the first of them made. */
class SameOutput {
  #first: { readonly name: string; readonly output: unknown } | undefined

  expect(name: string, output: unknown): void {
    this.#first ??= { name, output }
    if (isDeepStrictEqual(output, this.#first.output)) return
    throw new Error(
      `${name} made something else than ${this.#first.name}: ${difference(output, this.#first.output)}`,
    )
  }
}

/** The first line in which two lists differ, else both as JSON. */
function difference(one: unknown, other: unknown): string {
  if (!Array.isArray(one) || !Array.isArray(other))
    return `${JSON.stringify(one)}, not ${JSON.stringify(other)}`
  const at = one.findIndex((line, i) => !isDeepStrictEqual(line, other[i]))
  const line = at < 0 ? one.length : at
  return `line ${String(line)} is ${JSON.stringify(one[line])}, not ${JSON.stringify(other[line])}`
}
