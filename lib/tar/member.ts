/** A member's header put together from its block, its PAX records and GNU's long names. Pure. */
import type { EntryType, TarHeader } from './entry.ts'
import type { BlockHeader } from './header.ts'
import { parseDecimal, parsePaxTime, type PaxRecords } from './pax.ts'
import { paxSparseKind } from './sparse.ts'
import { TarSyntaxError } from './syntax.ts'
import { xattrsOf } from './xattr.ts'

/** What came before a header block and belongs to it. */
export interface Extensions {
  pax?: PaxRecords
  longName?: Buffer
  longLink?: Buffer
}

export const NO_RECORDS: PaxRecords = new Map()

/** PATH_MAX without its NUL: no system call takes more. */
const MAX_NAME = 4095
/** uid_t and gid_t have 32 bits, the last value means "leave it". */
const MAX_ID = 0xffff_fffe
/** dev_t's halves have 32 bits in the formats; what the kernel takes is for whoever makes the node to check. */
const MAX_DEV = 0xffff_ffff

const TYPES: Readonly<Record<string, EntryType>> = {
  '0': 'file',
  '1': 'hardlink',
  '2': 'symlink',
  '3': 'char',
  '4': 'block',
  '5': 'dir',
  '6': 'fifo',
  // Contiguous files: POSIX has readers that know no such thing treat them as files.
  '7': 'file',
  S: 'file',
}

/** The member's header; `size` is still that of everything that follows the header. @throws TarSyntaxError */
export function mergeHeader(
  block: BlockHeader,
  { pax = NO_RECORDS, longName, longLink }: Extensions,
): TarHeader {
  const name = longName ?? sparseName(pax) ?? nonEmpty(pax, 'path') ?? block.name
  const type = typeOf(block, name)
  const hasBody = type === 'file'
  const linkname = longLink ?? nonEmpty(pax, 'linkpath') ?? block.linkname
  const size = decimalOf(pax, 'size', Number.MAX_SAFE_INTEGER) ?? block.size
  const mtime = nonEmpty(pax, 'mtime')
  const time = mtime === undefined ? { sec: block.mtime, nsec: 0 } : parsePaxTime(mtime)
  if (hasBody && size < 0) throw new TarSyntaxError('the size is negative')
  return {
    // Copies: views would keep whole chunks of the archive alive.
    name: copyName(name, 'name'),
    type,
    mode: block.mode & 0o7777,
    uid: inRange(decimalOf(pax, 'uid', MAX_ID) ?? block.uid, MAX_ID, 'uid'),
    gid: inRange(decimalOf(pax, 'gid', MAX_ID) ?? block.gid, MAX_ID, 'gid'),
    size: hasBody ? size : 0,
    mtimeSec: time.sec,
    mtimeNsec: time.nsec,
    linkname: type === 'symlink' || type === 'hardlink' ? copyName(linkname, 'link target') : EMPTY,
    devMajor: inRange(block.devMajor, MAX_DEV, 'device number'),
    devMinor: inRange(block.devMinor, MAX_DEV, 'device number'),
    xattrs: xattrsOf(pax),
  }
}

/** In the sparse formats 0.1 and 1.0 the header's own name is one made up for tars that do not know them. */
function sparseName(pax: PaxRecords): Buffer | undefined {
  if (pax.size === 0) return undefined
  return paxSparseKind(pax) === undefined ? undefined : nonEmpty(pax, 'GNU.sparse.name')
}

/** Archives of old mark a folder by nothing but the slash after its name. */
function typeOf({ flag }: BlockHeader, name: Buffer): EntryType {
  if (flag === '\0') return name.at(-1) === 0x2f ? 'dir' : 'file'
  const type = TYPES[flag]
  if (type === undefined)
    throw new TarSyntaxError(`members of type ${JSON.stringify(flag)} are not supported`)
  return type
}

const EMPTY = Buffer.alloc(0)

function copy(bytes: Buffer): Buffer {
  return bytes.length === 0 ? EMPTY : Buffer.from(bytes)
}

function copyName(bytes: Buffer, what: string): Buffer {
  if (bytes.length > MAX_NAME) throw new TarSyntaxError(`the ${what} has more than ${String(MAX_NAME)} bytes`)
  return copy(bytes)
}

function nonEmpty(pax: PaxRecords, key: string): Buffer | undefined {
  if (pax.size === 0) return undefined
  const value = pax.get(key)
  return value === undefined || value.length === 0 ? undefined : value
}

function decimalOf(pax: PaxRecords, key: string, max: number): number | undefined {
  const value = nonEmpty(pax, key)
  if (value === undefined) return undefined
  const parsed = parseDecimal(value)
  if (Number.isNaN(parsed)) throw new TarSyntaxError(`the PAX ${key} is not a number that fits`)
  return inRange(parsed, max, key)
}

function inRange(value: number, max: number, what: string): number {
  if (value < 0 || value > max) throw new TarSyntaxError(`the ${what} ${String(value)} is out of range`)
  return value
}
