/** A container's life, created, mounted, unmounted and removed: one caller, and a thousand at once. Durability none. */
import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { json } from '../e2e/support/command.ts'
import { buildImage, dockerArchive } from '../helpers/image.ts'
import { loopFileSystem, type LoopFileSystem } from '../helpers/loopfs.ts'
import { GIB } from '../helpers/sizes.ts'
import { report, ROUNDS, type Row } from './report.ts'

const LIVES_A_ROUND = 300
const CALLERS = 1000
const NANOSECONDS = 1000

let disk: LoopFileSystem
let loop: string

beforeAll(() => {
  disk = loopFileSystem('ext4', GIB)
  loop = join(disk.dir, 'create-loop')
  execFileSync('cc', ['-O2', '-o', loop, join(import.meta.dirname, 'create-loop.c')])
})
afterAll(() => disk[Symbol.dispose]())

/** A root with an image of `layers` layers; the folder of the top one. */
async function rootWith(layers: number): Promise<{ readonly root: string; readonly parent: string }> {
  const root = join(disk.dir, `root-${String(layers)}`)
  const image = buildImage({
    names: ['bench:1'],
    layers: Array.from({ length: layers }, (_, i) => [{ name: `file-${String(i)}`, body: String(i) }]),
  })
  writeFileSync(`${root}.tar`, dockerArchive([image]))
  await json(root, 'load', '-i', `${root}.tar`)
  await json(root, 'create', '--name', 'bench', 'bench:1')
  const { lowerdir } = await json<{ readonly lowerdir: string[] }>(root, 'inspect', 'bench')
  // The first is the init layer's.
  return { root, parent: lowerdir[1]?.split('/').at(-2) ?? '' }
}

function run(command: string, ...args: readonly string[]): number[] {
  return execFileSync(command, args, { encoding: 'utf8' }).trim().split('\n').map(Number)
}

function node(...args: readonly string[]): number[] {
  return run(process.execPath, join(import.meta.dirname, 'create-loop.mjs'), ...args)
}

/** Rounds of each contender, interleaved; a contender gives its value in µs. */
function measure(contenders: Readonly<Record<string, () => number>>): Row[] {
  const rows = Object.keys(contenders).map((name) => ({ name, values: [] as number[] }))
  for (let round = 0; round < ROUNDS; round++) {
    for (const { name, values } of rows) values.push(contenders[name]?.() ?? NaN)
  }
  return rows
}

it.each([5, 50, 120])('a life on %i layers', async (layers) => {
  const { root, parent } = await rootWith(layers)
  const count = String(LIVES_A_ROUND)
  const mean = ([value = NaN]: readonly number[]) => value / NANOSECONDS
  const rows = measure({
    'C loop': () => mean(run(loop, join(root, 'overlay2'), parent, count)),
    'overlaid, driver': () => mean(node('driver', root, parent, count)),
    'overlaid, store': () => mean(node('store', root, 'bench:1', count)),
  })
  report(`create-${String(layers)}`, `a container's life, ${String(layers)} layers`, 'µs', rows, 'C loop')
})

it(`${String(CALLERS)} callers at once, by how many mounts are in flight`, async () => {
  const { root, parent } = await rootWith(10)
  const lives: Row[] = []
  const slowest: Row[] = []
  for (let round = 0; round < ROUNDS; round++) {
    for (const [i, limit] of [1, 2, 3, 4, CALLERS].entries()) {
      const [mean = NaN, ...times] = node('callers', root, parent, String(CALLERS), String(limit))
      expect(times).toHaveLength(2 * CALLERS)
      const name = `${String(limit)} in flight`
      lives[i] ??= { name, values: [] }
      slowest[i] ??= { name, values: [] }
      ;(lives[i].values as number[]).push(mean / NANOSECONDS)
      ;(slowest[i].values as number[]).push(percentile(times, 0.99) / NANOSECONDS)
    }
  }
  report('callers-life', `${String(CALLERS)} callers: a life`, 'µs', lives, '4 in flight')
  report('callers-p99', `${String(CALLERS)} callers: p99 of a call's service`, 'µs', slowest, '4 in flight')
})

function percentile(values: readonly number[], part: number): number {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.floor(part * (sorted.length - 1))] ?? NaN
}
