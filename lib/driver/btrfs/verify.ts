/** Whether a file system is btrfs, and lets us make subvolumes and remove them. */
import { join } from 'node:path'
import { hasCode, OverlaidError } from '../../errors.ts'
import { binding } from '../../native/binding.ts'
import { BTRFS_MAGIC } from '../../native/statfs.ts'
import { foundBacking, nearestExisting } from '../backing.ts'
import { inProbeFolder } from '../home/probe-folder.ts'
import { openFolder } from '../../fs/folder.ts'
import { createSubvolume, snapshotSubvolume } from './subvolume.ts'

/** Tries it, where `home` is or will be. @throws ERR_UNSUPPORTED_FS, ERR_NO_PRIVILEGE */
export async function verifyBtrfs(home: string): Promise<void> {
  const existing = nearestExisting(home)
  if ((await binding.statfs(existing)).type !== BTRFS_MAGIC) throw await notBtrfs(existing)
  await inProbeFolder(existing, async (dir) => {
    try {
      await trySubvolumes(dir)
    } catch (error) {
      if (!hasCode(error, 'EPERM', 'EACCES')) throw error
      throw new OverlaidError(
        'ERR_NO_PRIVILEGE',
        'no permission to remove subvolumes: the driver btrfs needs root',
        {
          path: existing,
          cause: error,
        },
      )
    }
  })
}

async function trySubvolumes(dir: string): Promise<void> {
  await createSubvolume(join(dir, 'subvolume'), 0o700)
  await snapshotSubvolume(join(dir, 'subvolume'), join(dir, 'snapshot'))
  using folder = openFolder(dir)
  for (const name of ['snapshot', 'subvolume']) await binding.btrfsSnapDestroy(folder.fd, name)
}

async function notBtrfs(existing: string): Promise<OverlaidError> {
  const found = await foundBacking(existing)
  return new OverlaidError('ERR_UNSUPPORTED_FS', `the driver btrfs needs a btrfs, and ${found}`, {
    path: existing,
    hint:
      'put the data root on one: mkfs.btrfs DEV and mount it there; ' +
      'without a free disk, truncate -s 50G FILE, mkfs.btrfs FILE, mount -o loop FILE DIR',
  })
}
