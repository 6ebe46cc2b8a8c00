/** What the driver suite asks of a driver with size limits; its other cases are run where they need no virtual machine. */
import { join } from 'node:path'
import { afterAll, beforeAll, describe, it } from 'vitest'
import { openOverlay2 } from '../../lib/driver/overlay2/driver.ts'
import { driverSuite, type SuiteRunner } from '../../lib/driver-suite/index.ts'
import { missing } from '../helpers/gates.ts'
import { type LoopFileSystem, loopFileSystem } from '../helpers/loopfs.ts'

const runner: SuiteRunner = {
  describe,
  it: Object.assign(
    (title: string, run: () => Promise<void>) => {
      if (title.startsWith('made with a size')) it(title, run)
    },
    { skip: () => undefined },
  ),
}

describe
  .skipIf(missing('hasBinding', 'canMount', 'canLoop', 'hasProjectQuota'))
  .each(['ext4-quota', 'xfs-quota'] as const)('%s', (kind) => {
  let fs: LoopFileSystem
  let count = 0
  beforeAll(() => {
    fs = loopFileSystem(kind)
  })
  afterAll(() => {
    fs.dispose()
  })

  driverSuite(runner, {
    name: `overlay2 on ${kind}`,
    factory: () => {
      const home = join(fs.dir, `root-${String(count++)}`, 'overlay2')
      const open = () => openOverlay2(home, { durability: 'full' })
      return { driver: open(), reopen: open, dispose: () => undefined }
    },
    supports: { quota: true },
  })
})
