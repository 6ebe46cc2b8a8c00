/** The drivers beside each other, on the file systems that make a difference to them: time and space. */
import { join } from 'node:path'
import { it } from 'vitest'
import type { FileSystemKind } from '../helpers/loopfs.ts'
import { GIB, MIB } from '../helpers/sizes.ts'
import { commandOf } from './support/builds.ts'
import { IS_SMOKE, type Name, ours, race, type Contender } from './support/race.ts'
import type { Metric } from './support/result.ts'
import { task, textOf } from './support/run.ts'
import { median } from './support/statistics.mjs'
import type { Tool } from './support/tools.ts'
import { debianBase, IMAGE_NAME, imageOf, largeFile, smallFiles } from './support/workloads.ts'

const [CONTAINERS, LIVES, SMALL, LARGE] = IS_SMOKE ? [2, 1, 500, 8 * MIB] : [10, 5, 5000, 64 * MIB]
const BASE = IS_SMOKE ? '1,000 small files' : 'a Debian base system (6,700 entries, 170 MB)'
const NS_PER_MS = 1e6

const LOAD = 'load'
const LIFE = "a container's life"
const IMAGE = 'the image'
const MADE = `${String(CONTAINERS)} containers`
const CHANGE = 'one byte changed'

const METRICS: readonly Metric[] = [
  { name: LOAD, unit: 'ms', better: 'less' },
  { name: LIFE, unit: 'ms', better: 'less' },
  { name: IMAGE, unit: 'MiB', better: 'less' },
  { name: MADE, unit: 'MiB', better: 'less' },
  { name: CHANGE, unit: 'MiB', better: 'less' },
]

/** The first is the base. */
const PLACES: readonly (readonly [driver: string, on: FileSystemKind, note?: string])[] = [
  ['overlay2', 'ext4'],
  ['overlay2', 'xfs'],
  ['overlay2', 'btrfs'],
  ['fuse-overlayfs', 'ext4'],
  ['btrfs', 'btrfs'],
  ['vfs', 'ext4'],
  ['vfs', 'xfs', 'reflink'],
  ['vfs', 'btrfs', 'reflink'],
]

const NEEDS: Readonly<Record<string, readonly Tool[]>> = {
  'fuse-overlayfs': ['fuse-overlayfs'],
  xfs: ['mkfs.xfs'],
  btrfs: ['mkfs.btrfs'],
}

function nameOf([driver, on, note]: (typeof PLACES)[number]): Name {
  const extra = note === undefined ? '' : ` with ${note}`
  return `${driver} on ${on}${extra}, durability full`
}

interface Costs {
  readonly load: number
  readonly lives: readonly number[]
  /** Used bytes: empty, with the image, with containers, with one of them changed. */
  readonly space: readonly number[]
  /** Of the changed file. */
  readonly digest: string
}

function contendersOf(place: (typeof PLACES)[number], archive: string): Contender[] {
  const [driver, on] = place
  return ours((build) => ({
    name: nameOf(place),
    runs: 'in process',
    needs: [...new Set([...(NEEDS[driver] ?? []), ...(NEEDS[on] ?? [])])],
    on,
    run: (dir) => {
      const root = join(dir, 'root')
      const counts = { containers: CONTAINERS, lives: LIVES }
      const given = { root, driver, durability: 'full', archive, file: 'file', ...counts }
      const { load, lives, space, digest } = task<Costs>(build, 'driver', given)
      const grown = space.slice(1).map((bytes, i) => (bytes - (space[i] ?? NaN)) / MIB)
      const [image = NaN, made = NaN, change = NaN] = grown
      const times = { [LOAD]: load, [LIFE]: median(lives) / NS_PER_MS }
      const values = { ...times, [IMAGE]: image, [MADE]: made, [CHANGE]: change }
      const exported = `"$@" --root ${root} export ${IMAGE_NAME} | sha256sum`
      const argv = ['bash', '-c', `set -o pipefail; ${exported}`, 'bash', process.execPath, commandOf(build)]
      return { values, output: () => [textOf(argv), digest] }
    },
  }))
}

it('drivers on file systems', async () => {
  const base = await (IS_SMOKE ? smallFiles(1000) : debianBase())
  const layers = [base, await largeFile(LARGE), await smallFiles(SMALL)]
  const archive = await imageOf(...layers)
  const [first, ...others] = PLACES
  if (first === undefined) throw new RangeError('no place')
  await race({
    id: 'drivers',
    title: 'The drivers, in time and space',
    about:
      `An image of three layers: ${BASE}, one file of ${String(LARGE / MIB)} MiB, ` +
      `and ${SMALL.toLocaleString('en')} small ones. A container's life is create, mount, unmount and remove, with the ` +
      'deletion of its files. Space is what the file system has less after it, by statfs(2) after syncfs(2): for ' +
      `the image, for ${MADE} of it, for one byte changed in the large file by one of them. Compared: the image as it ` +
      'is exported, and the changed file. `npm run bench -- --only drivers` gives it.',
    metrics: METRICS,
    disk: 8 * GIB,
    base: nameOf(first),
    contenders: [first, ...others].flatMap((place) => contendersOf(place, archive)),
  })
})
