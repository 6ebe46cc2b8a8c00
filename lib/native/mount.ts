/** Mounts as descriptors: attach one somewhere, clone one, undo one; and the places that they are mounted on. */
import { lstatSync, mkdirSync, rmdirSync } from 'node:fs'
import { hasCode } from '../errors.ts'
import { AT_FDCWD, binding, type Bytes } from './binding.ts'
import { OwnedFd } from './fd.ts'
import { AT, MNT, MOUNT_ATTR, MOUNT_ATTR__ATIME, MOVE_MOUNT, OPEN_TREE } from './flags.ts'
import { mountGate } from './gate.ts'

/** Attaches the mount `fd` (from fsmount or open_tree) at `target`, which may not be a link. */
export async function attach(fd: number, target: Bytes): Promise<void> {
  await binding.moveMount(fd, '', AT_FDCWD, target, MOVE_MOUNT.MOVE_MOUNT_F_EMPTY_PATH)
}

/** A mount point in a driver's home: whoever may enter it could get in the way of what is mounted there. */
const MOUNT_POINT_MODE = 0o700

/**
 * Attaches the mount `fd` at `target`, a folder of a driver's home that is there only while something is mounted on
 * it: made first, and removed when that fails. Closes `fd`, since what is attached needs it no more. In the calling
 * thread: a turn of the pool takes longer.
 */
export async function attachAtHome(fd: OwnedFd, target: string): Promise<void> {
  makeMountPoint(target)
  try {
    await binding.moveMountNow(fd.fd, target)
  } catch (error) {
    removeMountPoint(target)
    throw error
  }
  fd.close()
}

function makeMountPoint(path: string): void {
  try {
    mkdirSync(path, { mode: MOUNT_POINT_MODE })
  } catch (error) {
    if (!hasCode(error, 'EEXIST')) throw error
  }
}

/** Takes the mount along that leaked into another namespace: rmdir detaches it there (3.18). */
export function removeMountPoint(path: string): void {
  try {
    rmdirSync(path)
  } catch (error) {
    // EBUSY: mounted over, by someone else. ENOTEMPTY: someone's files. Either way not ours to remove.
    if (!hasCode(error, 'ENOENT', 'EBUSY', 'ENOTEMPTY')) throw error
  }
}

/** STATX_ATTR_MOUNT_ROOT (5.8): two stats cannot tell a bind mount of the same file system. */
const MOUNT_ROOT = 0x2000n

/**
 * The id of the mount whose root is at `path`, as statx gives it; undefined where there is none. A FUSE mount whose
 * process died is one like others.
 */
export async function mountIDAt(path: string): Promise<bigint | undefined> {
  // A turn of the pool and an error cost more than a look, and most mount points are not there.
  return isThere(path) ? mountedAt(path) : undefined
}

/** As {@link mountIDAt}, without a look from the calling thread: what is mounted may keep whoever looks waiting. */
export async function mountedAt(path: string): Promise<bigint | undefined> {
  try {
    const flags = AT.AT_SYMLINK_NOFOLLOW | AT.AT_NO_AUTOMOUNT | AT.AT_STATX_DONT_SYNC
    const { attributes, mountID } = await binding.statx(AT_FDCWD, path, flags)
    return (attributes & MOUNT_ROOT) === 0n ? undefined : mountID
  } catch (error) {
    if (hasCode(error, 'ENOENT', 'ENOTDIR')) return undefined
    throw error
  }
}

function isThere(path: string): boolean {
  try {
    return lstatSync(path, { throwIfNoEntry: false }) !== undefined
  } catch (error) {
    if (hasCode(error, 'ENOTCONN')) return true
    throw error
  }
}

/** Whether `path` is on a FUSE mount whose process died: whatever is done there fails from then on. */
export async function isDead(path: Bytes): Promise<boolean> {
  try {
    // Of an inode the kernel may remember the attributes; this it asks the process every time.
    await binding.statfs(path)
    return false
  } catch (error) {
    if (hasCode(error, 'ENOTCONN', 'ECONNABORTED')) return true
    throw error
  }
}

/**
 * Attaches the detached mount `fd` at `target` in the mount namespace of process `pid`, seen from that namespace's
 * root. Nothing of it shows here.
 */
export async function attachInProcess(pid: number, fd: number, target: Bytes): Promise<void> {
  using namespace = await openMountNamespace(pid)
  await binding.moveMountInto(namespace.fd, fd, target)
}

