/** File systems by name. */
import { binding, type Bytes } from './binding.ts'

/** statfs(2)'s f_type; include/uapi/linux/magic.h and the file systems' own headers. */
const MAGICS: ReadonlyMap<number, string> = new Map([
  [0xadf5, 'adfs'],
  [0x5346414f, 'afs'],
  [0x61756673, 'aufs'],
  [0xca451a4e, 'bcachefs'],
  [0x9123683e, 'btrfs'],
  [0x00c36400, 'ceph'],
  [0xff534d42, 'cifs'],
  [0x28cd3d45, 'cramfs'],
  [0xf15f, 'ecryptfs'],
  [0xe0f5e1e2, 'erofs'],
  [0x2011bab0, 'exfat'],
  [0xef53, 'extfs'],
  [0xf2f52010, 'f2fs'],
  [0x65735546, 'fuse'],
  [0x01161970, 'gfs2'],
  [0x3153464a, 'jfs'],
  [0x4d44, 'msdos'],
  [0x6969, 'nfs'],
  [0x5346544e, 'ntfs'],
  [0x794c7630, 'overlayfs'],
  [0x9fa0, 'proc'],
  [0x858458f6, 'ramfs'],
  [0x52654973, 'reiserfs'],
  [0xfe534d42, 'smb2'],
  [0x73717368, 'squashfs'],
  [0x62656572, 'sysfs'],
  [0x01021994, 'tmpfs'],
  [0x24051905, 'ubifs'],
  [0x01021997, 'v9fs'],
  [0x786f4256, 'vboxsf'],
  [0x58465342, 'xfs'],
  [0x2fc12fc1, 'zfs'],
])

/** f_type of overlayfs. */
export const OVERLAYFS_MAGIC = 0x794c7630

/** f_type of btrfs. */
export const BTRFS_MAGIC = 0x9123683e

/** f_type of ZFS. */
export const ZFS_MAGIC = 0x2fc12fc1

/** The name of an f_type, as docker prints it (`extfs` for ext2, 3 and 4, which share one); else hexadecimal. */
export function fsTypeName(type: number): string {
  return MAGICS.get(type) ?? `0x${type.toString(16)}`
}

/** The name of the file system that holds `path`. */
export async function fsTypeOf(path: Bytes): Promise<string> {
  return fsTypeName((await binding.statfs(path)).type)
}
