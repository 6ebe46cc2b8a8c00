/** Numbers of a benchmark: medians, a Markdown table with the machine's line, the same as JSON. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { availableParallelism, cpus, release, totalmem } from 'node:os'
import { join } from 'node:path'
import { GIB } from '../helpers/sizes.ts'

/** Rounds of each contender, interleaved. One is a smoke test. */
export const ROUNDS: number = Number(process.env['BENCH_ROUNDS'] ?? 7)

const FOLDER = join(import.meta.dirname, '../../bench-results')

export interface Row {
  readonly name: string
  /** One value a round, in the table's unit. */
  readonly values: readonly number[]
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  const [low = NaN, high = NaN] = [sorted[middle - 1], sorted[middle]]
  return sorted.length % 2 === 1 ? high : (low + high) / 2
}

/** The machine and its software in a line, so that a number is never without it. */
function machine(): string {
  const model = cpus()[0]?.model.trim() ?? 'unknown CPU'
  const distribution = /^PRETTY_NAME="(.*)"$/m.exec(readFileSync('/etc/os-release', 'utf8'))?.[1] ?? 'Linux'
  const size = `${availableParallelism().toString()} × ${model}, ${(totalmem() / GIB).toFixed(0)} GiB`
  return `${size}, kernel ${release()}, ${distribution}, Node ${process.version}`
}

/** Prints the table and writes `bench-results/<id>.json`. `base` names the row that the others are divided by. */
export function report(id: string, title: string, unit: string, rows: readonly Row[], base: string): void {
  const floor = median(rows.find(({ name }) => name === base)?.values ?? [])
  const lines = rows.map(({ name, values }) => {
    const range = `${Math.min(...values).toFixed(1)} – ${Math.max(...values).toFixed(1)}`
    return `| ${name} | ${median(values).toFixed(1)} | ${range} | ${(median(values) / floor).toFixed(2)} |`
  })
  const head = [`| ${title} | median, ${unit} | range | × ${base} |`, '| --- | ---: | ---: | ---: |']
  const rounds = String(rows[0]?.values.length ?? 0)
  console.log(['', ...head, ...lines, '', `${rounds} interleaved rounds; ${machine()}`].join('\n'))
  mkdirSync(FOLDER, { recursive: true })
  const result = { id, title, unit, machine: machine(), date: new Date().toISOString(), base, rows }
  writeFileSync(join(FOLDER, `${id}.json`), `${JSON.stringify(result, undefined, 2)}\n`)
}
