/**
 * The 512-byte header block, read. All the layouts share the first 257 bytes; a magic number tells the rest:
 *
 *     0 name 100 · 100 mode 8 · 108 uid 8 · 116 gid 8 · 124 size 12 · 136 mtime 12 · 148 checksum 8
 *     156 type 1 · 157 linkname 100 · 257 magic 6 · 263 version 2 · 265 uname 32 · 297 gname 32
 *     329 devmajor 8 · 337 devminor 8
 *     345 prefix 155                                               ustar, and the base of PAX
 *     345 prefix 131 · 476 atime 12 · 488 ctime 12 · 508 "tar\0"   star
 *     345 atime 12 · 357 ctime 12 · 386 sparse 4×24 · 482 more 1 · 483 realsize 12   GNU, "ustar  \0"
 *
 * Where writers were careless this reads what Go's archive/tar reads, as dockerd reads the same archives with it.
 */
import { TarSyntaxError } from './syntax.ts'

export const BLOCK = 512

/** Bytes from `size` to the next block's edge. */
export function paddingOf(size: number): number {
  return (BLOCK - (size % BLOCK)) % BLOCK
}

/** A header block's fields, before extensions are applied. Buffers are views of the block. */
export interface BlockHeader {
  readonly format: 'v7' | 'ustar' | 'star' | 'gnu'
  /** The type flag's character; `\0` is a regular file of old. */
  readonly flag: string
  readonly name: Buffer
  readonly linkname: Buffer
  readonly mode: number
  readonly uid: number
  readonly gid: number
  readonly size: number
  readonly mtime: number
  readonly devMajor: number
  readonly devMinor: number
}

/** Whether a block is all NULs: two of them end an archive. */
export function isZeroBlock(block: Buffer): boolean {
  // The name's first byte tells almost always.
  return block[0] === 0 && block.equals(ZEROS)
}

const ZEROS = Buffer.alloc(BLOCK)
const EMPTY = Buffer.alloc(0)

/** Reads a header block. @throws TarSyntaxError */
export function parseHeader(block: Buffer): BlockHeader {
  verifyChecksum(block)
  const format = formatOf(block)
  const name = text(block, 0, 100)
  const common = {
    format,
    flag: String.fromCharCode(block[156] ?? 0),
    linkname: text(block, 157, 100),
    mode: number(block, 100, 8, 'mode'),
    uid: number(block, 108, 8, 'uid'),
    gid: number(block, 116, 8, 'gid'),
    size: number(block, 124, 12, 'size'),
    mtime: number(block, 136, 12, 'mtime'),
  }
  if (format === 'v7') return { ...common, name, devMajor: 0, devMinor: 0 }
  const prefix = prefixOf(block, format)
  return {
    ...common,
    name: prefix.length === 0 ? name : Buffer.concat([prefix, SLASH, name]),
    devMajor: number(block, 329, 8, 'devmajor'),
    devMinor: number(block, 337, 8, 'devminor'),
  }
}

const SLASH = Buffer.from('/')

/** POSIX sums unsigned bytes, with the sum's own field as spaces; old Sun tar summed signed ones. */
function verifyChecksum(block: Buffer): void {
  const field = sumOf(block, 148, 156)
  const unsigned = sumOfAll(block) - field + 8 * 0x20
  const stated = statedChecksum(block)
  if (stated === unsigned) return
  let high = 0
  for (let i = 0; i < BLOCK; i++) if (i < 148 || i >= 156) high += (block[i] as number) >> 7
  if (stated === unsigned - 256 * high) return
  throw new TarSyntaxError(
    `not a tar header: its checksum is ${String(stated)}, its bytes sum to ${String(unsigned)}`,
  )
}

function sumOf(block: Buffer, start: number, end: number): number {
  let sum = 0
  for (let i = start; i < end; i++) sum += block[i] as number
  return sum
}

