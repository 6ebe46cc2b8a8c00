/** How much of the disk a tree takes. */
import { constants, openSync } from 'node:fs'
import { hasCode } from '../errors.ts'
import { binding } from '../native/binding.ts'
import { OwnedFd } from '../native/fd.ts'
import { AT } from '../native/flags.ts'
import { walk, type WalkEntry } from './walk.ts'

/** st_blocks counts in these, whatever the file system's own block is. */
export const BLOCK_BYTES = 512

/** Bytes on disk of a tree, its own folder included, each inode once. 0 where it is gone, or goes meanwhile. */
export async function diskUsageOf(path: string): Promise<number> {
  const root = openFolder(path)
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

/** Opens a folder; undefined where there is none. */
export function openFolder(path: string): OwnedFd | undefined {
  try {
    return new OwnedFd(openSync(path, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW))
  } catch (error) {
    // ENOTDIR, ELOOP: a file or link is no tree.
    if (hasCode(error, 'ENOENT', 'ENOTDIR', 'ELOOP')) return undefined
    throw error
  }
}
