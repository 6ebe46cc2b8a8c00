/**
 * Limits on what a container adds to its image, by btrfs' quota groups.
 *
 * Each subvolume has a group of its own, 0/<its id>, that counts two ways: `referenced`, all that the subvolume reaches,
 * and `exclusive`, what no other shares. A container is a snapshot, so the second is what it wrote itself, and that is
 * what we limit. moby limits the first: the image counts, and a container of 64 MiB on an image of 170 can write nothing.
 * A limit that dockerd set is shown as it is.
 *
 * The kernel writes the numbers down when it commits, every 30 seconds by default; it enforces those in memory.
 *
 * Quotas are switched on for the file system with the first limit, which counts all that is there, once. They make
 * snapshots and their removal dearer, so nobody has them who did not ask for a size. Simple quotas (6.7), where an
 * administrator has chosen them, serve as well; they are not chosen here, since older kernels refuse to mount them.
 *
 * What a limit does not hold is a subvolume that the container makes below its own: any user may, and its group is its
 * own.
 */
import { OverlaidError, SyscallError } from '../../errors.ts'
import { binding, type Qgroup } from '../../native/binding.ts'
import type { LayerQuota } from '../driver.ts'
import { openFolder } from '../../fs/folder.ts'

/** Limits the subvolume `path` to `size` bytes of its own. @throws ERR_UNSUPPORTED_FS */
export async function limitSubvolume(path: string, size: number): Promise<void> {
  using tree = openFolder(path)
  try {
    await countQuotas(tree.fd)
    await binding.btrfsQgroupLimit(tree.fd, { exclusive: size })
  } catch (error) {
    if (!(error instanceof SyscallError)) throw error
    throw new OverlaidError('ERR_UNSUPPORTED_FS', 'this btrfs cannot limit the size of a container', {
      path,
      cause: error,
      hint: 'see whether quotas can be enabled there: btrfs quota enable PATH; or leave the size out',
    })
  }
}

/** Sees to it that what a limit is compared with is right. */
async function countQuotas(fd: number): Promise<void> {
  if ((await binding.btrfsQgroup(fd)) === undefined) await binding.btrfsQuotaEnable(fd)
  await binding.btrfsQuotaRescanWait(fd)
  const qgroup = await binding.btrfsQgroup(fd)
  if (qgroup?.inconsistent !== true) return
  await binding.btrfsQuotaRescan(fd)
  await binding.btrfsQuotaRescanWait(fd)
}

/** The limit of the subvolume `path` and what counts towards it; undefined where there is none. */
export async function quotaOfSubvolume(path: string): Promise<LayerQuota | undefined> {
  using tree = openFolder(path)
  const qgroup = await binding.btrfsQgroup(tree.fd)
  return qgroup === undefined ? undefined : asQuota(qgroup)
}

function asQuota({ referenced, exclusive, maxReferenced, maxExclusive }: Qgroup): LayerQuota | undefined {
  if (maxExclusive !== undefined) return { used: Number(exclusive), limit: Number(maxExclusive) }
  if (maxReferenced !== undefined) return { used: Number(referenced), limit: Number(maxReferenced) }
  return undefined
}
