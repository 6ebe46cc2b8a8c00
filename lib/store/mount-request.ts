/** What a caller asks of a mount, and whether a mount that is there already answers it. */
import type { MountOptions } from '../driver/driver.ts'
import { MOUNT_ATTR } from '../native/flags.ts'

/** Container.mount's and Images.mount's options together. */
export interface MountRequest extends MountOptions {
  readonly target?: string
  readonly detached?: boolean
  readonly pid?: number
  readonly persist?: boolean
}

/** Options that are the overlay's, the same for all its mounts. */
const OVERLAY_KEYS = ['volatile', 'redirectDir', 'metacopy', 'xino', 'userxattr', 'context'] as const
/** Options that each mount of an overlay has for itself. */
const MOUNT_KEYS = {
  readOnly: MOUNT_ATTR.MOUNT_ATTR_RDONLY,
  nosuid: MOUNT_ATTR.MOUNT_ATTR_NOSUID,
  nodev: MOUNT_ATTR.MOUNT_ATTR_NODEV,
  noexec: MOUNT_ATTR.MOUNT_ATTR_NOEXEC,
  noatime: MOUNT_ATTR.MOUNT_ATTR_NOATIME,
} as const

/** The mount options of a request, without its place. */
export function mountOptions(request: MountRequest): MountOptions {
  const keys = [...OVERLAY_KEYS, ...Object.keys(MOUNT_KEYS)] as (keyof MountOptions)[]
  const given = keys.filter((key) => request[key] !== undefined && request[key] !== false)
  return Object.fromEntries(given.map((key) => [key, request[key]]))
}

/** MOUNT_ATTR_* of the request. */
export function mountAttributes(options: MountOptions): number {
  let attributes = 0
  for (const [key, bit] of Object.entries(MOUNT_KEYS)) {
    if (options[key as keyof typeof MOUNT_KEYS] === true) attributes |= bit
  }
  return attributes
}

/**
 * Why a mount made with `existing` cannot be cloned for a request, in words; undefined when it can. What the overlay
 * itself was made with is fixed until the last mount of it is gone.
 */
export function cloneProblem(existing: MountOptions, request: MountRequest): string | undefined {
  for (const key of OVERLAY_KEYS) {
    if (request[key] !== undefined && request[key] !== (existing[key] ?? false)) return `another ${key}`
  }
  if (existing.readOnly === true && request.readOnly !== true) return 'readOnly'
  return undefined
}

/** Why a request cannot have the very same mount: as {@link cloneProblem}, and the mount's own options too. */
export function shareProblem(existing: MountOptions, request: MountRequest): string | undefined {
  const problem = cloneProblem(existing, request)
  if (problem !== undefined) return problem
  return mountAttributes(existing) === mountAttributes(request) ? undefined : 'other mount options'
}
