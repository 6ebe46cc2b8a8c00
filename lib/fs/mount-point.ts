/** Whether something is mounted at a place, for readers: they need no addon for it. */
import { closeSync, constants, openSync, readFileSync, statSync } from 'node:fs'
import { dirname } from 'node:path'
import { hasCode } from '../errors.ts'
import { O_PATH } from '../native/flags.ts'

/** As {@link isMountPoint}, for what the kernel serves: most such places are not there, and a look costs least. */
export function isKernelsMountPoint(path: string): boolean {
  try {
    const inside = statSync(path, { throwIfNoEntry: false })
    if (inside === undefined) return false
    // A bind mount of the same file system has the same.
    return inside.dev !== statSync(dirname(path)).dev || isMountPoint(path)
  } catch (error) {
    if (hasCode(error, 'ENOENT', 'EACCES')) return false
    throw error
  }
}

/**
 * Without a word to whoever serves what is mounted: a stat asks the process of a FUSE mount, and waits for ever for one
 * that hangs.
 */
export function isMountPoint(path: string): boolean {
  const id = mountIDOf(path)
  return id !== undefined && id !== mountIDOf(dirname(path))
}

/** Undefined where nothing is, or nothing that this process may see. */
function mountIDOf(path: string): string | undefined {
  let fd: number
  try {
    fd = openSync(path, O_PATH | constants.O_NOFOLLOW)
  } catch (error) {
    if (hasCode(error, 'ENOENT', 'ENOTDIR', 'EACCES')) return undefined
    throw error
  }
  try {
    return /^mnt_id:\s*(\d+)$/m.exec(readFileSync(`/proc/self/fdinfo/${String(fd)}`, 'latin1'))?.[1]
  } finally {
    closeSync(fd)
  }
}
