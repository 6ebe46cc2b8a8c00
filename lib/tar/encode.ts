/**
 * Header blocks, written as Go's archive/tar writes them for docker (Header.Format = PAX): plain ustar where it
 * fits, a PAX header before it for what does not. A layer that docker and overlaid make of the same files is the
 * same bytes, and so the same diffID.
 *
 * @see https://go.dev/src/archive/tar/writer.go
 */
import { OverlaidError } from '../errors.ts'
import type { EntryType } from './entry.ts'
import { BLOCK, paddingOf } from './header.ts'
import { formatPax, formatPaxTime } from './pax.ts'
import { quoteName } from './syntax.ts'
import { SCHILY } from './xattr.ts'

/** A member to write. `name` is written as given: a directory's ends in a slash, as all tars have it. */
export interface TarMember {
  readonly name: Uint8Array
  readonly type: EntryType
  readonly mode: number
  readonly uid: number
  readonly gid: number
  /** Bytes of the body; 0 of everything but files. */
  readonly size: number
  readonly mtimeSec: number
  /** Written only with {@link EncodeOptions.nanoseconds}. */
  readonly mtimeNsec?: number
  readonly linkname?: Uint8Array
  readonly devMajor?: number
  readonly devMinor?: number
  readonly uname?: Uint8Array
  readonly gname?: Uint8Array
  readonly xattrs?: ReadonlyMap<string, Uint8Array>
}

export interface EncodeOptions {
  /**
   * Keeps the parts of a second, at the price of a PAX header for almost every member. Off by default: docker and
   * containerd cut times to whole seconds, and a diff should be the layer that they would have made.
   */
  readonly nanoseconds?: boolean
}

const FLAGS: Readonly<Record<EntryType, number>> = {
  file: 0x30,
  hardlink: 0x31,
  symlink: 0x32,
  char: 0x33,
  block: 0x34,
  dir: 0x35,
  fifo: 0x36,
}

const EMPTY = new Uint8Array(0)

/** The header blocks of a member: an optional PAX header, then its own. @throws ERR_INVALID_ARGUMENT */
export function encodeHeader(member: TarMember, options: EncodeOptions = {}): Buffer {
  verify(member)
  const records = paxRecords(member, options)
  if (records === undefined) return headerBlock(member, splitName(member.name))
  return Buffer.concat([paxMember(member.name, formatPax(records)), headerBlock(member, undefined)])
}

/**
 * Writes the header block at `at`, where there are NULs, if the member needs no PAX header; if it does, gives false
 * and writes nothing.
 * @throws ERR_INVALID_ARGUMENT
 */
export function putPlainHeader(member: TarMember, options: EncodeOptions, out: Buffer, at: number): boolean {
  verify(member)
  if (paxRecords(member, options) !== undefined) return false
  putBlock(out, at, member, splitName(member.name))
  return true
}

/** What Go and the formats cannot say. */
function verify(member: TarMember): void {
  const { name, type, linkname = EMPTY } = member
  if (hasNUL(name) || hasNUL(linkname)) throw refused(member, 'a name cannot contain a NUL')
  if (type !== 'dir' && type !== 'symlink' && type !== 'hardlink' && name.at(-1) === 0x2f) {
    throw refused(member, 'only the name of a directory may end in a slash')
  }
  if (type !== 'file' && member.size !== 0) throw refused(member, 'only a file has a body')
  if (!fitsOctal(member.devMajor ?? 0, 8) || !fitsOctal(member.devMinor ?? 0, 8)) {
    throw refused(member, 'the device number does not fit')
  }
}

/** Not Buffer's includes(), a call out of JavaScript that costs more than the loop. */
function hasNUL(bytes: Uint8Array): boolean {
  for (let i = 0; i < bytes.length; i++) if (bytes[i] === 0) return true
  return false
}

function refused({ name }: TarMember, why: string): OverlaidError {
  return new OverlaidError('ERR_INVALID_ARGUMENT', `cannot write tar entry ${quoteName(name)}: ${why}`)
}

/** Undefined where the header block says it all. */
function paxRecords(member: TarMember, options: EncodeOptions): ReadonlyMap<string, Uint8Array> | undefined {
  if (isPlain(member, options)) return undefined
  const records = listRecords(member, options)
  return records.size === 0 ? undefined : records
}

