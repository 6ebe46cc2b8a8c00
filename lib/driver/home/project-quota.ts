/**
 * Size limits of layers by project quotas, which ext4 and XFS have: the kernel counts and refuses.
 *
 * A layer with a limit is a project of its own. Its folder hands the project on to whatever is made in it
 * (FS_XFLAG_PROJINHERIT), so that diff/ and work/ count alike, and overlayfs may rename from one to the other: into a
 * folder that hands on another project that is EXDEV. The number is one above the home's own or the next one to which
 * nothing belongs, as moby numbers them; a layer in the trash keeps its until the last file is deleted.
 *
 * Two processes may choose the same number. So the chooser puts its folder in and looks again: who sees more than one
 * file there goes on to another number. Of two, the later one always sees both. No lock is needed, and none would
 * keep dockerd out, which does the same without looking.
 *
 * ext4 lets a process with CAP_SYS_RESOURCE pass any limit. overlayfs writes without that capability, whoever asks
 * (4.11), so that the limit holds for root in the merged view; it is root in the layer's own folder that it does not hold.
 * fuse-overlayfs is started without the capability. vfs has nothing between a process and the folder: who has it there
 * may pass the limit on ext4, and not on XFS, which asks nobody for it.
 *
 * A crash leaves at most a limit on a number to which nothing belongs, which the next one with that number replaces.
 */
import { hasCode, OverlaidError } from '../../errors.ts'
import { openFolder } from '../../fs/folder.ts'
import { binding } from '../../native/binding.ts'
import { FS_QUOTA, FS_XFLAG } from '../../native/flags.ts'
import type { FileProject } from '../../native/quota.ts'
import { deviceOf } from '../backing.ts'
import type { LayerQuota } from '../driver.ts'
import { noProjectQuotas, noProjects, projectsHandedOn } from './quota-refusals.ts'

/** How far apart two that met may look next. */
const APART = 16

/** The folder is no file system's that has projects. */
const NO_PROJECTS = ['ENOTTY', 'EOPNOTSUPP', 'ENOSYS', 'EINVAL'] as const

/** A file system that nothing is counted in, or that is on no block device. */
const NO_QUOTAS = ['ENOSYS', 'ESRCH', 'EINVAL', 'EOPNOTSUPP', 'ENOTBLK', 'ENOENT'] as const

/** A file system as quotactl takes it. */
interface Place extends Disposable {
  readonly fd: number
  readonly device: string
}

/**
 * Whether layers below `home` can be limited to `size` bytes.
 * @throws ERR_INVALID_ARGUMENT (size), ERR_UNSUPPORTED_FS; with a hint
 */
export async function expectLimits(home: string, size: number): Promise<void> {
  if (!Number.isSafeInteger(size) || size <= 0) {
    throw new OverlaidError('ERR_INVALID_ARGUMENT', `${String(size)} is no size: it is a number of bytes`)
  }
  using place = await openPlace(home)
  const project = await projectOf(place.fd)
  if (project === undefined) throw await noProjects(home)
  const state = await stateOf(place)
  if ((state & FS_QUOTA.FS_QUOTA_PDQ_ENFD) === 0) {
    throw await noProjectQuotas(home, { areCounted: (state & FS_QUOTA.FS_QUOTA_PDQ_ACCT) !== 0 })
  }
  if ((project.xflags & FS_XFLAG.FS_XFLAG_PROJINHERIT) !== 0) throw projectsHandedOn(home)
}

/** Limits the empty folder `dir`, and what will be made in it, to `size` bytes. See {@link expectLimits}. */
export async function limitFolder(home: string, dir: string, size: number): Promise<void> {
  using place = await openPlace(home)
  using folder = openFolder(dir)
  const { projectID: own } = await binding.fsgetxattr(place.fd)
  const projectID = await joinFreeProject(place, folder.fd, own + 1)
  await binding.quotactlSet(place.fd, place.device, projectID, size)
}

/** Puts the folder into a project of its own, from `from` on. */
async function joinFreeProject(place: Place, folder: number, from: number): Promise<number> {
  const { xflags } = await binding.fsgetxattr(folder)
  // Unsigned: XFS has a use for bit 31.
  const bits = (xflags | FS_XFLAG.FS_XFLAG_PROJINHERIT) >>> 0
  for (let next = from; ;) {
    const projectID = await binding.quotactlFindFree(place.fd, place.device, next)
    await binding.fssetxattr(folder, bits, projectID)
    const { inodes } = await binding.quotactlGet(place.fd, place.device, projectID)
    if (inodes === 1) return projectID
    next = projectID + 1 + Math.floor(Math.random() * APART)
  }
}

/**
 * The limit of the layer's folder `dir`, and what it uses. Undefined where none is enforced, or this process may not
 * ask (CAP_SYS_ADMIN).
 */
export async function quotaOf(home: string, dir: string): Promise<LayerQuota | undefined> {
  try {
    const projectID = await ownProject(home, dir)
    if (projectID === undefined) return undefined
    using place = await openPlace(home)
    if (((await stateOf(place)) & FS_QUOTA.FS_QUOTA_PDQ_ENFD) === 0) return undefined
    const { limit, used } = await binding.quotactlGet(place.fd, place.device, projectID)
    return limit === 0 ? undefined : { used, limit }
  } catch (error) {
    if (hasCode(error, 'EACCES', 'EPERM')) return undefined
    throw error
  }
}

/** The project that is the folder's and not also its home's; undefined where there is no such folder, too. */
export async function ownProject(home: string, dir: string): Promise<number | undefined> {
  const projectID = await projectAt(dir)
  // Most layers have none: no second look.
  return projectID === 0 || projectID === (await projectAt(home)) ? undefined : projectID
}

/** 0, as the kernel has it, where there are no projects or no folder. */
async function projectAt(dir: string): Promise<number> {
  try {
    using folder = openFolder(dir)
    return (await projectOf(folder.fd))?.projectID ?? 0
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return 0
    throw error
  }
}

/** Takes the limit from a project whose layer was removed. */
export async function clearLimit(home: string, projectID: number): Promise<void> {
  using place = await openPlace(home)
  // Mounted without quotas now: there is nothing that could be told.
  if (((await stateOf(place)) & FS_QUOTA.FS_QUOTA_PDQ_ACCT) === 0) return
  await binding.quotactlSet(place.fd, place.device, projectID, 0)
}

async function openPlace(home: string): Promise<Place> {
  // The table of mounts is only read for kernels before 5.14.
  const device = binding.hasQuotactlFd() ? '' : ((await deviceOf(home))?.device ?? '')
  const folder = openFolder(home)
  return { fd: folder.fd, device, [Symbol.dispose]: () => folder.close() }
}

async function projectOf(fd: number): Promise<FileProject | undefined> {
  try {
    return await binding.fsgetxattr(fd)
  } catch (error) {
    if (hasCode(error, ...NO_PROJECTS)) return undefined
    throw error
  }
}

async function stateOf({ fd, device }: Place): Promise<number> {
  try {
    return await binding.quotactlState(fd, device)
  } catch (error) {
    if (hasCode(error, ...NO_QUOTAS)) return 0
    throw error
  }
}
