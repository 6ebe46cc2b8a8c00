/**
 * Whose state a data root holds, by looking at a few names.
 *
 * moby's rule: each driver whose folder is not empty counts, but vfs, which leaves its folder behind. moby then goes on
 * to a better driver that works by now, and the images that were kept with vfs are out of sight. Here layers that are
 * kept with vfs count where nothing else does: what was loaded stays.
 */
import { type Dir, lstatSync, opendirSync } from 'node:fs'
import { join } from 'node:path'
import { hasCode, OverlaidError } from '../errors.ts'
import { DOCKER_ORDER, RETIRED_NAMES } from './order.ts'

/**
 * The drivers whose state is in the root, in Docker's order. Of those that Docker has no more only where there is no
 * other: beside another it does not see them.
 */
export function driversWithState(root: string): readonly string[] {
  const found = DOCKER_ORDER.filter((name) => name !== 'vfs' && isNonEmpty(join(root, name)))
  if (found.length > 0) return found
  if (isNonEmpty(join(root, 'vfs')) && isNonEmpty(join(root, 'image/vfs/layerdb/sha256'))) return ['vfs']
  return RETIRED_NAMES.filter((name) => isNonEmpty(join(root, name)))
}

/** The driver whose state is in the root; undefined where none is. @throws ERR_DRIVER_MISMATCH when several are */
export function driverOfState(root: string): string | undefined {
  const names = driversWithState(root)
  if (names.length <= 1) return names[0]
  throw new OverlaidError(
    'ERR_DRIVER_MISMATCH',
    `${root} holds the state of several drivers: ${names.join(', ')}`,
    { path: root, hint: 'name the one to use with --driver (the library: the `driver` option)' },
  )
}

function isNonEmpty(dir: string): boolean {
  try {
    // An error costs more than a look, and all but one are missing as a rule.
    if (lstatSync(dir, { throwIfNoEntry: false }) === undefined) return false
    return hasEntry(opendirSync(dir))
  } catch (error) {
    if (hasCode(error, 'ENOENT', 'ENOTDIR')) return false
    // Someone else's private folder (0710 root): that it is there is enough to know whose root this is.
    if (hasCode(error, 'EACCES', 'EPERM')) return true
    throw error
  }
}

function hasEntry(dir: Dir): boolean {
  try {
    return dir.readSync() !== null
  } finally {
    dir.closeSync()
  }
}
