/** Removal in two steps: a rename that takes a moment, and the deletion that takes as long as it takes. */
import { randomBytes } from 'node:crypto'
import { readdir, rename } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { hasCode } from '../../errors.ts'
import { diskUsageOf, openFolder } from '../../fs/usage.ts'
import { binding } from '../../native/binding.ts'
import { TRASH_DIR } from './layout.ts'

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
  for (const path of await listTrash(home)) {
    const bytes = await diskUsageOf(path)
    await deleteTree(path)
    freed += bytes
  }
  return freed
}

/**
 * Deletes a tree; one that is gone already is fine, and one that another process is deleting is left to that: two at
 * one tree would pull its folders from under each other. The lock is flock(2)'s, so it ends with its process.
 */
export async function deleteTree(path: string): Promise<void> {
  const tree = openFolder(path)
  try {
    if (tree === undefined || (await binding.flock(tree.fd, 'write'))) await removeEntry(path)
  } finally {
    tree?.close()
  }
}

/** Relative to its folder: removeTree enters no other mount, and on the way here there may be some. */
async function removeEntry(path: string): Promise<void> {
  const folder = openFolder(dirname(path))
  if (folder === undefined) return
  try {
    await binding.removeTree(folder.fd, basename(path))
  } finally {
    folder.close()
  }
}
