/** Writing into a layer until its limit says no. */
import { randomBytes } from 'node:crypto'
import { closeSync, openSync, writeSync } from 'node:fs'
import { MIB } from './sizes.ts'

/** Writes what no file system compresses, until it is refused; how many bytes got through, and why no more did. */
export function fill(path: string): { readonly written: number; readonly errno: number } {
  const chunk = randomBytes(MIB / 4)
  const fd = openSync(path, 'w')
  let written = 0
  try {
    for (;;) written += writeSync(fd, chunk)
  } catch (error) {
    return { written, errno: -((error as { errno?: number }).errno ?? 0) }
  } finally {
    closeSync(fd)
  }
}

/** XFS says ENOSPC of a project; libuv has no name for EDQUOT. */
export const FULL = { 'ext4-quota': 122, 'xfs-quota': 28 } as const
