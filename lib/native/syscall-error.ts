/** Turns what the addon rejects with into a {@link SyscallError}: flags by name, and a hint in mount words. */
import { SyscallError } from '../errors.ts'
import { flagNames } from './flags.ts'

/** The fields that native/error.cc sets. */
interface RawError {
  readonly message: string
  readonly code: string
  readonly errno: number
  readonly syscall: string
  readonly path?: string
  readonly dest?: string
  readonly flags?: number
  readonly detail?: readonly string[]
  readonly index?: number
}

/** System calls whose errno means something particular when a file system is mounted. */
const MOUNT_CALLS: ReadonlySet<string> = new Set(['mount', 'fsconfig', 'fsmount', 'fsopen'])

/** Causes by errno of a refused overlay mount; from fs/overlayfs/params.c, super.c and mount(2). */
const MOUNT_HINTS: Readonly<Record<string, string>> = {
  EINVAL:
    'usual causes: an option this kernel does not know or a forbidden combination; fewer than two lowers without an upper; ' +
    'more than 500 lowers; upper and work not on one mount, or one inside the other; an upper on a read-only, overlay or ' +
    'case-insensitive file system; a work directory left by a volatile mount that was not unmounted (work/incompat)',
  ENOENT: 'a layer directory is missing, or the option string was cut',
  ELOOP: 'a layer is given twice, or one lies inside another',
  EBUSY: 'the upper or work directory is in use by another overlay, or the target is busy',
  ESTALE: 'the upper was used before with another lower (index=on), or a layer was changed under it',
  EPERM: 'mounting needs CAP_SYS_ADMIN in the user namespace that owns the mount namespace',
  ENODEV: 'the overlay module is not in this kernel: modprobe overlay',
  ENOSPC: 'the mount namespace is full: see /proc/sys/fs/mount-max',
  EOPNOTSUPP:
    'a layer has no file handles or uuid (index=on), or this kernel does not take layers by descriptor (6.13)',
  ENOMEM: 'out of memory; Linux 5.10 also answers so to more than 500 lowers',
  ENAMETOOLONG: 'a name in the option string is too long',
}

const OTHER_HINTS: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  umount2: {
    EBUSY: 'something still has a file or working directory open below it, or another mount lies on top',
    EINVAL: 'nothing is mounted there',
    EPERM: 'unmounting needs CAP_SYS_ADMIN',
  },
  move_mount: {
    EINVAL: 'the mount is already attached, lies in another namespace, or its parent there is shared',
    ENOENT: 'the target is missing in the mount namespace it is looked up in',
    EPERM: 'attaching needs CAP_SYS_ADMIN',
    ENOSPC: 'the mount namespace is full: see /proc/sys/fs/mount-max',
  },
  open_tree: {
    EINVAL: 'the path is not in this mount namespace',
    EPERM: 'cloning a mount needs CAP_SYS_ADMIN',
  },
  setns: { EPERM: 'entering a mount namespace needs CAP_SYS_ADMIN and CAP_SYS_CHROOT' },
  mount_setattr: {
    EPERM: 'changing a mount needs CAP_SYS_ADMIN',
    EINVAL:
      'the file system cannot show its files with mapped ids (ext4, XFS, btrfs can; tmpfs since Linux 6.3)',
    ENOSYS: 'this needs Linux 5.12',
  },
  clone: {
    EPERM: 'user namespaces are forbidden here, or the process is in a chroot',
    ENOSPC: 'no more user namespaces: see /proc/sys/user/max_user_namespaces',
  },
  mknodat: {
    EPERM: 'device nodes need CAP_MKNOD, and a file system that is not mounted by a user namespace',
  },
  BTRFS_IOC_SNAP_CREATE_V2: {
    EINVAL: 'what is to be copied is no subvolume: cp and rsync make folders of them, btrfs send keeps them',
    EXDEV: 'the two places are on different file systems',
  },
  BTRFS_IOC_SNAP_DESTROY: {
    EPERM: 'removing a subvolume needs CAP_SYS_ADMIN, or the mount option user_subvol_rm_allowed',
  },
  unlinkat: { EPERM: 'the file is immutable or append-only (lsattr, chattr -i)' },
}

function hintFor(raw: RawError): string | undefined {
  if (MOUNT_CALLS.has(raw.syscall)) return MOUNT_HINTS[raw.code]
  return OTHER_HINTS[raw.syscall]?.[raw.code]
}

/** `error` as a SyscallError when it came from the addon; anything else unchanged. */
export function toSyscallError(error: unknown): unknown {
  if (!(error instanceof Error) || !('syscall' in error)) return error
  const raw = error as unknown as RawError
  const hint = hintFor(raw)
  const result = new SyscallError(message(raw), {
    code: raw.code,
    errno: raw.errno,
    syscall: raw.syscall,
    ...(raw.path !== undefined && { path: raw.path }),
    ...(raw.dest !== undefined && { dest: raw.dest }),
    ...(raw.flags !== undefined && { flags: flagNames(raw.syscall, raw.flags) }),
    ...(raw.detail !== undefined && { detail: raw.detail }),
    ...(hint !== undefined && { hint }),
  })
  return raw.index === undefined ? result : Object.assign(result, { index: raw.index })
}

/** The kernel's own words at the end: for a mount they say more than the errno. */
function message(raw: RawError): string {
  return raw.detail === undefined ? raw.message : `${raw.message} (${raw.detail.join('; ')})`
}
