/** How much of the disk a tree takes. */
import { constants, openSync } from 'node:fs'
import { hasCode } from '../errors.ts'
import { binding } from '../native/binding.ts'
import { OwnedFd } from '../native/fd.ts'
import { AT } from '../native/flags.ts'
import { walk } from './walk.ts'

/** st_blocks counts in these, whatever the file system's own block is. */
const BLOCK_BYTES = 512

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
  const seen = new Set<bigint>()
  let blocks = (await binding.statx(root.fd, '', AT.AT_EMPTY_PATH)).blocks
  for await (const entries of walk(root.fd, { xattrs: false })) {
    for (const { stat } of entries) {
      // A directory has one name only; a set of a million inodes is memory for nothing.
      const linked = stat.nlink > 1
      if (linked && seen.has(stat.ino)) continue
      if (linked) seen.add(stat.ino)
      blocks += stat.blocks
    }
  }
  return blocks * BLOCK_BYTES
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
