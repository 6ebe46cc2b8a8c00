/**
 * The kernel's constants under the kernel's names, and their names back from a flag word. Values are those of
 * the UAPI headers; all are the same on x86-64 and arm64 unless said.
 */

/** mount(2)'s flags; see include/uapi/linux/mount.h. */
export const MS = {
  MS_RDONLY: 1,
  MS_NOSUID: 2,
  MS_NODEV: 4,
  MS_NOEXEC: 8,
  MS_SYNCHRONOUS: 16,
  MS_REMOUNT: 32,
  MS_DIRSYNC: 128,
  MS_NOSYMFOLLOW: 256,
  MS_NOATIME: 1024,
  MS_NODIRATIME: 2048,
  MS_BIND: 4096,
  MS_MOVE: 8192,
  MS_REC: 16384,
  MS_SILENT: 32768,
  MS_UNBINDABLE: 0x20000,
  MS_PRIVATE: 0x40000,
  MS_SLAVE: 0x80000,
  MS_SHARED: 0x100000,
  MS_RELATIME: 0x200000,
  MS_STRICTATIME: 0x1000000,
  MS_LAZYTIME: 0x2000000,
} as const

/** umount2(2)'s flags. */
export const MNT = { MNT_FORCE: 1, MNT_DETACH: 2, MNT_EXPIRE: 4, UMOUNT_NOFOLLOW: 8 } as const

/** fsopen(2)'s flags. */
export const FSOPEN = { FSOPEN_CLOEXEC: 1 } as const

/** Mount attributes of fsmount(2) and mount_setattr(2). */
export const MOUNT_ATTR = {
  MOUNT_ATTR_RDONLY: 0x01,
  MOUNT_ATTR_NOSUID: 0x02,
  MOUNT_ATTR_NODEV: 0x04,
  MOUNT_ATTR_NOEXEC: 0x08,
  MOUNT_ATTR_NOATIME: 0x10,
  MOUNT_ATTR_STRICTATIME: 0x20,
  MOUNT_ATTR_NODIRATIME: 0x80,
  MOUNT_ATTR_IDMAP: 0x00100000,
  MOUNT_ATTR_NOSYMFOLLOW: 0x00200000,
} as const

/** The field that MOUNT_ATTR_NOATIME and _STRICTATIME are values of. */
export const MOUNT_ATTR__ATIME = 0x70

/** open_tree(2). */
export const OPEN_TREE = { OPEN_TREE_CLONE: 1, OPEN_TREE_CLOEXEC: 0o2000000 } as const

/** move_mount(2). */
export const MOVE_MOUNT = {
  MOVE_MOUNT_F_SYMLINKS: 0x01,
  MOVE_MOUNT_F_AUTOMOUNTS: 0x02,
  MOVE_MOUNT_F_EMPTY_PATH: 0x04,
  MOVE_MOUNT_T_SYMLINKS: 0x10,
  MOVE_MOUNT_T_AUTOMOUNTS: 0x20,
  MOVE_MOUNT_T_EMPTY_PATH: 0x40,
} as const

/** openat2(2)'s resolve field. */
export const RESOLVE = {
  RESOLVE_NO_XDEV: 0x01,
  RESOLVE_NO_MAGICLINKS: 0x02,
  RESOLVE_NO_SYMLINKS: 0x04,
  RESOLVE_BENEATH: 0x08,
  RESOLVE_IN_ROOT: 0x10,
  RESOLVE_CACHED: 0x20,
} as const

/** The *at calls' flags. */
export const AT = {
  AT_SYMLINK_NOFOLLOW: 0x100,
  AT_REMOVEDIR: 0x200,
  AT_SYMLINK_FOLLOW: 0x400,
  AT_NO_AUTOMOUNT: 0x800,
  AT_EMPTY_PATH: 0x1000,
  AT_STATX_DONT_SYNC: 0x4000,
  AT_RECURSIVE: 0x8000,
} as const

/** renameat2(2). */
export const RENAME = { RENAME_NOREPLACE: 1, RENAME_EXCHANGE: 2, RENAME_WHITEOUT: 4 } as const

/** getdents64's types; see {@link Dirent}. */
export const DT = {
  DT_UNKNOWN: 0,
  DT_FIFO: 1,
  DT_CHR: 2,
  DT_DIR: 4,
  DT_BLK: 6,
  DT_REG: 8,
  DT_LNK: 10,
  DT_SOCK: 12,
} as const

/** The type bits of st_mode; see inode(7). */
export const S = {
  S_IFMT: 0o170000,
  S_IFSOCK: 0o140000,
  S_IFLNK: 0o120000,
  S_IFREG: 0o100000,
  S_IFBLK: 0o060000,
  S_IFDIR: 0o040000,
  S_IFCHR: 0o020000,
  S_IFIFO: 0o010000,
} as const

/** capabilities(7). */
export const CAP = { CAP_SYS_RESOURCE: 24 } as const

/** setxattr(2). */
export const XATTR = { XATTR_CREATE: 1, XATTR_REPLACE: 2 } as const

/** statfs's flags that matter here. */
export const ST = { ST_RDONLY: 1, ST_NOSUID: 2, ST_NODEV: 4, ST_NOEXEC: 8, ST_NOATIME: 1024 } as const

/** The bits of FS_IOC_FSGETXATTR that matter here: what is made in a folder belongs to the folder's project. */
export const FS_XFLAG = { FS_XFLAG_PROJINHERIT: 0x200 } as const

/** Q_XGETQSTATV's, of projects: they are counted, and their limits are enforced. */
export const FS_QUOTA = { FS_QUOTA_PDQ_ACCT: 0x10, FS_QUOTA_PDQ_ENFD: 0x20 } as const

/** O_PATH, which node:fs does not export; the same on all architectures Node runs on. */
export const O_PATH = 0o10000000

/** listmount's name for the root of the caller's mount namespace. */
export const LSMT_ROOT = 0xffffffffffffffffn

const TABLES: Readonly<Record<string, Readonly<Record<string, number>>>> = {
  mount: MS,
  umount2: MNT,
  fsopen: FSOPEN,
  fsmount: MOUNT_ATTR,
  mount_setattr: MOUNT_ATTR,
  open_tree: { ...OPEN_TREE, AT_RECURSIVE: AT.AT_RECURSIVE, AT_EMPTY_PATH: AT.AT_EMPTY_PATH },
  move_mount: MOVE_MOUNT,
  statx: AT,
  unlinkat: AT,
  renameat2: RENAME,
}

/** The names of `word`'s bits as `syscall` has them; bits without a name as one hexadecimal number. */
export function flagNames(syscall: string, word: number): string[] {
  const names: string[] = []
  let rest = BigInt(word)
  for (const [name, bit] of Object.entries(TABLES[syscall] ?? {})) {
    if ((rest & BigInt(bit)) === 0n) continue
    names.push(name)
    rest &= ~BigInt(bit)
  }
  if (rest !== 0n) names.push(`0x${rest.toString(16)}`)
  return names
}
