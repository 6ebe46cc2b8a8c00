/** Mount + unmount while many others are mounted: what they cost must be the kernel's share alone. */
import { join } from 'node:path'
import { it } from 'vitest'
import { GIB } from '../helpers/sizes.ts'
import { chainArchive, loadChain } from './support/chain.ts'
import { within } from './support/goal.ts'
import { type Contender, IS_SMOKE, type Name, ours, race, type Sample } from './support/race.ts'
import type { Metric } from './support/result.ts'
import { task, textOf } from './support/run.ts'
import { quantile } from './support/statistics.mjs'
import { cProgram } from './support/tools.ts'

const [WARM_UP, COUNT] = IS_SMOKE ? [10, 30] : [100, 200]
const LAYERS = 3
const NS_PER_US = 1000

const METRICS: readonly Metric[] = [
  { name: 'median', unit: 'µs', better: 'less' },
  { name: 'p99', unit: 'µs', better: 'less' },
]

const KERNEL = 'C, by descriptors, durability none'
const DRIVER = 'overlaid, driver, durability none'

function sampleOf(each: readonly number[]): Sample {
  return { values: { median: quantile(each, 0.5) / NS_PER_US, p99: quantile(each, 0.99) / NS_PER_US } }
}

function cLoop(name: Name, alive: number): Contender {
  const run = (dir: string): Sample => {
    const { home, lowers } = loadChain(dir, LAYERS)
    const counts = [alive, WARM_UP, COUNT].map(String)
    return sampleOf(
      textOf([cProgram('alive-loop'), home, ...counts, ...lowers])
        .trim()
        .split('\n')
        .map(Number),
    )
  }
  return { name, runs: 'in process', run }
}

function overlaid(name: Name, alive: number): Contender[] {
  return ours((build) => ({
    name,
    runs: 'in process',
    run: (dir) => {
      const place = { root: join(dir, 'root'), archive: chainArchive(dir, LAYERS) }
      const { each } = task<{ each: number[] }>(build, 'alive', {
        ...place,
        alive,
        warmUp: WARM_UP,
        count: COUNT,
      })
      return sampleOf(each)
    },
  }))
}

it.each(IS_SMOKE ? [0, 100] : [0, 1000, 10_000])('mount + unmount beside %i others', async (alive) => {
  await race({
    id: `alive-${String(alive)}`,
    title: `Mount and unmount beside ${alive.toLocaleString('en')} mounts`,
    about: `Overlays of ${String(LAYERS)} lowers, each mount with an upper of its own.`,
    metrics: METRICS,
    disk: 4 * GIB,
    base: KERNEL,
    contenders: [cLoop(KERNEL, alive), ...overlaid(DRIVER, alive)],
    goals: [within(DRIVER, KERNEL, 1.2)],
  })
})