/** Four bytes at a time, in two pairs of 16 bits: twice as fast, and half of what reading a header costs. */
function sumOfAll(block: Buffer): number {
  if (block.byteOffset % 4 !== 0) return sumOf(block, 0, BLOCK)
  const words = new Uint32Array(block.buffer, block.byteOffset, BLOCK / 4)
  let even = 0
  let odd = 0
  for (let i = 0; i < BLOCK / 4; i++) {
    const word = words[i] as number
    even += word & 0xff00ff
    odd += (word >>> 8) & 0xff00ff
  }
  return (even & 0xffff) + (even >>> 16) + (odd & 0xffff) + (odd >>> 16)
}

/** What is no number there is no tar at all, and should be told so. */
function statedChecksum(block: Buffer): number {
  try {
    return octal(block, 148, 8, 'checksum')
  } catch (error) {
    throw error instanceof TarSyntaxError ? new TarSyntaxError('not a tar header') : error
  }
}

function formatOf(block: Buffer): BlockHeader['format'] {
  const magic = block.toString('latin1', 257, 265)
  if (magic.startsWith('ustar\0')) return block.toString('latin1', 508, 512) === 'tar\0' ? 'star' : 'ustar'
  return magic === 'ustar  \0' ? 'gnu' : 'v7'
}

function prefixOf(block: Buffer, format: BlockHeader['format']): Buffer {
  if (format === 'ustar') return text(block, 345, 155)
  if (format === 'star') return text(block, 345, 131)
  return isOldGoPrefix(block) ? text(block, 345, 155) : EMPTY
}

/**
 * Go before 1.8 wrote a prefix into GNU headers, where atime and ctime are (golang.org/issue/12594): times that
 * do not parse, in bytes that read as ASCII, are such a prefix. Early Docker layers have them.
 */
function isOldGoPrefix(block: Buffer): boolean {
  try {
    if (block[345] !== 0) number(block, 345, 12, 'atime')
    if (block[357] !== 0) number(block, 357, 12, 'ctime')
    return false
  } catch (error) {
    if (!(error instanceof TarSyntaxError)) throw error
    return text(block, 345, 155).every((byte) => byte < 0x80)
  }
}

/** The bytes up to the first NUL. */
export function text(block: Buffer, offset: number, length: number): Buffer {
  if (block[offset] === 0) return EMPTY
  const limit = offset + length
  const end = block.indexOf(0, offset)
  return block.subarray(offset, end < 0 || end > limit ? limit : end)
}

/** A numeric field: octal digits, or base-256 when the first bit is set (GNU, for what octal cannot hold). */
export function number(block: Buffer, offset: number, length: number, field: string): number {
  return ((block[offset] ?? 0) & 0x80) === 0
    ? octal(block, offset, length, field)
    : base256(block.subarray(offset, offset + length), field)
}

/** Two's complement, big-endian, its first bit spent on the mark; the second is the sign. */
function base256(bytes: Buffer, field: string): number {
  const negative = ((bytes[0] ?? 0) & 0x40) !== 0
  const invert = negative ? 0xff : 0
  let value = 0
  for (let i = 0; i < bytes.length; i++) {
    const byte = (bytes[i] as number) ^ invert
    value = value * 256 + (i === 0 ? byte & 0x7f : byte)
  }
  if (!Number.isSafeInteger(value)) throw new TarSyntaxError(`the ${field} field's number is too large`)
  return negative ? -value - 1 : value
}

/** Writers pad with spaces or NULs on either side; an empty field is 0. */
function octal(block: Buffer, offset: number, length: number, field: string): number {
  let start = offset
  let end = offset + length
  while (start < end && isPad(block[start])) start++
  while (end > start && isPad(block[end - 1])) end--
  let value = 0
  for (let i = start; i < end; i++) {
    const byte = block[i] as number
    if (byte === 0) break
    if (byte < 0x30 || byte > 0x37) throw new TarSyntaxError(`the ${field} field is not a number`)
    value = value * 8 + (byte - 0x30)
  }
  return value
}

function isPad(byte: number | undefined): boolean {
  return byte === 0x20 || byte === 0
}
