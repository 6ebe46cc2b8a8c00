/** The driver suite on btrfs, and on a btrfs that counts quotas. */
import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { afterAll, beforeAll, describe } from 'vitest'
import { openBtrfs } from '../../lib/driver/btrfs/driver.ts'
import { missing } from '../helpers/gates.ts'
import { type LoopFileSystem, loopFileSystem } from '../helpers/loopfs.ts'
import { driverSuite, OF_FILE_SYSTEM } from '../suites/driver-suite.ts'

for (const quotas of [false, true]) {
  const name = quotas ? 'btrfs with quotas' : 'btrfs'
  describe.skipIf(missing('hasBinding', 'canMount', 'canLoop', 'hasBtrfs'))(name, () => {
    let fs: LoopFileSystem
    let count = 0
    beforeAll(() => {
      fs = loopFileSystem('btrfs')
      if (quotas) execFileSync('btrfs', ['quota', 'enable', fs.dir])
    })
    afterAll(() => {
      fs.dispose()
    })

    driverSuite(
      {
        name,
        factory: () => {
          const home = join(fs.dir, `root-${(count++).toString()}`, 'btrfs')
          const open = () => openBtrfs(home, { durability: quotas ? 'none' : 'full' })
          return { driver: open(), reopen: open, dispose: () => undefined }
        },
        supports: { readOnlyParents: false, lowerdirs: false, quota: true, idMaps: true },
      },
      quotas ? OF_FILE_SYSTEM : undefined,
    )
  })
}
