/** Many callers at once: how long each is served, and how many a second, by how many are let in at a time. */
import { join } from 'node:path'
import { it } from 'vitest'
import { GIB } from '../helpers/sizes.ts'
import { chainArchive } from './support/chain.ts'
import { nearBest, under } from './support/goal.ts'
import { type Contender, IS_SMOKE, type Name, ours, race } from './support/race.ts'
import type { Metric } from './support/result.ts'
import { task } from './support/run.ts'
import { quantile } from './support/statistics.mjs'

const CALLERS = IS_SMOKE ? 100 : 1000
const WARM_UP = IS_SMOKE ? 10 : 200
const LAYERS = 10
const NS_PER_MS = 1e6
const NS_PER_S = 1e9

const METRICS: readonly Metric[] = [
  { name: 'rate', unit: 'containers/s', better: 'more' },
  { name: 'p50', unit: 'ms', better: 'less' },
  { name: 'p99', unit: 'ms', better: 'less' },
]

const nameFor = (inFlight: number): Name => `overlaid, driver, ${String(inFlight)} let in; durability none`
const ALL_IN: Name = 'overlaid, driver, all let in at once; durability none'
const SETTINGS = [1, 2, 4, 8, 16]

function overlaid(name: Name, inFlight: number): Contender[] {
  return ours((build) => ({
    name,
    runs: 'in process',
    run: (dir) => {
      const place = { root: join(dir, 'root'), archive: chainArchive(dir, LAYERS) }
      const parameters = { ...place, callers: CALLERS, inFlight, warmUp: WARM_UP }
      const { each, total } = task<{ each: number[]; total: number }>(build, 'callers', parameters)
      const p50 = quantile(each, 0.5) / NS_PER_MS
      const p99 = quantile(each, 0.99) / NS_PER_MS
      return { values: { rate: CALLERS / (total / NS_PER_S), p50, p99 } }
    },
  }))
}

it('many callers at once', async () => {
  const names = [...SETTINGS.map(nameFor), ALL_IN]
  await race({
    id: 'callers',
    title: `${CALLERS.toLocaleString('en')} callers, a container each, on ${String(LAYERS)} layers`,
    about:
      'Create, mount, unmount, remove at the driver, a caller the next when one is done. p50 and p99 are of a ' +
      "caller's time from where it is let in; where all are let in at once the library's own bound is what queues " +
      'them, and the time holds the wait.',
    metrics: METRICS,
    disk: 2 * GIB,
    base: nameFor(1),
    contenders: [...SETTINGS.flatMap((n) => overlaid(nameFor(n), n)), ...overlaid(ALL_IN, CALLERS)],
    goals: [under(nameFor(4), 'p99', 10, 'ms'), nearBest(ALL_IN, names, 'rate', 0.95)],
  })
})