/** Unmounts `target` in the mount namespace of process `pid`. */
export async function unmountInProcess(pid: number, target: Bytes, flags: number): Promise<void> {
  using namespace = await openMountNamespace(pid)
  await binding.umount2In(namespace.fd, target, flags)
}

/** The mount namespace of a process; keeps it alive while open. */
export async function openMountNamespace(pid: number): Promise<OwnedFd> {
  return new OwnedFd(await binding.openat(AT_FDCWD, `/proc/${String(pid)}/ns/mnt`, 0, 0))
}

/** A mount that is in no mount table: gone when its descriptor is closed, unless attached before. */
export interface Detached {
  readonly fd: OwnedFd
  /** As statx gives it for the root. */
  readonly mountID: bigint
}

/**
 * A detached second mount of what is mounted at `path`, with the same super block, or of the folder `path`;
 * `attributes` are MOUNT_ATTR_* to set on it (5.12).
 */
export function cloneMount(path: Bytes, attributes = 0): Promise<Detached> {
  return cloneTree(AT_FDCWD, path, 0, { attributes })
}

/** As {@link cloneMount}, with the ids that the user namespace maps. */
export function cloneMapped(path: Bytes, usernsFd: number, attributes = 0): Promise<Detached> {
  return cloneTree(AT_FDCWD, path, 0, { attributes, usernsFd })
}

/** Maps the ids of a mount that is in no mount table yet. What cannot be mapped is closed. */
export async function mapMount(mount: Detached, usernsFd: number): Promise<Detached> {
  try {
    await setMount(mount.fd, { attributes: 0, usernsFd })
    return mount
  } catch (error) {
    await mount.fd.closeAsync()
    throw error
  }
}

/** As {@link cloneMount}, of what the descriptor leads to. */
export function cloneMountFd(fd: number, attributes = 0): Promise<Detached> {
  return cloneTree(fd, '', AT.AT_EMPTY_PATH, { attributes })
}

interface MountSettings {
  readonly attributes: number
  readonly usernsFd?: number
}

async function cloneTree(
  dirfd: number,
  path: Bytes,
  flags: number,
  settings: MountSettings,
): Promise<Detached> {
  const fd = new OwnedFd(await binding.openTree(dirfd, path, OPEN_TREE.OPEN_TREE_CLONE | flags))
  try {
    await setMount(fd, settings)
    return { fd, mountID: (await binding.statx(fd.fd, '', AT.AT_EMPTY_PATH)).mountID }
  } catch (error) {
    await fd.closeAsync()
    throw error
  }
}

async function setMount({ fd }: OwnedFd, { attributes, usernsFd }: MountSettings): Promise<void> {
  // The atime setting is a field of three bits, not flags: it can only be replaced as a whole.
  const clear = (attributes & MOUNT_ATTR__ATIME) === 0 ? 0 : MOUNT_ATTR__ATIME
  const set = attributes | (usernsFd === undefined ? 0 : MOUNT_ATTR.MOUNT_ATTR_IDMAP)
  const mapping = usernsFd === undefined ? {} : { usernsFd }
  if (set !== 0) await binding.mountSetattr(fd, '', AT.AT_EMPTY_PATH, { set, clear, ...mapping })
}

/**
 * Unmounts what is mounted at `target`, which is not followed if it is a link.
 *
 * With `detach` a busy mount goes away from here at once and ends when its last file is closed; until then its
 * upper stays in use.
 */
export async function unmount(target: Bytes, options: { readonly detach?: boolean } = {}): Promise<void> {
  const flags = MNT.UMOUNT_NOFOLLOW | (options.detach === true ? MNT.MNT_DETACH : 0)
  await mountGate.run('end', () => binding.umount2(target, flags))
}

/**
 * As {@link unmount}, and as far as the mount table and EBUSY go all of it; but the file system that was mounted ends
 * with the descriptor that this gives: for an overlay that is the sync of its upper's file system, nine tenths of what
 * unmounting takes. Close it on the pool ({@link OwnedFd.closeAsync}). Until then the upper is in use. In the calling
 * thread. Undefined, and nothing is undone, when `mountID` is given and is not what is mounted there, or nothing is, or
 * it can be in one place only: {@link unmount} then says what is the matter, or does it.
 */
export async function unmountLeaving(target: Bytes, mountID?: bigint): Promise<OwnedFd | undefined> {
  const fd = await binding.unmountLeavingNow(target, mountID, MNT.UMOUNT_NOFOLLOW)
  return fd === undefined ? undefined : new OwnedFd(fd)
}
