/** What the addon's calls on btrfs take and give: one ioctl each, whose name is the error's `syscall`. */

/** A subvolume's quota group as the last commit of the file system left it. Bytes; a limit that is not set is left out. */
export interface Qgroup {
  /** What the subvolume reaches, shared with others or not. */
  readonly referenced: bigint
  /** What goes when the subvolume does. */
  readonly exclusive: bigint
  readonly maxReferenced?: bigint
  readonly maxExclusive?: bigint
  /** The numbers are wrong until the next scan ends. */
  readonly inconsistent: boolean
}

export interface BtrfsCalls {
  /** BTRFS_IOC_SUBVOL_CREATE. The umask applies. */
  btrfsSubvolCreate(dirfd: number, name: string): Promise<void>
  /** BTRFS_IOC_SNAP_CREATE_V2 of the subvolume whose root is `fd`; EINVAL where it is not one's root. */
  btrfsSnapCreate(
    fd: number,
    dirfd: number,
    name: string,
    options: { readonly readOnly?: boolean },
  ): Promise<void>
  /** BTRFS_IOC_SNAP_DESTROY: ENOTEMPTY where there are subvolumes below it; see removeTree. */
  btrfsSnapDestroy(dirfd: number, name: string): Promise<void>
  /** BTRFS_IOC_QUOTA_CTL: counts from now on, and begins to count what is there. No error where quotas are on. */
  btrfsQuotaEnable(fd: number): Promise<void>
  /** BTRFS_IOC_QUOTA_RESCAN: begins to count anew, unless that is under way. */
  btrfsQuotaRescan(fd: number): Promise<void>
  /** BTRFS_IOC_QUOTA_RESCAN_WAIT: until all is counted. */
  btrfsQuotaRescanWait(fd: number): Promise<void>
  /** BTRFS_IOC_QGROUP_LIMIT of the subvolume that `fd` is in; without `exclusive` that limit is taken away. */
  btrfsQgroupLimit(fd: number, limit: { readonly exclusive?: number }): Promise<void>
  /** BTRFS_IOC_TREE_SEARCH for the group of the subvolume that `fd` is in; undefined where quotas are off. */
  btrfsQgroup(fd: number): Promise<Qgroup | undefined>
}
