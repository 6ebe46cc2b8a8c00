/** Where benchmarks work: memory where there is enough, so that the kernel and the CPU are measured, not a disk. */
import { execFileSync } from 'node:child_process'
import { existsSync, statfsSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { mountsBelow } from '../../../lib/driver-suite/leaks.ts'
import { type FileSystemKind, loopFileSystem, type LoopFileSystem } from '../../helpers/loopfs.ts'

const SHARED_MEMORY = '/dev/shm'
const TMPFS_MAGIC = 0x01021994
/** Room for a disk's image, a workload's archive and what daemons put beside. */
const ROOM = 12 * 2 ** 30

/** `BENCH_DIR`, else a tmpfs with room for everything, else the system's temporary folder. */
export const PLACE: string = process.env['BENCH_DIR'] ?? (hasRoom(SHARED_MEMORY) ? SHARED_MEMORY : tmpdir())

function hasRoom(dir: string): boolean {
  if (!existsSync(dir)) return false
  const { type, bavail, bsize } = statfsSync(dir)
  return type === TMPFS_MAGIC && bavail * bsize >= ROOM
}

/** Whether {@link PLACE} is memory: a number from a disk says something else. */
export function isInMemory(): boolean {
  return statfsSync(PLACE).type === TMPFS_MAGIC
}

/**
 * A fresh file system, ext4 with a journal by default. Never re-used: ext4 gives the inodes of the last minute's deletions out again only
 * after a long search, so 50,000 files written where as many were deleted take ten times as long.
 */
export function benchDisk(size: number, kind: FileSystemKind = 'ext4'): LoopFileSystem {
  return loopFileSystem(kind, size, PLACE)
}

/** Undoes the mounts that a contender leaves below `dir`: containers/storage binds its folder to itself. */
export function unmountBelow(dir: string): void {
  for (const path of mountsBelow(dir).reverse()) execFileSync('umount', [path])
}
