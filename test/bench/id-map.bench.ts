/** What mapping the ids of an image's files costs a container: nothing is copied, so it should be next to nothing. */
import { join } from 'node:path'
import { it } from 'vitest'
import type { IDMap } from '../../lib/driver/id-map.ts'
import { GIB } from '../helpers/sizes.ts'
import { under } from './support/goal.ts'
import { type Contender, IS_SMOKE, type Name, ours, race } from './support/race.ts'
import type { Metric } from './support/result.ts'
import { task } from './support/run.ts'
import { quantile } from './support/statistics.mjs'
import { imageOf, smallFiles } from './support/workloads.ts'

const FILES = 10_000
const [WARM_UP, COUNT] = IS_SMOKE ? [5, 20] : [50, 300]
const NS_PER_US = 1000

const HOST = 100_000
const RANGES = [{ container: 0, host: HOST, size: 65_536 }]
const MAP: IDMap = { uid: RANGES, gid: RANGES }

const RATIO = 'ratio'
const WHOLE_RATIO = 'ratio with unmount + remove'
const METRICS: readonly Metric[] = [
  { name: 'create + mount, mapped', unit: 'µs', better: 'less' },
  { name: 'without a map', unit: 'µs', better: 'less' },
  { name: RATIO, unit: '×', better: 'less' },
  { name: WHOLE_RATIO, unit: '×', better: 'less' },
]

interface Lives {
  readonly mounted: readonly number[]
  readonly whole: readonly number[]
  /** In the mounted root, from outside. */
  readonly seen: { readonly names: readonly string[]; readonly uid: number }
}

function valuesOf(plain: Lives, mapped: Lives): Record<string, number> {
  const median = (numbers: readonly number[]): number => quantile(numbers, 0.5)
  return {
    'create + mount, mapped': median(mapped.mounted) / NS_PER_US,
    'without a map': median(plain.mounted) / NS_PER_US,
    [RATIO]: median(mapped.mounted) / median(plain.mounted),
    [WHOLE_RATIO]: median(mapped.whole) / median(plain.whole),
  }
}

/** Both kinds in one process, in turns: what disturbs the one disturbs the other. */
function containers(name: Name, archive: string, durability: string): Contender[] {
  return ours((build) => ({
    name,
    runs: 'in process',
    run: (dir) => {
      const counts = { warmUp: WARM_UP, count: COUNT }
      const given = { root: join(dir, 'root'), archive, durability, idMap: MAP, ...counts }
      const [plain, mapped] = task<[Lives, Lives]>(build, 'container-map', given)
      const seen = [plain, mapped].map(
        ({ seen: { names, uid } }) => `${String(uid)} ${names.toSorted().join()}`,
      )
      const [expected = ''] = seen
      if (seen[1] !== expected.replace(/^0/, String(HOST))) throw new Error(`mapped: ${seen[1] ?? ''}`)
      return { values: valuesOf(plain, mapped), output: () => seen }
    },
  }))
}

const NONE = 'overlaid, store, durability none'
const FULL = 'overlaid, store, durability full'

it('a container with an id map', async () => {
  const archive = await imageOf(await smallFiles(FILES))
  await race({
    id: 'container-id-map',
    title: `A container of ${FILES.toLocaleString('en')} files with its ids mapped`,
    about:
      "The image's files are in one layer, of which nothing is copied. Containers with a map and without take turns in " +
      'one process. Compared: the names in the mounted roots, and their owners.',
    metrics: METRICS,
    disk: GIB,
    base: NONE,
    contenders: [...containers(NONE, archive, 'none'), ...containers(FULL, archive, 'full')],
    goals: [NONE, FULL].map((name) => under(name, RATIO, 1.1, '×')),
  })
})
