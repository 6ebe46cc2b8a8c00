/** What the addon's functions of project quotas take and give; see native/quota.cc. */
import type { Bytes } from './calls.ts'

/** The project of a file or folder, with its FS_XFLAG_* bits. */
export interface FileProject {
  readonly xflags: number
  readonly projectID: number
}

/** A project's limit (0: none) and what it uses, in bytes on disk and in files. */
export interface ProjectQuota {
  readonly limit: number
  readonly used: number
  readonly inodes: number
}

/**
 * `fd` is anything that is open in the file system. Where {@link hasQuotactlFd} says no, its block device has to be
 * named as well; elsewhere `device` is not looked at.
 */
export interface QuotaCalls {
  /** Whether the kernel has quotactl_fd(2) (5.14). Synchronous. */
  hasQuotactlFd(): boolean
  /** FS_IOC_FSGETXATTR. Done at once, off the pool. */
  fsgetxattr(fd: number): Promise<FileProject>
  /** FS_IOC_FSSETXATTR; what else it could set stays. */
  fssetxattr(fd: number, xflags: number, projectID: number): Promise<void>
  /** Q_XGETQSTATV: FS_QUOTA_* bits; ENOSYS where nothing is counted. */
  quotactlState(fd: number, device: Bytes): Promise<number>
  /** Q_XGETQUOTA of a project; nothing but zeroes where there is no record of it. */
  quotactlGet(fd: number, device: Bytes, projectID: number): Promise<ProjectQuota>
  /** Q_XSETQLIM: so many bytes at most, 0 for any number. */
  quotactlSet(fd: number, device: Bytes, projectID: number, limit: number): Promise<void>
  /** The first project from `from` on to which no file belongs: a Q_XGETQUOTA for each. */
  quotactlFindFree(fd: number, device: Bytes, from: number): Promise<number>
}
