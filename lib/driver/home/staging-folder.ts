/**
 * Folders below `staging/`, each held by its owner's lock while it is being filled.
 *
 * The lock is an OFD lock on the folder's `lock` file: the kernel drops it with the process, so a folder whose lock
 * can be had is what a crash left. Between making the file and locking it a collector may get in; so the maker,
 * once it has the lock, looks whether the folder is still where it was, and else begins again.
 */
import { randomBytes } from 'node:crypto'
import { constants, fstatSync, openSync, statSync } from 'node:fs'
import { mkdir, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { hasCode } from '../../errors.ts'
import { OwnedFd } from '../../native/fd.ts'
import { binding } from '../../native/binding.ts'
import { MODES, STAGING_DIR } from './home.ts'
import { deleteTree, moveToTrash } from './trash.ts'

const LOCK_FILE = 'lock'

/** What the name of a folder ends with that has no lock: its maker copes with losing it at any step. */
const UNLOCKED = '.new'
/** Names no other process gives, and none twice. */
const PREFIX = randomBytes(16).toString('hex')
let count = 0

export interface StagingFolder {
  readonly path: string
  /** The lock is held while this is open. */
  readonly lock: OwnedFd
}

/** Makes an empty folder below `staging/` and holds its lock. */
export async function makeStagingFolder(home: string): Promise<StagingFolder> {
  for (;;) {
    const path = join(home, STAGING_DIR, randomBytes(16).toString('hex'))
    await mkdir(path, { mode: MODES.staging })
    const lock = await lockFolder(path)
    if (lock !== undefined) return { path, lock }
  }
}

/** Removes the folder that this process holds. The lock goes last, so that nobody else begins to remove the same. */
export async function removeStagingFolder(home: string, { path, lock }: StagingFolder): Promise<void> {
  try {
    await deleteTree(await moveToTrash(home, path))
  } catch (error) {
    // A collector that took it for abandoned cannot be: the lock was held. But the home may be gone as a whole.
    if (!hasCode(error, 'ENOENT')) throw error
  } finally {
    lock.close()
  }
}

/** A place below `staging/` for a folder without a lock: see create.ts. */
export function newUnlockedPath(home: string): string {
  return join(home, STAGING_DIR, `${PREFIX}-${String(count++)}${UNLOCKED}`)
}

/** The paths of the folders below `staging/`, in no order. */
export async function listStaging(home: string): Promise<string[]> {
  try {
    return (await readdir(join(home, STAGING_DIR))).map((name) => join(home, STAGING_DIR, name))
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return []
    throw error
  }
}

/** Whether nobody owns the staging folder `path` any more. Asks with a read lock: two who ask don't meet. */
export async function isAbandoned(path: string): Promise<boolean> {
  const lock = openLock(path, constants.O_RDONLY)
  // No lock file: its maker died before, or is at it this moment and copes with losing the folder.
  if (lock === undefined) return true
  try {
    return await binding.ofdLock(lock.fd, 'read')
  } finally {
    lock.close()
  }
}

/**
 * Runs `work`, which begins by renaming it away, when nobody owns the staging folder `path`, holding its lock
 * meanwhile; whether it did.
 */
export async function withAbandoned(path: string, work: () => Promise<void>): Promise<boolean> {
  if (path.endsWith(UNLOCKED)) return unlessGone(work)
  const lock = await lockFolder(path)
  if (lock === undefined) return false
  try {
    await work()
    return true
  } finally {
    lock.close()
  }
}

/** The rename decides between us and the maker's own. */
async function unlessGone(work: () => Promise<void>): Promise<boolean> {
  try {
    await work()
    return true
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return false
    throw error
  }
}

/** Locks the folder; undefined where somebody else has it, or it has been renamed away meanwhile. */
async function lockFolder(path: string): Promise<OwnedFd | undefined> {
  const lock = openLock(path, constants.O_RDWR | constants.O_CREAT)
  if (lock === undefined) return undefined
  if ((await binding.ofdLock(lock.fd, 'write')) && isStillThere(path, lock)) return lock
  lock.close()
  return undefined
}

function openLock(path: string, flags: number): OwnedFd | undefined {
  try {
    return new OwnedFd(openSync(join(path, LOCK_FILE), flags, MODES.lock))
  } catch (error) {
    // ENOTDIR: not a folder at all, so nobody's.
    if (hasCode(error, 'ENOENT', 'ENOTDIR')) return undefined
    throw error
  }
}

function isStillThere(path: string, lock: OwnedFd): boolean {
  const found = statSync(join(path, LOCK_FILE), { throwIfNoEntry: false })
  return found?.ino === fstatSync(lock.fd).ino
}
