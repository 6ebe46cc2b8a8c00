/**
 * The home of the btrfs driver, beside what all drivers of whole trees have (../tree/layout.ts); as moby's.
 *
 *     btrfs/
 *     ├── subvolumes/<id>/             a subvolume: a base layer's own, a snapshot of the parent's for all others
 *     └── quotas/<id>            0644  the size that a container is limited to, in bytes, no newline
 */
import { join } from 'node:path'

export const SUBVOLUMES_DIR = 'subvolumes'
export const QUOTAS_DIR = 'quotas'

/** Exact modes, whatever the umask. */
export const MODES = { quotas: 0o700, quota: 0o644 } as const

/** @param id is plain: see isPlainID */
export function quotaFile(home: string, id: string): string {
  return join(home, QUOTAS_DIR, id)
}
