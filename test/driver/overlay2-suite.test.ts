/** The driver suite on each file system that overlay2 is meant for. */
import { join } from 'node:path'
import { afterAll, beforeAll, describe } from 'vitest'
import { openOverlay2 } from '../../lib/driver/overlay2/driver.ts'
import { missing } from '../helpers/gates.ts'
import { type FileSystemKind, type LoopFileSystem, loopFileSystem } from '../helpers/loopfs.ts'
import { driverSuite } from '../suites/driver-suite.ts'

const KINDS: readonly FileSystemKind[] = ['tmpfs', 'ext4', 'xfs', 'btrfs']

for (const kind of KINDS) {
  describe.skipIf(missing('hasBinding', 'canMount', 'canLoop', 'hasXfs', 'hasBtrfs', 'canUserNamespace'))(
    kind,
    () => {
      let fs: LoopFileSystem
      let count = 0
      beforeAll(() => {
        fs = loopFileSystem(kind)
      })
      afterAll(() => {
        fs.dispose()
      })

      driverSuite({
        name: `overlay2 on ${kind}`,
        factory: () => {
          const home = join(fs.dir, `root-${(count++).toString()}`, 'overlay2')
          const open = () => openOverlay2(home, { durability: kind === 'ext4' ? 'full' : 'none' })
          return { driver: open(), reopen: open, dispose: () => undefined }
        },
        supports: { idMaps: true },
      })
    },
  )
}
