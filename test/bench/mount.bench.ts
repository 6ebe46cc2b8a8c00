/** Mount + unmount of one container, through the library and by C loops of the same system calls. */
import { readdirSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { it } from 'vitest'
import { GIB } from '../helpers/sizes.ts'
import { NOW } from './support/builds.ts'
import { chainArchive, filesOf } from './support/chain.ts'
import { within } from './support/goal.ts'
import { type Contender, IS_SMOKE, type Name, ours, race, type Sample } from './support/race.ts'
import type { Metric } from './support/result.ts'
import { task, textOf } from './support/run.ts'
import { quantile } from './support/statistics.mjs'
import { cProgram } from './support/tools.ts'

/** The first mounts find nothing in the caches yet, and JavaScript that is not compiled. */
const [WARM_UP, COUNT] = IS_SMOKE ? [20, 50] : [2000, 500]
const NS_PER_US = 1000

const METRICS: readonly Metric[] = [
  { name: 'median', unit: 'µs', better: 'less' },
  { name: 'p99', unit: 'µs', better: 'less' },
]

function sampleOf(names: readonly string[], each: readonly number[]): Sample {
  const values = { median: quantile(each, 0.5) / NS_PER_US, p99: quantile(each, 0.99) / NS_PER_US }
  return { values, output: () => filesOf(names) }
}

interface Place {
  readonly home: string
  /** The chain's short names, relative to the home. */
  readonly links: readonly string[]
  readonly lowerdir: readonly string[]
  readonly upperdir: string
  readonly workdir: string
}

function cLoop(name: Name, how: 'fd' | 'name' | 'driver' | 'record' | 'path', layers: number): Contender {
  const run = (dir: string): Sample => {
    const archive = chainArchive(dir, layers - 1)
    const place = task<Place>(NOW, 'container-of-chain', { root: join(dir, 'root'), archive })
    const lowers = how === 'path' ? place.links : place.links.map((link) => join(place.home, link))
    const merged = join(dirname(place.upperdir), 'merged')
    const folders = [place.home, place.upperdir, place.workdir, merged]
    const lines = textOf([cProgram('mount-loop'), how, ...folders, String(WARM_UP + COUNT), ...lowers])
    const names = place.lowerdir.flatMap((lower) => readdirSync(lower))
    return sampleOf(names, lines.trim().split('\n').map(Number).slice(WARM_UP))
  }
  return { name, runs: 'in process', run }
}

function overlaid(name: Name, level: string, durability: string, layers: number): Contender[] {
  return ours((build) => ({
    name,
    runs: 'in process',
    run: (dir) => {
      const place = { root: join(dir, 'root'), archive: chainArchive(dir, layers - 1) }
      const counts = { warmUp: WARM_UP, count: COUNT }
      interface Mounts {
        readonly names: string[]
        readonly each: number[]
      }
      const { names, each } = task<Mounts>(build, 'mount', { ...place, level, durability, ...counts })
      return sampleOf(names, each)
    },
  }))
}

const FLOOR = 'C, the same calls, durability none'
const DRIVER = 'overlaid, driver, durability none'

// The store's init layer is one of the lowers: the image has one layer less.
it.each([10, 128])('mount + unmount, %i lowers', async (layers) => {
  await race({
    id: `mount-${String(layers)}`,
    title: `Mount and unmount of ${String(layers)} lowers`,
    about:
      'One container, again and again. Nothing is written but the mount point and, by the store, its record.',
    metrics: METRICS,
    disk: GIB,
    base: FLOOR,
    contenders: [
      cLoop(FLOOR, 'driver', layers),
      cLoop('C, by names, nothing looked at; durability none', 'name', layers),
      cLoop('C, mount(2) with short names, durability none', 'path', layers),
      cLoop('C, by names, with a record of it, durability none', 'record', layers),
      ...overlaid(DRIVER, 'driver', 'none', layers),
      ...overlaid('overlaid, store, durability none', 'store', 'none', layers),
      ...overlaid('overlaid, store, durability full', 'store', 'full', layers),
    ],
    goals: [within(DRIVER, FLOOR, 1.2)],
  })
})
