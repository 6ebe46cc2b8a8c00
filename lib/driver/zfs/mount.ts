/** Mounts of datasets, in no mount table. */
import { SyscallError } from '../../errors.ts'
import { binding } from '../../native/binding.ts'
import { OwnedFd } from '../../native/fd.ts'
import { mountGate } from '../../native/gate.ts'
import type { Detached } from '../../native/mount.ts'
import { expectName } from './layout.ts'

const HINTS: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such dataset',
  EBUSY: 'it is mounted read-only elsewhere, or a command is at it: zfs get mounted',
  EACCES: 'the key of an encrypted dataset is not loaded: zfs load-key',
  EPERM: 'mounting a dataset needs CAP_SYS_ADMIN, and not in a user namespace',
  ENODEV: 'load the module: modprobe zfs',
}

/**
 * Mounts a dataset with the MOUNT_ATTR_* `attributes`. All mounts of one share its super block, which is never made
 * read-only: beside one that is, ZFS refuses one that is not.
 */
export async function mountDataset(name: string, attributes = 0, signal?: AbortSignal): Promise<Detached> {
  const source = { key: 'source', value: expectName(name) }
  try {
    const { fd, mountID } = await mountGate.run(
      'begin',
      () => binding.fsmountConfigured('zfs', '/', [source], attributes),
      signal,
    )
    return { fd: new OwnedFd(fd), mountID }
  } catch (error) {
    throw error instanceof SyscallError ? explained(error, name) : error
  }
}

function explained(cause: SyscallError, name: string): SyscallError {
  const { code, errno, syscall } = cause
  const hint = HINTS[code] ?? 'zpool status and dmesg may tell more'
  return new SyscallError(`${code}: the dataset ${name} cannot be mounted, ${syscall}`, {
    ...{ code, errno, syscall, hint, cause },
    path: name,
  })
}
