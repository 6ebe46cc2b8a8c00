/** What mapping the ids of an image's files costs a container: nothing is copied, so it should be next to nothing. */
import { join } from 'node:path'
import { it } from 'vitest'
import type { IDMap } from '../../lib/driver/id-map.ts'
import { GIB } from '../helpers/sizes.ts'
import { within } from './support/goal.ts'
import { type Contender, IS_SMOKE, type Name, ours, race } from './support/race.ts'
import type { Metric } from './support/result.ts'
import { task } from './support/run.ts'
import { quantile } from './support/statistics.mjs'
import { imageOf, smallFiles } from './support/workloads.ts'

const FILES = 10_000
const [WARM_UP, COUNT] = IS_SMOKE ? [5, 20] : [100, 400]
const NS_PER_US = 1000

const RANGES = [{ container: 0, host: 100_000, size: 65_536 }]
const MAP: IDMap = { uid: RANGES, gid: RANGES }

const METRICS: readonly Metric[] = [
  { name: 'create + mount', unit: 'µs', better: 'less' },
  { name: 'with unmount + remove', unit: 'µs', better: 'less' },
  { name: 'p99 of that', unit: 'µs', better: 'less' },
]

interface Lives {
  readonly names: readonly string[]
  /** The uid of the root folder, from outside. */
  readonly owner: number
  readonly mounted: readonly number[]
  readonly whole: readonly number[]
}

function containers(
  name: Name,
  archive: string,
  durability: string,
  map: { readonly idMap?: IDMap },
): Contender[] {
  const outside = map.idMap === undefined ? 0 : 100_000
  return ours((build) => ({
    name,
    runs: 'in process',
    run: (dir) => {
      const given = { root: join(dir, 'root'), archive, durability, warmUp: WARM_UP, count: COUNT, ...map }
      const { names, owner, mounted, whole } = task<Lives>(build, 'container-map', given)
      const values = {
        'create + mount': quantile(mounted, 0.5) / NS_PER_US,
        'with unmount + remove': quantile(whole, 0.5) / NS_PER_US,
        'p99 of that': quantile(whole, 0.99) / NS_PER_US,
      }
      return { values, output: () => [...names.toSorted(), `owner + ${String(owner - outside)}`] }
    },
  }))
}

it('a container with an id map', async () => {
  const archive = await imageOf(await smallFiles(FILES))
  const pairs = (['none', 'full'] as const).map(
    (durability) =>
      [`without a map, durability ${durability}`, `with an id map, durability ${durability}`] as const,
  )
  await race({
    id: 'container-id-map',
    title: `A container of ${FILES.toLocaleString('en')} files whose ids are mapped`,
    about:
      "By the store; the image's 10,000 files are in one layer, of which nothing is copied. Compared: the names in the " +
      'mounted root, and its owner less what the map adds.',
    metrics: METRICS,
    disk: GIB,
    base: pairs[0]?.[0] ?? '',
    contenders: pairs.flatMap(([plain, mapped]) => {
      const durability = plain.endsWith('full') ? 'full' : 'none'
      return [
        ...containers(plain, archive, durability, {}),
        ...containers(mapped, archive, durability, { idMap: MAP }),
      ]
    }),
    goals: pairs.map(([plain, mapped]) => within(mapped, plain, 1.1)),
  })
})
