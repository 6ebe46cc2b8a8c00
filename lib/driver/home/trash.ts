/**
 * Removal in two steps: a rename that takes a moment, and the deletion that takes as long as it takes.
 *
 * Whoever removes waits for the rename only. What was renamed is deleted after it, in the background: one call at a
 * time, on a thread of its own at idle I/O priority, so that it takes neither the disk nor the pool from mounts.
 * When the process dies before, the trees stay in `trash/` and the next gc deletes them.
 */
import { randomBytes } from 'node:crypto'
import { lstatSync, renameSync } from 'node:fs'
import { readdir, rename } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { hasCode } from '../../errors.ts'
import { openFolderIfAny } from '../../fs/folder.ts'
import { diskUsageOf } from '../../fs/usage.ts'
import { binding } from '../../native/binding.ts'
import { TRASH_DIR } from './home.ts'

/** Names no other process gives, and none twice: random bytes for each would cost as much as the rename. */
const PREFIX = randomBytes(16).toString('hex')
let count = 0

/** How long a deletion waits for more to delete: a call for each small tree would cost as much as the tree. */
const GATHERING_MS = 10

function newPlace(home: string): string {
  return join(home, TRASH_DIR, `${PREFIX}-${String(count++)}`)
}

/** Renames `path` into the trash under a name of its own; returns where it is now. @throws ENOENT */
export async function moveToTrash(home: string, path: string): Promise<string> {
  const target = newPlace(home)
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

/** What this process sets aside in one home, and its deletion. */
export class Trash {
  readonly #home: string
  #names: string[] = []
  #deletion: Promise<void> | undefined
  /** How many wait for the deletion, and what lets it begin for them. */
  #waiting = 0
  #hurry: (() => void) | undefined
  /** The first since it was last told. */
  #failure: Error | undefined

  constructor(home: string) {
    this.#home = home
  }

  /**
   * As {@link moveToTrash}, at once: a rename takes less than a turn of the pool. Deleted by {@link start}.
   * @returns false where there is no such path
   */
  add(path: string): boolean {
    const target = newPlace(this.#home)
    try {
      renameSync(path, target)
    } catch (error) {
      // Or it is the trash that is missing.
      if (hasCode(error, 'ENOENT') && lstatSync(path, { throwIfNoEntry: false }) === undefined) return false
      throw error
    }
    this.#names.push(basename(target))
    return true
  }

  /** Begins to delete what was added. What fails is told by {@link idle}. */
  start(): void {
    this.#deletion ??= this.#deleteAdded().finally(() => (this.#deletion = undefined))
  }

  /** Also what is added meanwhile: many small trees in one call cost little more than one. */
  async #deleteAdded(): Promise<void> {
    while (this.#names.length > 0) {
      if (this.#waiting === 0) await this.#gather()
      const names = this.#names
      this.#names = []
      try {
        await deleteNames(this.#home, names)
      } catch (error) {
        this.#failure ??= error as Error
      }
    }
  }

  #gather(): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, GATHERING_MS)
      this.#hurry = () => {
        clearTimeout(timer)
        resolve()
      }
    })
  }

  /** Waits until nothing is being deleted any more. */
  async settled(): Promise<void> {
    this.#waiting++
    this.#hurry?.()
    await this.#deletion
    this.#waiting--
  }

  /** As {@link settled}. @throws what failed since it was last asked */
  async idle(): Promise<void> {
    await this.settled()
    const failure = this.#failure
    this.#failure = undefined
    if (failure !== undefined) throw failure
  }

  /** Deletes all that is in the trash; other processes may be at it too. Returns the bytes that gave back. */
  async empty(): Promise<number> {
    this.#names = []
    await this.settled()
    // What failed is tried again here.
    this.#failure = undefined
    const paths = await listTrash(this.#home)
    let bytes = 0
    for (const path of paths) bytes += await diskUsageOf(path)
    await deleteNames(
      this.#home,
      paths.map((path) => basename(path)),
    )
    return bytes
  }
}

async function deleteNames(home: string, names: readonly string[]): Promise<void> {
  if (names.length === 0) return
  const folder = openFolderIfAny(join(home, TRASH_DIR))
  if (folder === undefined) return
  try {
    await binding.removeTreesIdle(folder.fd, names.map((name) => `${name}\0`).join(''))
  } finally {
    folder.close()
  }
}

/**
 * Deletes a tree now; one that is gone already is fine, and one that another process is deleting is left to that: two
 * at one tree would pull its folders from under each other. The lock is flock(2)'s, so it ends with its process.
 */
export async function deleteTree(path: string): Promise<void> {
  const tree = openFolderIfAny(path)
  try {
    if (tree === undefined || (await binding.flock(tree.fd, 'write'))) await removeEntry(path)
  } finally {
    tree?.close()
  }
}

/** Relative to its folder: removeTree enters no other mount, and on the way here there may be some. */
async function removeEntry(path: string): Promise<void> {
  const folder = openFolderIfAny(dirname(path))
  if (folder === undefined) return
  try {
    await binding.removeTree(folder.fd, basename(path))
  } finally {
    folder.close()
  }
}
