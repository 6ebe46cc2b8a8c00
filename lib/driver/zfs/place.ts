/** Where a home's datasets are: below the file system that its data root is on, as moby looks it up. */
import { realpathSync, statSync } from 'node:fs'
import { dirname } from 'node:path'
import { OverlaidError } from '../../errors.ts'
import { findMount } from '../../fs/mountinfo.ts'
import { binding, type MountInfo } from '../../native/binding.ts'
import { ZFS_MAGIC } from '../../native/statfs.ts'
import { foundBacking, nearestExisting } from '../backing.ts'
import { expectName, type Place } from './layout.ts'
import { missingOfZfs } from './presence.ts'

/** The dataset that `dir` is on, or the nearest folder above it that exists. @throws ERR_UNSUPPORTED_FS */
export async function datasetOf(dir: string): Promise<string> {
  return expectName((await mountOfZfs(dir)).source)
}

/** The place of the datasets of a home that is there. @throws ERR_UNSUPPORTED_FS */
export async function placeOf(home: string): Promise<Place> {
  return { dataset: await datasetOf(dirname(home)), owner: inodeOf(home) }
}

/**
 * Whether the dataset is the data root's own, mounted there: where it is another folder's too, there may be a second
 * root below that, with layers of its own beside ours.
 */
export async function isSole(home: string): Promise<boolean> {
  const root = dirname(home)
  const { root: shown, mountPoint } = await mountOfZfs(root)
  return shown.toString() === '/' && mountPoint.toString() === realpathSync(root)
}

export function inodeOf(folder: string): number {
  return statSync(folder).ino
}

async function mountOfZfs(dir: string): Promise<MountInfo> {
  const existing = nearestExisting(dir)
  if ((await binding.statfs(existing)).type !== ZFS_MAGIC) throw await notZfs(existing)
  const mount = await findMount(existing)
  if (mount !== undefined) return mount
  throw new OverlaidError('ERR_UNSUPPORTED_FS', `no mount is known that ${existing} is on`, {
    path: existing,
    hint: 'see /proc/self/mountinfo: is /proc that of this mount namespace?',
  })
}

async function notZfs(existing: string): Promise<OverlaidError> {
  const found = await foundBacking(existing)
  const missing = missingOfZfs()
  const also = missing.length === 0 ? '' : `; this machine lacks ${missing.join(' and ')}`
  return new OverlaidError('ERR_UNSUPPORTED_FS', `the driver zfs needs ZFS, and ${found}${also}`, {
    path: existing,
    hint:
      'put the data root on a dataset of its own: zfs create -o mountpoint=DIR POOL/NAME; ' +
      'without a pool, zpool create POOL DEV, or of a file: truncate -s 50G FILE, zpool create POOL FILE',
  })
}
