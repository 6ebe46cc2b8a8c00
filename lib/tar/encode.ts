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

const FLAGS: Readonly<Record<EntryType, string>> = {
  file: '0',
  hardlink: '1',
  symlink: '2',
  char: '3',
  block: '4',
  dir: '5',
  fifo: '6',
}

const EMPTY = new Uint8Array(0)

/** The header blocks of a member: an optional PAX header, then its own. @throws ERR_INVALID_ARGUMENT */
export function encodeHeader(member: TarMember, options: EncodeOptions = {}): Buffer {
  verify(member)
  const records = paxRecords(member, options)
  if (records.size === 0) return headerBlock(member, splitName(member.name))
  return Buffer.concat([paxMember(member.name, formatPax(records)), headerBlock(member, undefined)])
}

/** What Go and the formats cannot say. */
function verify(member: TarMember): void {
  const { name, type, linkname = EMPTY } = member
  if (name.includes(0) || linkname.includes(0)) throw refused(member, 'a name cannot contain a NUL')
  if (type !== 'dir' && type !== 'symlink' && type !== 'hardlink' && name.at(-1) === 0x2f) {
    throw refused(member, 'only the name of a directory may end in a slash')
  }
  if (type !== 'file' && member.size !== 0) throw refused(member, 'only a file has a body')
  if (!fitsOctal(member.devMajor ?? 0, 8) || !fitsOctal(member.devMinor ?? 0, 8)) {
    throw refused(member, 'the device number does not fit')
  }
}

function refused({ name }: TarMember, why: string): OverlaidError {
  return new OverlaidError('ERR_INVALID_ARGUMENT', `cannot write tar entry ${quoteName(name)}: ${why}`)
}

function paxRecords(member: TarMember, { nanoseconds = false }: EncodeOptions): Map<string, Uint8Array> {
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
function fitsOctal(value: number, width: number): boolean {
  return value >= 0 && value < 8 ** (width - 1)
}

function isASCII(bytes: Uint8Array): boolean {
  return bytes.every((byte) => byte < 0x80 && byte !== 0)
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
  putText(block, 0, 100, split?.rest ?? member.name)
  putOctal(block, 100, 8, member.mode)
  putOctal(block, 108, 8, member.uid)
  putOctal(block, 116, 8, member.gid)
  putOctal(block, 124, 12, member.size)
  putOctal(block, 136, 12, member.mtimeSec)
  block.write(FLAGS[member.type], 156, 'latin1')
  putText(block, 157, 100, member.linkname ?? EMPTY)
  putText(block, 265, 32, member.uname ?? EMPTY)
  putText(block, 297, 32, member.gname ?? EMPTY)
  putOctal(block, 329, 8, member.devMajor ?? 0)
  putOctal(block, 337, 8, member.devMinor ?? 0)
  putText(block, 345, 155, split?.prefix ?? EMPTY)
  return sealed(block)
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
  return Buffer.concat([sealed(block), body, Buffer.alloc(paddingOf(body.length))])
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

/** Magic, version and checksum: all other fields must be there. */
function sealed(block: Buffer): Buffer {
  block.write('ustar\x0000', 257, 'latin1')
  block.fill(' ', 148, 156)
  let sum = 0
  for (const byte of block) sum += byte
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1')
  return block
}

function putText(block: Buffer, at: number, width: number, text: Uint8Array): void {
  const ascii = isASCII(text) ? text : asciiOnly(text)
  // A cut name that happens to end in a slash would be a directory to some readers.
  const cut = ascii.length > width && ascii[width - 1] === 0x2f
  block.set(cut ? trimSlashes(ascii.subarray(0, width)) : ascii.subarray(0, width), at)
}

function putOctal(block: Buffer, at: number, width: number, value: number): void {
  const digits = fitsOctal(value, width) ? value.toString(8) : '0'
  block.write(digits.padStart(width - 1, '0'), at, 'latin1')
}