/** What nearly all members are, found without making anything. */
function isPlain(member: TarMember, { nanoseconds = false }: EncodeOptions): boolean {
  const { name, linkname = EMPTY, uname, gname, xattrs, mtimeSec, mtimeNsec = 0 } = member
  return (
    name.length <= 100 &&
    linkname.length <= 100 &&
    isASCII(name) &&
    isASCII(linkname) &&
    uname === undefined &&
    gname === undefined &&
    (xattrs === undefined || xattrs.size === 0) &&
    fitsOctal(member.uid, 8) &&
    fitsOctal(member.gid, 8) &&
    fitsOctal(member.size, 12) &&
    fitsOctal(mtimeSec, 12) &&
    (!nanoseconds || mtimeNsec === 0)
  )
}

function listRecords(member: TarMember, { nanoseconds = false }: EncodeOptions): Map<string, Uint8Array> {
  const records = new Map<string, Uint8Array>()
  const { name, linkname = EMPTY, uname = EMPTY, gname = EMPTY, mtimeSec, mtimeNsec = 0 } = member
  if ((!isASCII(name) || name.length > 100) && splitName(name) === undefined) records.set('path', name)
  if (!isASCII(linkname) || linkname.length > 100) records.set('linkpath', linkname)
  if (!isASCII(uname) || uname.length > 32) records.set('uname', uname)
  if (!isASCII(gname) || gname.length > 32) records.set('gname', gname)
  for (const [key, width] of [
    ['uid', 8],
    ['gid', 8],
    ['size', 12],
  ] as const) {
    if (!fitsOctal(member[key], width)) records.set(key, Buffer.from(String(member[key])))
  }
  const nsec = nanoseconds ? mtimeNsec : 0
  if (!fitsOctal(mtimeSec, 12) || nsec !== 0) {
    records.set('mtime', Buffer.from(formatPaxTime({ sec: mtimeSec, nsec })))
  }
  for (const [key, value] of member.xattrs ?? []) records.set(SCHILY + key, value)
  // PAX replaces the whole path: Go does not split a name in a header that has records.
  if (records.size > 0 && name.length > 100) records.set('path', name)
  return records
}

/** Whether a field of `width` bytes holds it in octal with its NUL. */
function fitsOctal(value: number, width: 8 | 12): boolean {
  return value >= 0 && value < (width === 8 ? 0o10000000 : 0o100000000000)
}

function isASCII(bytes: Uint8Array): boolean {
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i] as number
    if (byte >= 0x80 || byte === 0) return false
  }
  return true
}

/** The longest prefix that leaves a name both ustar fields hold; undefined where the name fits whole or not at all. */
function splitName(name: Uint8Array): { prefix: Uint8Array; rest: Uint8Array } | undefined {
  if (name.length <= 100 || !isASCII(name)) return undefined
  const end = name.length > 156 ? 156 : name.length - (name.at(-1) === 0x2f ? 1 : 0)
  const slash = name.subarray(0, end).lastIndexOf(0x2f)
  const restLength = name.length - slash - 1
  if (slash <= 0 || restLength > 100 || restLength === 0 || slash > 155) return undefined
  return { prefix: name.subarray(0, slash), rest: name.subarray(slash + 1) }
}

/** The member's own block. With a PAX header before it, what does not fit is zero or cut, for readers that know none. */
function headerBlock(member: TarMember, split: { prefix: Uint8Array; rest: Uint8Array } | undefined): Buffer {
  const block = Buffer.alloc(BLOCK)
  putBlock(block, 0, member, split)
  return block
}

/** Fills in the block at `at`, which is NULs before. */
function putBlock(
  out: Buffer,
  at: number,
  member: TarMember,
  split: { prefix: Uint8Array; rest: Uint8Array } | undefined,
): void {
  putText(out, at, 100, split?.rest ?? member.name)
  putOctal(out, at + 100, 8, member.mode)
  putOctal(out, at + 108, 8, member.uid)
  putOctal(out, at + 116, 8, member.gid)
  putOctal(out, at + 124, 12, member.size)
  putOctal(out, at + 136, 12, member.mtimeSec)
  out[at + 156] = FLAGS[member.type]
  putText(out, at + 157, 100, member.linkname ?? EMPTY)
  putText(out, at + 265, 32, member.uname ?? EMPTY)
  putText(out, at + 297, 32, member.gname ?? EMPTY)
  putOctal(out, at + 329, 8, member.devMajor ?? 0)
  putOctal(out, at + 337, 8, member.devMinor ?? 0)
  putText(out, at + 345, 155, split?.prefix ?? EMPTY)
  seal(out, at)
}

