/** Subvolumes by their paths. */
import { constants, fchmodSync } from 'node:fs'
import { basename, dirname } from 'node:path'
import { AT_FDCWD, binding } from '../../native/binding.ts'
import { OwnedFd } from '../../native/fd.ts'
import { AT } from '../../native/flags.ts'
import { BTRFS_MAGIC } from '../../native/statfs.ts'
import { openFolder } from '../../fs/folder.ts'

/** The inode number of each subvolume's root: BTRFS_FIRST_FREE_OBJECTID. */
const ROOT_INODE = 256n

/** Makes an empty subvolume with exactly this mode. */
export async function createSubvolume(path: string, mode: number): Promise<void> {
  using folder = openFolder(dirname(path))
  await binding.btrfsSubvolCreate(folder.fd, basename(path))
  using made = openFolder(path)
  fchmodSync(made.fd, mode)
}

/**
 * Makes `path` a writable snapshot of the subvolume `of`. Of subvolumes below that one a snapshot has empty folders.
 */
export async function snapshotSubvolume(of: string, path: string): Promise<void> {
  using source = openFolder(of)
  using folder = openFolder(dirname(path))
  await binding.btrfsSnapCreate(source.fd, folder.fd, basename(path), {})
}

/** Whether `path` is the root of a subvolume. */
export async function isSubvolume(path: string): Promise<boolean> {
  const { ino } = await binding.statx(AT_FDCWD, path, AT.AT_SYMLINK_NOFOLLOW)
  if (ino !== ROOT_INODE) return false
  using found = new OwnedFd(
    await binding.openat(AT_FDCWD, path, constants.O_RDONLY | constants.O_NOFOLLOW, 0),
  )
  return (await binding.fstatfs(found.fd)).type === BTRFS_MAGIC
}
