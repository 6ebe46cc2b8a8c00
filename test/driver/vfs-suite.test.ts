/** The driver suite on vfs, on each file system, also those that overlay2 is not for. */
import { execFileSync } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe } from 'vitest'
import { openVfs } from '../../lib/driver/vfs/driver.ts'
import { missing } from '../helpers/gates.ts'
import { type FileSystemKind, type LoopFileSystem, loopFileSystem } from '../helpers/loopfs.ts'
import { driverSuite, OF_FILE_SYSTEM } from '../suites/driver-suite.ts'

const KINDS: readonly FileSystemKind[] = ['tmpfs', 'ext4', 'ext4-no-dtype', 'xfs', 'btrfs']

for (const kind of KINDS) {
  describe.skipIf(missing('hasBinding', 'canMount', 'canLoop', 'hasXfs', 'hasBtrfs'))(kind, () => {
    let fs: LoopFileSystem
    beforeAll(() => {
      fs = loopFileSystem(kind)
    })
    afterAll(() => {
      fs.dispose()
    })

    const groups = kind === 'tmpfs' || kind === 'ext4' ? undefined : OF_FILE_SYSTEM
    vfsSuite(`vfs on ${kind}`, () => fs.dir, kind === 'ext4' ? 'full' : 'none', groups)
  })
}

/** overlayfs maps no ids. */
const IN_OVERLAY = 'vfs in an overlay'

/** As in a container whose data root is no volume: Docker in Docker. */
describe.skipIf(missing('hasBinding', 'canMount'))('overlay', () => {
  let fs: LoopFileSystem
  let merged: string
  beforeAll(() => {
    fs = loopFileSystem('tmpfs')
    for (const name of ['lower', 'upper', 'work', 'merged']) mkdirSync(join(fs.dir, name))
    merged = join(fs.dir, 'merged')
    const layers = `lowerdir=${fs.dir}/lower,upperdir=${fs.dir}/upper,workdir=${fs.dir}/work`
    execFileSync('mount', ['-t', 'overlay', 'overlay', '-o', layers, merged])
  })
  afterAll(() => {
    execFileSync('umount', [merged])
    fs.dispose()
  })

  vfsSuite(IN_OVERLAY, () => merged, 'none', OF_FILE_SYSTEM)
})

function vfsSuite(
  name: string,
  dir: () => string,
  durability: 'full' | 'none',
  groups?: readonly string[],
): void {
  let count = 0
  driverSuite(
    {
      name,
      factory: () => {
        const home = join(dir(), `root-${String(count++)}`, 'vfs')
        const open = () => openVfs(home, { durability })
        return { driver: open(), reopen: open, dispose: () => undefined }
      },
      // Each layer is a copy of all below: a deep chain once takes time enough.
      supports: {
        readOnlyParents: false,
        lowerdirs: false,
        idMaps: name !== IN_OVERLAY,
        maxDepth: durability === 'full' ? 128 : 32,
      },
    },
    groups,
  )
}
