/** Ending holds: undoing their mounts. The caller holds the subject's lock. */
import { rmdirSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { hasCode, OverlaidError } from '../errors.ts'
import { binding } from '../native/binding.ts'
import { MNT } from '../native/flags.ts'
import { mountGate } from '../native/gate.ts'
import { mountIDAt, removeMountPoint, unmountInProcess } from '../native/mount.ts'
import { removeFile } from './claim.ts'
import { here, type Hold, type HoldContent, layerOfSubject, memberOf, readHolds } from './hold.ts'
import { holdsDir, type StorePaths } from './paths.ts'

export interface EndOptions {
  /** Detaches a mount that is in use: it is gone from the mount table now, and as a whole when its users are. */
  readonly force?: boolean
}

/** How a hold's mount is undone. */
export interface UndoOptions extends EndOptions {
  /** Unmounts at the driver's place without waiting for the end; false where it could not, and nothing is undone. */
  readonly beginUnmount?: () => Promise<boolean>
}

/**
 * Ends one hold, and its mount when no other live hold shares it. Its file goes last: what fails in between is done
 * again by whoever comes next.
 * @throws ERR_IN_USE while a process has files open in the mount or its working directory there
 */
export async function endHold(
  paths: StorePaths,
  subject: string,
  hold: Hold,
  options: UndoOptions,
): Promise<void> {
  const { content } = hold
  const others = await sharing(paths, subject, hold)
  if (content.kind !== 'detached' && !content.borrowed && !others) await undoMount(content, options)
  removeFile(hold.path)
}

async function sharing(paths: StorePaths, subject: string, hold: Hold): Promise<boolean> {
  if (hold.content.kind !== 'merged') return false
  const others = await readHolds(paths, subject, hold.path)
  return others.some(({ live, content }) => live && content.mountID === hold.content.mountID)
}

/** Unmounts what the hold is about, in whichever namespace; what is not there any more is fine. */
async function undoMount(content: HoldContent, { force = false, beginUnmount }: UndoOptions): Promise<void> {
  const place = here()
  const { path, namespace, kind } = content
  if (path === undefined || content.bootID !== place.bootID) return
  if (namespace === place.namespace) {
    const begin = kind === 'merged' && !force ? beginUnmount : undefined
    await unlessBusy(path, async () => {
      if ((await begin?.()) !== true) await unmountOurs(content, path, force)
    })
    if (kind === 'merged') removeMountPoint(path)
    return
  }
  const pid = await memberOf(namespace)
  if (pid === undefined || !(await isTopmost(content, `/proc/${String(pid)}/root${path}`))) return
  await unlessBusy(path, () => unmountInProcess(pid, path, force ? MNT.MNT_DETACH : 0))
}

/** Unmounts the hold's mount; one that is gone is fine. @throws ERR_IN_USE when another one was put over it, EBUSY */
async function unmountOurs({ mountID }: HoldContent, path: string, force: boolean): Promise<void> {
  const flags = MNT.UMOUNT_NOFOLLOW | (force ? MNT.MNT_DETACH : 0)
  const found = await mountGate.run('end', () => binding.unmountIf(path, BigInt(mountID), flags))
  if (found !== undefined && String(found) !== mountID) throw covered(path)
}

/** False when the mount is gone. @throws ERR_IN_USE when another one was put over it: that would be unmounted */
async function isTopmost({ mountID, path = '' }: HoldContent, seen: string): Promise<boolean> {
  const found = await mountIDAt(seen)
  if (found === undefined) return false
  if (String(found) === mountID) return true
  throw covered(path)
}

function covered(path: string): OverlaidError {
  return new OverlaidError('ERR_IN_USE', `another mount lies over the one at ${path}`, {
    path,
    hint: `unmount that one first: umount ${path}`,
  })
}

/**
 * Pauses before trying a busy mount again, in ms: a process that has just ended gives its files back a moment after
 * whoever waited for it is told.
 */
const BUSY_PAUSES: readonly number[] = [1, 2, 4, 8, 16, 32, 64]

async function unlessBusy(path: string, attempt: () => Promise<void>): Promise<void> {
  for (const wait of BUSY_PAUSES) {
    try {
      return await attempt()
    } catch (error) {
      if (!hasCode(error, 'EBUSY')) throw error
      await pause(wait)
    }
  }
  try {
    await attempt()
  } catch (error) {
    if (!hasCode(error, 'EBUSY')) throw error
    throw new OverlaidError('ERR_IN_USE', `${path} is busy: a process has files open there, or is in it`, {
      path,
      cause: error,
      hint: 'end that process (fuser -vm shows it) and what is mounted below, or unmount with force',
    })
  }
}

/**
 * Undoes what dead processes left mounted, and returns the holds that live. A mount that is still in use by someone
 * counts as live: it may be shared, not doubled.
 */
export async function reapHolds(paths: StorePaths, subject: string): Promise<Hold[]> {
  const live: Hold[] = []
  for (const hold of await readHolds(paths, subject)) {
    if (hold.live) live.push(hold)
    else if (!(await endDead(paths, subject, hold))) live.push({ ...hold, live: true })
  }
  return live
}

async function endDead(paths: StorePaths, subject: string, hold: Hold): Promise<boolean> {
  try {
    await endHold(paths, subject, hold, {})
    return true
  } catch (error) {
    if (hasCode(error, 'ERR_IN_USE')) return false
    throw error
  }
}

/** Removes the folder of a subject's holds when none is left, and an image's lock file with it. */
export async function dropHoldsFolder(paths: StorePaths, subject: string): Promise<void> {
  try {
    rmdirSync(holdsDir(paths, subject))
    // Whoever waits for the lock on the file we have open makes a new one: see lock.ts.
    if (layerOfSubject(subject) !== undefined) removeFile(join(paths.locks, subject))
  } catch (error) {
    // ENOTEMPTY: others hold it. ENOENT: it never had one.
    if (!hasCode(error, 'ENOENT', 'ENOTEMPTY')) throw error
  }
}
