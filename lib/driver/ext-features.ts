/**
 * Whether an ext2, 3 or 4 gives the entries it makes their types, by its superblock. What entries tell is about the time
 * when their folder was written: after `tune2fs -O filetype` the old ones have none until `e2fsck -fD`.
 */
import { closeSync, constants, openSync, readSync, statSync } from 'node:fs'
import { hasCode } from '../errors.ts'

/** Documentation/filesystems/ext4/super.rst */
const SUPERBLOCK = { at: 1024, magic: 0x38, incompatible: 0x60, length: 0x64 } as const
const EXT_MAGIC = 0xef53
/** EXT4_FEATURE_INCOMPAT_FILETYPE */
const FILETYPE = 0x2

/** Undefined where that cannot be read: the device is not in this /dev, is another one's, or nothing of ext's. */
export function hasFiletypeFeature(dir: string, device: string): boolean | undefined {
  const bytes = Buffer.alloc(SUPERBLOCK.length)
  try {
    // In a container the name may be another device's.
    if (statSync(device).rdev !== statSync(dir).dev) return undefined
    if (readAt(device, bytes, SUPERBLOCK.at) < bytes.length) return undefined
  } catch (error) {
    if (hasCode(error, 'ENOENT', 'ENOTDIR', 'EACCES', 'EPERM', 'ENXIO')) return undefined
    throw error
  }
  if (bytes.readUInt16LE(SUPERBLOCK.magic) !== EXT_MAGIC) return undefined
  return (bytes.readUInt32LE(SUPERBLOCK.incompatible) & FILETYPE) !== 0
}

function readAt(device: string, bytes: Buffer, position: number): number {
  const fd = openSync(device, constants.O_RDONLY)
  try {
    return readSync(fd, bytes, 0, bytes.length, position)
  } finally {
    closeSync(fd)
  }
}
