/** Peak memory of a load, and what is left of it after many. */
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { GIB } from '../helpers/sizes.ts'
import { commandOf } from './support/builds.ts'
import { chainArchive } from './support/chain.ts'
import { under } from './support/goal.ts'
import { IS_SMOKE, ours, race } from './support/race.ts'
import { command, PEAK, task, TIME } from './support/run.ts'
import { imageOf, LARGE, largeFile, SMALL_FILES, smallFiles } from './support/workloads.ts'

const LIMIT_MIB = 200
const [WARM_UP, ROUNDS_OF_LOADS] = IS_SMOKE ? [10, 30] : [200, 1000]
const NONE = 'overlaid load, durability none'
const FULL = 'overlaid load, durability full'

it.each([
  ['memory-large', `an image with a layer of ${LARGE}`, largeFile],
  ['memory-small', `an image of ${SMALL_FILES.toLocaleString('en')} files`, smallFiles],
] as const)('%s', async (id, title, makeTar) => {
  const image = await imageOf(await makeTar())
  const load = (name: typeof NONE | typeof FULL, durability: string) =>
    ours((build) => ({
      name,
      runs: 'process',
      run: (dir) => {
        const options = ['--root', join(dir, 'root'), '--durability', durability, '--quiet']
        return { values: command([process.execPath, commandOf(build), ...options, 'load', '-i', image]) }
      },
    }))
  await race({
    id,
    title: `Memory to load ${title}`,
    about: 'The peak of the whole command, as the kernel counts it.',
    metrics: [PEAK, TIME],
    disk: 4 * GIB,
    base: NONE,
    contenders: [...load(NONE, 'none'), ...load(FULL, 'full')],
    goals: [under(NONE, PEAK.name, LIMIT_MIB, PEAK.unit), under(FULL, PEAK.name, LIMIT_MIB, PEAK.unit)],
  })
})

it('growth', async () => {
  const name = 'overlaid, load and remove, durability none'
  await race({
    id: 'growth',
    title: `What ${ROUNDS_OF_LOADS.toLocaleString('en')} rounds of load and remove leave`,
    about: `An image of three small layers; counted after ${String(WARM_UP)} rounds, and garbage is collected before.`,
    metrics: [
      { name: 'growth of memory', unit: 'MiB', better: 'less' },
      { name: 'of the heap', unit: 'MiB', better: 'less' },
      { name: 'of open files', unit: 'files', better: 'less' },
    ],
    disk: GIB,
    base: name,
    contenders: ours((build) => ({
      name,
      runs: 'in process',
      run: (dir) => {
        const place = { root: join(dir, 'root'), archive: chainArchive(dir, 3) }
        const counts = { warmUp: WARM_UP, rounds: ROUNDS_OF_LOADS }
        const values = task<Record<string, number>>(build, 'growth', { ...place, ...counts })
        expect(values['of open files']).toBe(0)
        return { values }
      },
    })),
  })
})
