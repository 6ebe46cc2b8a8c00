/** Removal in two steps: a rename that takes a moment, and the deletion that takes as long as it takes. */
import { randomBytes } from 'node:crypto'
import { constants, openSync } from 'node:fs'
import { readdir, rename } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { hasCode } from '../../errors.ts'
import { walk } from '../../fs/walk.ts'
import { binding } from '../../native/binding.ts'
import { OwnedFd } from '../../native/fd.ts'
import { TRASH_DIR } from './layout.ts'

/** st_blocks counts in these, whatever the file system's own block is. */
export const BLOCK_BYTES = 512

/** Renames `path` into the trash under a name of its own; returns where it is now. @throws ENOENT */
export async function moveToTrash(home: string, path: string): Promise<string> {
  const target = join(home, TRASH_DIR, randomBytes(16).toString('hex'))
  await rename(path, target)
  return target
}

export async function listTrash(home: string): Promise<string[]> {
  try {
    return (await readdir(join(home, TRASH_DIR))).map((name) => join(home, TRASH_DIR, name))
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return []
    throw error
  }
}

/** Deletes what is in the trash; other processes may be at it too. Returns the bytes that gave back. */
export async function emptyTrash(home: string): Promise<number> {
  let freed = 0
  for (const path of await listTrash(home)) freed += await deleteTree(path)
  return freed
}

/** Deletes a tree and returns its bytes on disk; none for one that is gone already. */
export async function deleteTree(path: string): Promise<number> {
  const bytes = await diskUsageOf(path)
  // Relative to its folder: removeTree enters no other mount, and on the way here there may be some.
  const folder = openTree(dirname(path))
  if (folder === undefined) return 0
  try {
    await binding.removeTree(folder.fd, basename(path))
  } finally {
    folder.close()
  }
  return bytes
}

/** Bytes on disk of a tree, its own folder included, each inode once. 0 where it is gone, or goes meanwhile. */
export async function diskUsageOf(path: string): Promise<number> {
  const root = openTree(path)
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
  let blocks = (await binding.statx(root.fd, '', EMPTY_PATH)).blocks
  for await (const { stat } of walk(root.fd, { xattrs: false })) {
    // A directory has one name only; a set of a million inodes is memory for nothing.
    if (stat.nlink > 1 && seen.has(stat.ino)) continue
    if (stat.nlink > 1) seen.add(stat.ino)
    blocks += stat.blocks
  }
  return blocks * BLOCK_BYTES
}

const EMPTY_PATH = 0x1000

function openTree(path: string): OwnedFd | undefined {
  try {
    return new OwnedFd(openSync(path, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW))
  } catch (error) {
    // ENOTDIR, ELOOP: a stray file or link in the trash weighs nothing.
    if (hasCode(error, 'ENOENT', 'ENOTDIR', 'ELOOP')) return undefined
    throw error
  }
}
