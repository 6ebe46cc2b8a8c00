/**
 * File systems that cannot have an upper directory of overlayfs, by the magic number of statfs(2), with why not. A trial
 * decides (overlay2/probe.ts); this says in words what its errno does not. The stacked ones alone are refused
 * unseen: they pass some kernels' checks and lose files later.
 */

interface Kind {
  /** Continues the file system's name. */
  readonly why: string
  readonly remedy: string
  /** Refused without a trial. */
  readonly isCertain?: true
}

const KINDS = {
  overlay: {
    why: 'cannot carry the upper directory of another overlay: so it is in most containers',
    remedy: 'inside a container, put the data root on a volume or a tmpfs: docker run -v NAME:DIR',
    isCertain: true,
  },
  stacked: {
    why: 'shows the files of another file system, and overlayfs on top of it loses whiteouts',
    remedy: 'put the data root on the file system below it, or on ext4, xfs or btrfs',
    isCertain: true,
  },
  network: {
    why: 'is a network file system: it keeps neither whiteouts nor trusted.* attributes, and others may change it unseen',
    remedy:
      'put the data root on a local disk; or on a disk in a file of the share: truncate -s 20G FILE && mkfs.ext4 FILE && mount -o loop FILE DIR',
  },
  cluster: {
    why: 'is shared by several machines: it keeps no whiteouts (RENAME_WHITEOUT), and others may change it unseen',
    remedy: 'put the data root on a disk of this machine alone: ext4, xfs or btrfs',
  },
  passed: {
    why: 'passes files through from a program or the host, which keeps no whiteouts or no trusted.* attributes',
    remedy:
      'put the data root on a disk of this machine; or on one in a file: truncate -s 20G FILE && mkfs.ext4 FILE && mount -o loop FILE DIR',
  },
  foreign: {
    why: 'knows no Unix owners, modes, symlinks or devices, which every root file system has',
    remedy: 'put the data root on ext4, xfs or btrfs',
  },
  readOnly: {
    why: 'can only be read, never written',
    remedy: 'put the data root on another file system: ext4, xfs or btrfs',
  },
  memory: {
    why: 'keeps no trusted.* attributes',
    remedy: 'use a tmpfs, which does: mount -t tmpfs tmpfs DIR',
  },
  zfs: {
    why: 'keeps no whiteouts (RENAME_WHITEOUT) before OpenZFS 2.2',
    remedy:
      'upgrade OpenZFS, use the driver zfs, or put the data root on ext4, xfs or btrfs (a zvol takes them)',
  },
} as const satisfies Record<string, Kind>

/** include/uapi/linux/magic.h, statfs(2), and the file systems' own headers. */
const UNFIT: ReadonlyMap<number, readonly [label: string, kind: keyof typeof KINDS]> = new Map([
  [0x794c7630, ['overlayfs', 'overlay']],
  [0x61756673, ['aufs', 'stacked']],
  [0xf15f, ['eCryptfs', 'stacked']],
  [0x6969, ['NFS', 'network']],
  [0x517b, ['SMB (smbfs)', 'network']],
  [0xff534d42, ['SMB (cifs)', 'network']],
  [0xfe534d42, ['SMB (smb2, smb3)', 'network']],
  [0x5346414f, ['AFS', 'network']],
  [0x6b414653, ['AFS (kafs)', 'network']],
  [0x00c36400, ['CephFS', 'cluster']],
  [0x0bd00bd0, ['Lustre', 'cluster']],
  [0x47504653, ['GPFS', 'cluster']],
  [0x7461636f, ['OCFS2', 'cluster']],
  [0x01161970, ['GFS2', 'cluster']],
  [0x65735546, ['FUSE', 'passed']],
  [0x01021997, ['9p', 'passed']],
  [0x786f4256, ['vboxsf', 'passed']],
  [0x4d44, ['FAT', 'foreign']],
  [0x2011bab0, ['exFAT', 'foreign']],
  [0x5346544e, ['NTFS', 'foreign']],
  [0x7366746e, ['NTFS (ntfs3)', 'foreign']],
  [0x73717368, ['squashfs', 'readOnly']],
  [0xe0f5e1e2, ['EROFS', 'readOnly']],
  [0x28cd3d45, ['cramfs', 'readOnly']],
  [0x9660, ['ISO 9660', 'readOnly']],
  [0x858458f6, ['ramfs', 'memory']],
  [0x2fc12fc1, ['ZFS', 'zfs']],
])

/** Why a file system cannot have an upper directory. */
export interface Unfit {
  /** A clause that begins with the file system's name. */
  readonly why: string
  readonly remedy: string
  readonly isCertain: boolean
  readonly isReadOnly: boolean
}

/** What is known against the file system of this magic number; undefined where nothing is. */
export function knownUnfit(magic: number): Unfit | undefined {
  const [label, name] = UNFIT.get(magic) ?? []
  if (label === undefined || name === undefined) return undefined
  const kind: Kind = KINDS[name]
  return {
    why: `${label} ${kind.why}`,
    remedy: kind.remedy,
    isCertain: kind.isCertain === true,
    isReadOnly: name === 'readOnly',
  }
}
