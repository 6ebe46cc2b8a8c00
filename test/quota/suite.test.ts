/** What the driver suite asks of a driver with size limits; its other cases need no virtual machine. */
import { join } from 'node:path'
import { afterAll, beforeAll, describe } from 'vitest'
import { openOverlay2 } from '../../lib/driver/overlay2/driver.ts'
import { missing } from '../helpers/gates.ts'
import { type LoopFileSystem, loopFileSystem } from '../helpers/loopfs.ts'
import { driverSuite } from '../suites/driver-suite.ts'

const KINDS = ['ext4-quota', 'xfs-quota'] as const

describe.skipIf(missing('hasBinding', 'canMount', 'canLoop', 'hasProjectQuota')).each(KINDS)('%s', (kind) => {
  let fs: LoopFileSystem
  let count = 0
  beforeAll(() => {
    fs = loopFileSystem(kind)
  })
  afterAll(() => {
    fs.dispose()
  })

  const options = {
    name: `overlay2 on ${kind}`,
    factory: () => {
      const home = join(fs.dir, `root-${String(count++)}`, 'overlay2')
      const open = () => openOverlay2(home, { durability: 'full' })
      return { driver: open(), reopen: open, dispose: () => undefined }
    },
    supports: { quota: true, idMaps: true },
  }
  driverSuite(options, ['a writable layer'])
})
