/** Whether a file system can hold root file systems: all that a driver needs whose layers are plain files. */
import { constants } from 'node:fs'
import { hasCode, OverlaidError } from '../../errors.ts'
import { type FileOp, fileops } from '../../native/file-op.ts'
import { describeBacking } from '../backing.ts'
import { openFolder } from '../../fs/folder.ts'

const META = { uid: 1, gid: 1, mtimeSec: 1, mtimeNsec: 0 }

/** What each needs, in the order in which they are tried. */
const TRIALS: readonly (readonly [what: string, op: FileOp])[] = [
  ['folders that belong to others', { op: 'dir', path: 'dir', mode: constants.S_IFDIR | 0o1755, ...META }],
  ['setuid files', { op: 'file', path: 'file', data: [], mode: constants.S_IFREG | 0o4755, ...META }],
  ['symlinks', { op: 'symlink', path: 'symlink', target: 'file', mode: 0o777, ...META }],
  ['hard links', { op: 'link', path: 'link', target: 'file' }],
  ['devices', { op: 'node', path: 'null', major: 1, minor: 3, mode: constants.S_IFCHR | 0o666, ...META }],
]

/** What a file system says that has no such thing; a full one says something else. */
const REFUSALS = ['EPERM', 'EOPNOTSUPP', 'ENOTSUP', 'ENOSYS', 'EINVAL', 'EMLINK'] as const

/** Tries it in the empty folder `dir`. @throws ERR_UNSUPPORTED_FS */
export async function tryRootFiles(dir: string): Promise<void> {
  using root = openFolder(dir)
  for (const [what, op] of TRIALS) {
    try {
      await fileops(root.fd, [op])
    } catch (error) {
      if (!hasCode(error, ...REFUSALS)) throw error
      const { name } = await describeBacking(dir)
      throw new OverlaidError(
        'ERR_UNSUPPORTED_FS',
        `a root file system needs ${what}, and ${name} has none`,
        {
          path: dir,
          cause: error,
          hint: 'put the data root on ext4, xfs or btrfs',
        },
      )
    }
  }
}
