/** How much of the disk a tree takes. */
import { hasCode } from '../errors.ts'
import { binding } from '../native/binding.ts'
import type { OwnedFd } from '../native/fd.ts'
import { AT } from '../native/flags.ts'
import { openFolderIfAny } from './folder.ts'
import { walk, type WalkEntry } from './walk.ts'

/** st_blocks counts in these, whatever the file system's own block is. */
export const BLOCK_BYTES = 512

/** Bytes on disk of a tree, its own folder included, each inode once. 0 where it is gone, or goes meanwhile. */
export async function diskUsageOf(path: string): Promise<number> {
  const root = openFolderIfAny(path)
  if (root === undefined) return 0
  try {
    return await usageBelow(root)
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return 0
    throw error
  } finally {
    root.close()
  }
}

async function usageBelow(root: OwnedFd): Promise<number> {
  const seen = new Set<string>()
  let blocks = (await binding.statx(root.fd, '', AT.AT_EMPTY_PATH)).blocks
  for await (const entries of walk(root.fd, { xattrs: false })) {
    for (const { stat } of entries) {
      // A directory has one name only; a set of a million inodes is memory for nothing.
      if (stat.nlink > 1 && !isFirst(seen, stat)) continue
      blocks += stat.blocks
    }
  }
  return blocks * BLOCK_BYTES
}

/** By device too: a btrfs subvolume is one of its own, with the same inode numbers as the next. */
function isFirst(seen: Set<string>, { devMajor, devMinor, ino }: WalkEntry['stat']): boolean {
  const inode = `${String(devMajor)}:${String(devMinor)}:${String(ino)}`
  if (seen.has(inode)) return false
  seen.add(inode)
  return true
}
