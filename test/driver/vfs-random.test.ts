/** vfs compared with two merged trees, and with overlay2. */
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Driver } from '../../lib/driver/driver.ts'
import { openOverlay2 } from '../../lib/driver/overlay2/driver.ts'
import { openVfs } from '../../lib/driver/vfs/driver.ts'
import { furnished, step, type Step, takeAll } from '../fixtures/random-steps.ts'
import { missing } from '../helpers/gates.ts'
import { collect, streamOf, listed } from '../../lib/driver-suite/streams.ts'
import { type LoopFileSystem, loopFileSystem } from '../helpers/loopfs.ts'
import { dumpTree } from '../../lib/driver-suite/tree.ts'
import { randomTrees } from '../suites/random-trees.ts'

randomTrees({
  name: 'vfs',
  open: (home) => openVfs(home, { durability: 'none' }),
  byContent: true,
  variants: [['as mounted by default', {}]],
})

describe.skipIf(missing('hasBinding', 'canMount', 'canMknod', 'canTrustedXattr'))('vfs and overlay2', () => {
  let fs: LoopFileSystem
  let count = 0
  beforeAll(() => {
    fs = loopFileSystem('tmpfs')
  })
  afterAll(() => {
    fs.dispose()
  })

  /** A base and a container on it, in both of which steps were done. */
  const make = async (driver: Driver, base: readonly Step[], top: readonly Step[]): Promise<void> => {
    const work = [['base', undefined, base] as const, ['top', 'base', top] as const]
    for (const [id, parent, steps] of work) {
      await driver.createReadWrite(id, parent)
      await takeAll(await driver.get(id), steps)
      await driver.put(id)
    }
  }

  const seen = async (driver: Driver, id: string): Promise<string[]> => {
    await using mount = await driver.open(id, { readOnly: true })
    // What both did they did one after the other.
    return await dumpTree(`/proc/self/fd/${String(mount.fd.fd)}/.`, { mtime: false, root: false })
  }

  const commit = async (driver: Driver, id: string, tar: Buffer): Promise<void> => {
    await using staged = await driver.stage()
    await staged.apply(streamOf(tar))
    await staged.commit(id, 'base')
  }

  const agree = async (base: readonly Step[], top: readonly Step[]): Promise<void> => {
    const root = join(fs.dir, `root-${String(count++)}`)
    const vfs = openVfs(join(root, 'vfs'), { durability: 'none' })
    const overlay2 = openOverlay2(join(root, 'overlay2'), { durability: 'none' })
    const drivers = [vfs, overlay2]
    for (const driver of drivers) await make(driver, base, top)
    expect(await listed(vfs.changes('top', 'base'))).toEqual(await listed(overlay2.changes('top', 'base')))
    const tree = await seen(vfs, 'top')
    expect(await seen(overlay2, 'top')).toEqual(tree)
    for (const [from, tar] of [
      ['vfs', await collect(vfs.diff('top', 'base'))],
      ['overlay2', await collect(overlay2.diff('top', 'base'))],
    ] as const) {
      for (const driver of drivers) {
        await commit(driver, `from-${from}`, tar)
        expect(await seen(driver, `from-${from}`), `${from}'s diff on ${driver.name}`).toEqual(tree)
      }
    }
    for (const driver of drivers) {
      for (const id of await driver.list()) await driver.remove(id)
      await driver.emptyTrash()
    }
  }

  /** overlayfs renames no directory of a lower layer, and parts the names of a file of one when it copies it up. */
  const isAlike = (one: Step): boolean => one.do !== 'move' && one.do !== 'rename'
  const steps = fc.array(step.filter(isAlike), { maxLength: 15 })
  const unlinked = fc.array(
    step.filter((one) => isAlike(one) && one.do !== 'link'),
    { maxLength: 15 },
  )

  it('say the same of the same work', { timeout: 600_000 }, async () => {
    await fc.assert(
      fc.asyncProperty(unlinked, steps, (base, top) => agree([...furnished, ...base], top)),
      { numRuns: Number(process.env['FUZZ_RUNS'] ?? 15) },
    )
  })
})