/** The member that carries PAX records, named `<dir>/PaxHeaders.0/<base>` like Go's. */
function paxMember(name: Uint8Array, body: Buffer): Buffer {
  const block = Buffer.alloc(BLOCK)
  const path = trimSlashes(asciiOnly(paxName(name)).subarray(0, 100))
  putText(block, 0, 100, path)
  for (const [at, width, value] of [
    [100, 8, 0],
    [108, 8, 0],
    [116, 8, 0],
    [124, 12, body.length],
    [136, 12, 0],
  ] as const) {
    putOctal(block, at, width, value)
  }
  block.write('x', 156, 'latin1')
  seal(block, 0)
  return Buffer.concat([block, body, Buffer.alloc(paddingOf(body.length))])
}

/** path.Join(dir, "PaxHeaders.0", base) of the name's last slash, cleaned as Go cleans it. */
function paxName(name: Uint8Array): Buffer {
  const slash = name.lastIndexOf(0x2f)
  const parts = [
    ...Buffer.from(name)
      .subarray(0, slash + 1)
      .toString('latin1')
      .split('/'),
    'PaxHeaders.0',
  ]
  parts.push(
    Buffer.from(name)
      .subarray(slash + 1)
      .toString('latin1'),
  )
  const cleaned: string[] = []
  for (const part of parts) {
    if (part === '..' && cleaned.length > 0 && cleaned.at(-1) !== '..') cleaned.pop()
    else if (part !== '' && part !== '.' && !(part === '..' && name[0] === 0x2f)) cleaned.push(part)
  }
  return Buffer.from((name[0] === 0x2f ? '/' : '') + cleaned.join('/'), 'latin1')
}

function asciiOnly(bytes: Uint8Array): Uint8Array {
  return bytes.filter((byte) => byte < 0x80 && byte !== 0)
}

function trimSlashes(bytes: Uint8Array): Uint8Array {
  let end = bytes.length
  while (end > 0 && bytes[end - 1] === 0x2f) end--
  return bytes.subarray(0, end)
}

const MAGIC = Buffer.from('ustar\x0000', 'latin1')
const CHECKSUM_AT = 148
const MAGIC_AT = 257
/** Bytes of text fields, long and mostly NUL: where they begin and the longest. */
const TEXTS = [
  [0, 100],
  [157, 100],
  [345, 155],
] as const
/** What is between them: modes and numbers, magic, and the names of users, where there are any. */
const NUMBERS = [
  [100, 157],
  [MAGIC_AT, 345],
] as const

/** Magic, version and checksum: all other fields must be there. */
function seal(out: Buffer, at: number): void {
  out.set(MAGIC, at + MAGIC_AT)
  for (let i = at + CHECKSUM_AT; i < at + CHECKSUM_AT + 8; i++) out[i] = 0x20
  putDigits(out, at + CHECKSUM_AT, 6, sumOf(out, at))
  out[at + CHECKSUM_AT + 6] = 0
}

/** The sum of the block's bytes: of a text only up to its first NUL, which is half the time of a header. */
function sumOf(out: Buffer, at: number): number {
  let sum = 0
  for (const [start, end] of NUMBERS) {
    for (let i = at + start; i < at + end; i++) sum += out[i] as number
  }
  for (const [start, length] of TEXTS) {
    for (let i = at + start; i < at + start + length && out[i] !== 0; i++) sum += out[i] as number
  }
  return sum
}

function putText(out: Buffer, at: number, width: number, text: Uint8Array): void {
  if (text.length === 0) return
  const ascii = isASCII(text) ? text : asciiOnly(text)
  // A cut name that happens to end in a slash would be a directory to some readers.
  const cut = ascii.length > width && ascii[width - 1] === 0x2f
  const kept = cut
    ? trimSlashes(ascii.subarray(0, width))
    : ascii.length > width
      ? ascii.subarray(0, width)
      : ascii
  out.set(kept, at)
}

/** A number that does not fit is 0. The last byte is left NUL. */
function putOctal(out: Buffer, at: number, width: 8 | 12, value: number): void {
  putDigits(out, at, width - 1, fitsOctal(value, width) ? value : 0)
}

function putDigits(out: Buffer, at: number, digits: number, value: number): void {
  let left = value
  for (let i = at + digits - 1; i >= at; i--) {
    const rest = Math.floor(left / 8)
    out[i] = 0x30 + (left - rest * 8)
    left = rest
  }
}
