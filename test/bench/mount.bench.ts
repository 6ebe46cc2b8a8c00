/** Mount + unmount of one container, through the library and by a C loop of the same system calls. */
import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { json } from '../e2e/support/command.ts'
import { buildImage, dockerArchive } from '../helpers/image.ts'
import { loopFileSystem, type LoopFileSystem } from '../helpers/loopfs.ts'
import { GIB } from '../helpers/sizes.ts'
import { median, report, ROUNDS, type Row } from './report.ts'

const MOUNTS_A_ROUND = 800
/** The first ones find nothing in the caches yet, and JavaScript that is not compiled. */
const WARM_UP = 300
const NANOSECONDS = 1000

let disk: LoopFileSystem
let loop: string

beforeAll(() => {
  disk = loopFileSystem('ext4', GIB)
  loop = join(disk.dir, 'mount-loop')
  execFileSync('cc', ['-O2', '-o', loop, join(import.meta.dirname, 'mount-loop.c')])
})
afterAll(() => disk[Symbol.dispose]())

interface Details {
  readonly lowerdir: string[]
  readonly upperdir: string
  readonly workdir: string
}

/** A container on an image of `layers` layers; the init layer makes one more lower. */
async function container(root: string, layers: number): Promise<Details> {
  const image = buildImage({
    names: ['bench:1'],
    layers: Array.from({ length: layers }, (_, i) => [{ name: `file-${String(i)}`, body: String(i) }]),
  })
  writeFileSync(`${root}.tar`, dockerArchive([image]))
  await json(root, 'load', '-i', `${root}.tar`)
  await json(root, 'create', '--name', 'bench', 'bench:1')
  return json<Details>(root, 'inspect', 'bench')
}

/** The median of a run's mounts, in µs. */
function measure(command: string, args: readonly string[]): number {
  const lines = execFileSync(command, args, { encoding: 'utf8' }).trim().split('\n')
  expect(lines).toHaveLength(MOUNTS_A_ROUND)
  return median(lines.slice(WARM_UP).map(Number)) / NANOSECONDS
}

it.each([10, 128])('mount + unmount, %i layers', async (layers) => {
  const root = join(disk.dir, `root-${String(layers)}`)
  // The init layer is one of the lowers.
  const { lowerdir, upperdir, workdir } = await container(root, layers - 1)
  expect(lowerdir).toHaveLength(layers)
  const home = join(root, 'overlay2')
  const links = execFileSync('cat', [join(upperdir, '../lower')], { encoding: 'utf8' }).split(':')
  // The names that the library gives: through l/, as in the mount table.
  const names = links.map((link) => join(home, link))
  const count = String(MOUNTS_A_ROUND)
  const merged = join(upperdir, '../merged')
  const node = (level: string): number =>
    measure(process.execPath, [join(import.meta.dirname, 'mount-loop.mjs'), level, root, 'bench', count])
  const c = (how: string, lowers: readonly string[]): number =>
    measure(loop, [how, home, upperdir, workdir, merged, count, ...lowers])
  const contenders: Record<string, () => number> = {
    'C, by names': () => c('name', names),
    'C, by descriptors': () => c('fd', names),
    'C, mount(2) with short names': () => c('path', links),
    'C, by names, with a record of it': () => c('record', names),
    'overlaid, driver': () => node('driver'),
    'overlaid, container.mount()': () => node('store'),
  }
  const rows: Row[] = Object.keys(contenders).map((name) => ({ name, values: [] }))
  for (let round = 0; round < ROUNDS; round++) {
    for (const { name, values } of rows) (values as number[]).push(contenders[name]?.() ?? NaN)
  }
  report(`mount-${String(layers)}`, `mount + unmount, ${String(layers)} layers`, 'µs', rows, 'C, by names')
})
