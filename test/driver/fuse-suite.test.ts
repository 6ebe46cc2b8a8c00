/** The driver suite with fuse-overlayfs: where overlay2 works, and on an overlay, where it does not. */
import { mkdirSync } from 'node:fs'
import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { afterAll, beforeAll, describe } from 'vitest'
import { openFuseOverlayfs } from '../../lib/driver/fuse-overlayfs/driver.ts'
import { serversEnded } from '../helpers/fuse.ts'
import { missing } from '../helpers/gates.ts'
import { type FileSystemKind, type LoopFileSystem, loopFileSystem } from '../helpers/loopfs.ts'
import { driverSuite, OF_FILE_SYSTEM } from '../suites/driver-suite.ts'

const KINDS: readonly (FileSystemKind | 'overlay')[] = [
  'tmpfs',
  'ext4',
  'xfs',
  'btrfs',
  'ext4-no-dtype',
  'overlay',
]
const gates = ['hasBinding', 'canMount', 'canLoop', 'hasXfs', 'hasBtrfs', 'canFuse'] as const

/** A folder on an overlay mount: what a container's own file system is. */
function mountOverlay(dir: string): string {
  const at = (name: string): string => join(dir, name)
  for (const name of ['lower', 'upper', 'work', 'merged']) mkdirSync(at(name))
  const layers = `lowerdir=${at('lower')},upperdir=${at('upper')},workdir=${at('work')}`
  execFileSync('mount', ['-t', 'overlay', 'overlay', '-o', layers, at('merged')])
  return at('merged')
}

for (const kind of KINDS) {
  describe.skipIf(missing(...gates))(kind, () => {
    let fs: LoopFileSystem
    let dir: string
    let count = 0
    beforeAll(() => {
      fs = loopFileSystem(kind === 'overlay' ? 'ext4' : kind)
      dir = kind === 'overlay' ? mountOverlay(fs.dir) : fs.dir
    })
    afterAll(async () => {
      await serversEnded(dir)
      if (dir !== fs.dir) execFileSync('umount', [dir])
      fs.dispose()
    })

    driverSuite(
      {
        name: `fuse-overlayfs on ${kind}`,
        factory: () => {
          const home = join(dir, `root-${(count++).toString()}`, 'fuse-overlayfs')
          const open = () => openFuseOverlayfs(home, { durability: kind === 'ext4' ? 'full' : 'none' })
          return { driver: open(), reopen: open, dispose: () => undefined }
        },
        // A name of a whiteout is four bytes longer. A process for each mount: a deep chain once takes time enough.
        supports: { linksBelow: false, maxName: 251, maxDepth: kind === 'tmpfs' ? 128 : 16 },
      },
      kind === 'tmpfs' || kind === 'overlay' ? undefined : OF_FILE_SYSTEM,
    )
  })
}
