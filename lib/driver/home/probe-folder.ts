/**
 * Folders in which a file system is tried out: locked by flock(2) while they are in use, so that what a crash left can
 * be told from what is tried this moment.
 */
import { fstatSync, mkdtempSync, rmSync, statSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { hasCode, OverlaidError } from '../../errors.ts'
import { openFolderIfAny } from '../../fs/folder.ts'
import { binding } from '../../native/binding.ts'
import type { OwnedFd } from '../../native/fd.ts'
import { unmountPlace } from './mount-place.ts'

/** What they are called; a crash may leave one, empty but for a few small files. */
export const PROBE_PREFIX = '.overlaid-probe-'

/** Runs `work` in a new folder below `parent`, which is gone afterwards. @throws ERR_NO_PRIVILEGE */
export async function inProbeFolder(parent: string, work: (dir: string) => Promise<void>): Promise<void> {
  const { path, lock } = await makeProbeFolder(parent)
  try {
    await work(path)
  } finally {
    try {
      // The folder first: whoever gets the lock may remove it too.
      rmSync(path, { recursive: true, force: true })
    } finally {
      lock.close()
    }
  }
}

/** A collector may get in between making and locking: then the folder is made again. */
async function makeProbeFolder(parent: string): Promise<{ readonly path: string; readonly lock: OwnedFd }> {
  for (;;) {
    const path = makeFolder(parent)
    const lock = await lockProbe(path)
    if (lock !== undefined) return { path, lock }
  }
}

function makeFolder(parent: string): string {
  try {
    return mkdtempSync(join(parent, PROBE_PREFIX))
  } catch (error) {
    if (!hasCode(error, 'EACCES', 'EPERM')) throw error
    throw new OverlaidError(
      'ERR_NO_PRIVILEGE',
      `no permission to write in ${parent}: a storage driver needs root`,
      {
        path: parent,
        cause: error,
      },
    )
  }
}

/** Undefined where somebody else has it, or has removed it. */
async function lockProbe(path: string): Promise<OwnedFd | undefined> {
  const lock = openFolderIfAny(path)
  if (lock === undefined) return undefined
  if ((await binding.flock(lock.fd, 'write')) && isStillThere(path, lock)) return lock
  lock.close()
  return undefined
}

function isStillThere(path: string, lock: OwnedFd): boolean {
  return statSync(path, { throwIfNoEntry: false })?.ino === fstatSync(lock.fd).ino
}

/** Whether nobody tries anything in it any more. Asks by a shared lock: two who ask do not meet. */
export async function isAbandonedProbe(path: string): Promise<boolean> {
  const lock = openFolderIfAny(path)
  if (lock === undefined) return false
  try {
    return await binding.flock(lock.fd, 'read')
  } finally {
    lock.close()
  }
}

/** Removes it unless somebody is at it. */
export async function removeAbandonedProbe(path: string): Promise<void> {
  const lock = await lockProbe(path)
  if (lock === undefined) return
  try {
    await unmountPlace(path)
    await rm(path, { recursive: true, force: true })
  } finally {
    lock.close()
  }
}
