/**
 * What the first block of a thin pool's metadata says: `struct thin_disk_superblock` of drivers/md/dm-thin-metadata.c,
 * little-endian. Its sum and all that it leads to the kernel checks.
 */
import { closeSync, constants, openSync, readSync } from 'node:fs'
import { OverlaidError } from '../../errors.ts'

const AT = { flags: 4, magic: 32, dataSpace: 64, metadataSpace: 192, blockSectors: 336, end: 340 } as const
const MAGIC = 27022010n
/** THIN_METADATA_NEEDS_CHECK_FLAG */
const NEEDS_CHECK = 1
/** THIN_METADATA_BLOCK_SIZE; bytes. */
const METADATA_BLOCK = 4096

export interface PoolLayout {
  /** The bytes that the pool knows of: its files may be longer, and the kernel would want to make use of that. */
  readonly metadataBytes: number
  readonly dataSectors: number
  readonly blockSectors: number
}

/** @throws ERR_DAMAGED where the file `path` is no metadata, or has to be repaired first */
export function readSuperblock(path: string): PoolLayout {
  const block = readStart(path)
  if (block.length < AT.end || block.readBigUInt64LE(AT.magic) !== MAGIC) {
    throw damaged(path, 'is not the metadata of a thin pool')
  }
  if ((block.readUInt32LE(AT.flags) & NEEDS_CHECK) !== 0) throw damaged(path, 'is marked as to be checked')
  const blockSectors = block.readUInt32LE(AT.blockSectors)
  // A space map's root begins with how many blocks there are.
  const dataSectors = Number(block.readBigUInt64LE(AT.dataSpace)) * blockSectors
  const metadataBytes = Number(block.readBigUInt64LE(AT.metadataSpace)) * METADATA_BLOCK
  if (![dataSectors, metadataBytes].every((size) => size > 0 && Number.isSafeInteger(size * 512))) {
    throw damaged(path, 'tells impossible sizes')
  }
  return { metadataBytes, dataSectors, blockSectors }
}

function readStart(path: string): Buffer {
  const fd = openSync(path, constants.O_RDONLY | constants.O_NOATIME)
  try {
    const block = Buffer.alloc(METADATA_BLOCK)
    return block.subarray(0, readSync(fd, block, 0, block.length, 0))
  } finally {
    closeSync(fd)
  }
}

function damaged(path: string, problem: string): OverlaidError {
  return new OverlaidError('ERR_DAMAGED', `${path} ${problem}`, { path, hint: REPAIR })
}

/** The programs are those of Debian's package thin-provisioning-tools. */
export const REPAIR: string =
  'keep a copy of the file, then: thin_check FILE says what is wrong, thin_repair -i COPY -o FILE mends it, and ' +
  'thin_check --clear-needs-check-flag FILE ends the mark when nothing is'
