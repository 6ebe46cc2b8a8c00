/**
 * The driver suite on each rung of the mount ladder that this kernel has, so that the lower ones are as good as the best:
 * overlay2-suite.test.ts has the driver take its own choice, which is names by `lowerdir+`.
 */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { openOverlay2 } from '../../lib/driver/overlay2/driver.ts'
import type * as Mounting from '../../lib/driver/overlay2/mount.ts'
import { bestRung, type Rung, RUNGS } from '../../lib/native/rung.ts'
import { missing } from '../helpers/gates.ts'
import { type LoopFileSystem, loopFileSystem } from '../helpers/loopfs.ts'
import { driverSuite, OF_MOUNTS } from '../suites/driver-suite.ts'

/** The rung that mounts are made by, and which they were made by. */
const ladder = vi.hoisted(() => ({ via: undefined as Rung | undefined, taken: new Set<string>() }))

vi.mock(import('../../lib/driver/overlay2/mount.ts'), async (original): Promise<typeof Mounting> => {
  const real = await original()
  return {
    ...real,
    mountOverlay: async (request) => {
      const via = ladder.via
      const mount = await real.mountOverlay(via === undefined ? request : { ...request, via })
      // Mapped layers have a ladder of their own.
      if (request.idMap === undefined) ladder.taken.add(mount.rung)
      return mount
    },
  }
})

const rungs = RUNGS.slice(RUNGS.indexOf(await bestRung()))
/** Names below it are longer than an option's value can be: each is then given by way of a descriptor. */
const DEEP = 'd'.repeat(250)

const VARIANTS: readonly { readonly rung: Rung; readonly below: string }[] = rungs.map((rung) =>
  rung === 'lowerdir+' ? { rung, below: DEEP } : { rung, below: '' },
)

describe.skipIf(missing('hasBinding', 'canMount', 'canUserNamespace')).each(VARIANTS)(
  'by $rung',
  ({ rung, below }) => {
    let fs: LoopFileSystem
    let count = 0
    beforeAll(() => {
      fs = loopFileSystem('tmpfs')
      mkdirSync(join(fs.dir, below), { recursive: true })
      ladder.via = rung
      ladder.taken.clear()
    })
    afterAll(() => {
      ladder.via = undefined
      fs.dispose()
    })

    driverSuite(
      {
        name: `overlay2 by ${rung}`,
        factory: () => {
          const home = join(fs.dir, below, `root-${(count++).toString()}`, 'overlay2')
          const open = () => openOverlay2(home, { durability: 'none' })
          return { driver: open(), reopen: open, dispose: () => undefined }
        },
        supports: { idMaps: true },
      },
      OF_MOUNTS,
    )

    it('took that rung each time, or a clone for a single layer', () => {
      expect([...ladder.taken].sort()).toEqual(['clone', rung].sort())
    })
  },
)
