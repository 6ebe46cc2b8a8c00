/**
 * Writes operations of fileops as the bytes that the addon reads (native/fileops.h has the layout): hundreds of them
 * go over in one call, without an object each.
 */
import { endianness } from 'node:os'
import type { Bytes } from './binding.ts'
import { AT, MEMBER_WORDS, type PlainRun } from '../tar/plain-run.ts'
import type { FileOp, OpMeta } from './file-op.ts'

const LITTLE = endianness() === 'LE'

const KINDS = {
  file: 0,
  dir: 1,
  symlink: 2,
  node: 3,
  link: 4,
  meta: 5,
  remove: 6,
  rename: 7,
  create: 8,
  write: 9,
} as const

const HAS_MODE = 1
const HAS_UID = 2
const HAS_GID = 4
const HAS_MTIME = 8
const RECURSIVE = 16
const MISSING_OK = 32

/** What the archive says of a file: all but attributes. */
const RUN_FILE = HAS_MODE | HAS_UID | HAS_GID | HAS_MTIME

const FIXED_BYTES = 64
const PIECE_BYTES = 12
const FIRST_CAPACITY = 64 * 1024

/** Part of a buffer, from `start` to `end`. */
export interface Piece {
  readonly buffer: Uint8Array
  readonly start: number
  readonly end: number
}

type OpName = keyof typeof KINDS
type AnyMeta = { readonly [Key in keyof OpMeta]?: OpMeta[Key] | undefined }

/** Everything that an operation can have. */
interface Parts {
  readonly target?: Bytes
  readonly meta?: AnyMeta
  readonly offset?: number
  readonly pieces?: readonly Piece[]
  readonly major?: number
  readonly minor?: number
  readonly flags?: number
}

const NONE: Parts = {}

/** A growing batch. Paths as strings are latin1, a character a byte. */
export class OpWriter {
  #bytes = Buffer.allocUnsafe(FIRST_CAPACITY)
  #view = viewOf(this.#bytes)
  #at = 0
  #count = 0
  readonly #buffers: Uint8Array[] = []

  /** Operations so far. */
  get count(): number {
    return this.#count
  }

  /** For {@link Binding.fileops}. */
  get code(): Uint8Array {
    return this.#bytes.subarray(0, this.#at)
  }

  /** The memory that the operations write from. */
  get buffers(): readonly Uint8Array[] {
    return this.#buffers
  }

  /** Makes it an empty batch, with the memory that it has. */
  clear(): void {
    this.#at = 0
    this.#count = 0
    this.#buffers.length = 0
  }

  file(path: Bytes, pieces: readonly Piece[], meta: AnyMeta, size = 0): void {
    this.#write('file', path, { pieces, meta, offset: size })
  }

  /** As {@link file}, for a member of a run in a folder: hundreds of thousands may come. */
  runFile(prefix: Uint8Array, run: PlainRun, index: number): void {
    const { members, names, bytes } = run
    const at = index * MEMBER_WORDS
    const nameStart = members[at + AT.baseStart] as number
    const nameLength = members[at + AT.baseLength] as number
    const size = members[at + AT.size] as number
    const start = this.#at
    this.#reserve(FIXED_BYTES + PIECE_BYTES + prefix.length + nameLength + 16)
    const view = this.#view
    const out = this.#bytes
    view.setUint32(start + 4, LITTLE ? RUN_FILE << 8 : RUN_FILE << 16, LITTLE)
    view.setUint32(start + 8, members[at + AT.mode] as number, LITTLE)
    view.setUint32(start + 12, members[at + AT.uid] as number, LITTLE)
    view.setUint32(start + 16, members[at + AT.gid] as number, LITTLE)
    view.setUint32(start + 20, members[at + AT.mtimeNsec] as number, LITTLE)
    view.setFloat64(start + 24, run.mtimeSec(index), LITTLE)
    out.fill(0, start + 32, start + FIXED_BYTES)
    view.setUint32(start + 48, prefix.length + nameLength, LITTLE)
    let end = start + FIXED_BYTES
    if (size > 0) {
      view.setUint32(start + 56, 1, LITTLE)
      view.setUint32(end, this.#indexOf(bytes), LITTLE)
      view.setUint32(end + 4, members[at + AT.bodyStart] as number, LITTLE)
      view.setUint32(end + 8, size, LITTLE)
      end += PIECE_BYTES
    }
    for (let i = 0; i < prefix.length; i++) out[end++] = prefix[i] as number
    for (let i = nameStart; i < nameStart + nameLength; i++) out[end++] = names[i] as number
    out[end++] = 0
    out[end++] = 0
    while (end % 8 !== 0) out[end++] = 0
    view.setUint32(start, end - start, LITTLE)
    this.#at = end
    this.#count++
  }

  /** A new directory; without metadata, of mode 0700. */
  dir(path: Bytes, meta?: AnyMeta): void {
    this.#write('dir', path, meta === undefined ? NONE : { meta })
  }

  symlink(path: Bytes, target: Bytes, meta: AnyMeta): void {
    this.#write('symlink', path, { target, meta })
  }

  node(path: Bytes, major: number, minor: number, meta: AnyMeta): void {
    this.#write('node', path, { major, minor, meta })
  }

  link(path: Bytes, target: Bytes): void {
    this.#write('link', path, { target })
  }

  meta(path: Bytes, meta: AnyMeta): void {
    this.#write('meta', path, { meta })
  }

  remove(path: Bytes, options: { readonly recursive?: boolean; readonly missingOk?: boolean } = {}): void {
    const { recursive = false, missingOk = false } = options
    this.#write('remove', path, { flags: (recursive ? RECURSIVE : 0) | (missingOk ? MISSING_OK : 0) })
  }

  rename(path: Bytes, dest: Bytes): void {
    this.#write('rename', path, { target: dest })
  }

  create(path: Bytes, size: number): void {
    this.#write('create', path, { offset: size })
  }

  write(path: Bytes, offset: number, pieces: readonly Piece[]): void {
    this.#write('write', path, { offset, pieces })
  }

  /** An operation as an object, whose strings are UTF-8. */
  add(op: FileOp): void {
    const path = utf8(op.path)
    switch (op.op) {
      case 'file':
        return this.file(path, op.data.map(whole), op, op.size)
      case 'dir':
        return this.dir(path, op)
      case 'symlink':
        return this.symlink(path, utf8(op.target), op)
      case 'node':
        return this.node(path, op.major, op.minor, op)
      case 'link':
        return this.link(path, utf8(op.target))
      case 'meta':
        return this.meta(path, op)
      case 'remove':
        return this.remove(path, op)
      case 'rename':
        return this.rename(path, utf8(op.dest))
      case 'create':
        return this.create(path, op.size ?? 0)
      case 'write':
        return this.write(path, op.offset, op.data.map(whole))
    }
  }

  #write(name: OpName, path: Bytes, parts: Parts): void {
    const { target = '', meta = NONE as AnyMeta, pieces = [], offset = 0 } = parts
    const { xattrs = [], mode, uid, gid, mtimeSec, mtimeNsec } = meta
    const start = this.#at
    this.#reserve(FIXED_BYTES + sizeOf(path, target, pieces, xattrs))
    const view = this.#view
    view.setUint8(start + 4, KINDS[name])
    view.setUint8(start + 5, (parts.flags ?? 0) | metaFlags(meta))
    this.#number(16, start + 6, xattrs.length)
    this.#number(32, start + 8, mode ?? 0)
    this.#number(32, start + 12, uid ?? 0)
    this.#number(32, start + 16, gid ?? 0)
    this.#number(32, start + 20, mtimeNsec ?? 0)
    this.#integer(start + 24, mtimeSec ?? 0)
    this.#integer(start + 32, offset)
    this.#number(32, start + 40, parts.major ?? 0)
    this.#number(32, start + 44, parts.minor ?? 0)
    this.#number(32, start + 56, pieces.length)
    this.#number(32, start + 60, 0)
    this.#at = start + FIXED_BYTES
    for (const piece of pieces) this.#piece(piece)
    this.#number(32, start + 48, this.#text(path))
    this.#number(32, start + 52, this.#text(target))
    for (const { name: xattr, value } of xattrs) this.#xattr(xattr, value)
    while (this.#at % 8 !== 0) this.#bytes[this.#at++] = 0
    this.#number(32, start, this.#at - start)
    this.#count++
  }

  #reserve(size: number): void {
    const needed = this.#at + size
    if (needed <= this.#bytes.length) return
    const grown = Buffer.allocUnsafe(Math.max(needed, 2 * this.#bytes.length))
    this.#bytes.copy(grown, 0, 0, this.#at)
    this.#bytes = grown
    this.#view = viewOf(grown)
  }

  #number(bits: 16 | 32, at: number, value: number): void {
    // What does not fit would go over as another number: uid -1 as "leave the owner".
    if (!Number.isInteger(value) || value < 0 || value >= 2 ** bits) throw argumentError(String(value))
    if (bits === 16) this.#view.setUint16(at, value, LITTLE)
    else this.#view.setUint32(at, value, LITTLE)
  }

  #integer(at: number, value: number): void {
    if (!Number.isSafeInteger(value)) throw argumentError(String(value))
    this.#view.setFloat64(at, value, LITTLE)
  }

  /** Whether operations write from `buffer` already. */
  has(buffer: Uint8Array): boolean {
    const last = this.#buffers.length - 1
    return last >= 0 && (this.#buffers[last] === buffer || this.#buffers.includes(buffer))
  }

  #indexOf(buffer: Uint8Array): number {
    const last = this.#buffers.length - 1
    const index = this.#buffers[last] === buffer ? last : this.#buffers.indexOf(buffer)
    return index < 0 ? this.#buffers.push(buffer) - 1 : index
  }

  #piece({ buffer, start, end }: Piece): void {
    this.#number(32, this.#at, this.#indexOf(buffer))
    this.#number(32, this.#at + 4, start)
    this.#number(32, this.#at + 8, end - start)
    this.#at += PIECE_BYTES
  }

  /** Writes a string or bytes and a NUL; gives the length. */
  #text(text: Bytes): number {
    const start = this.#at
    if (typeof text === 'string') this.#at += this.#bytes.write(text, start, 'latin1')
    else {
      this.#bytes.set(text, start)
      this.#at += text.length
    }
    this.#bytes[this.#at++] = 0
    return this.#at - start - 1
  }

  #xattr(name: string, value: Uint8Array): void {
    const bytes = Buffer.from(name)
    this.#number(32, this.#at, bytes.length)
    this.#number(32, this.#at + 4, value.length)
    this.#at += 8
    this.#text(bytes)
    this.#bytes.set(value, this.#at)
    this.#at += value.length
  }
}

function viewOf({ buffer, byteOffset, length }: Buffer): DataView {
  return new DataView(buffer, byteOffset, length)
}

function utf8(text: Bytes): Uint8Array {
  return typeof text === 'string' ? Buffer.from(text) : text
}

function whole(buffer: Uint8Array): Piece {
  return { buffer, start: 0, end: buffer.length }
}

/** An upper bound. */
function sizeOf(
  path: Bytes,
  target: Bytes,
  pieces: readonly Piece[],
  xattrs: NonNullable<AnyMeta['xattrs']>,
): number {
  let size = path.length + target.length + PIECE_BYTES * pieces.length + 16
  for (const { name, value } of xattrs) size += 3 * name.length + value.length + 9
  return size
}

function metaFlags({ mode, uid, gid, mtimeSec }: AnyMeta): number {
  return (
    (mode === undefined ? 0 : HAS_MODE) |
    (uid === undefined ? 0 : HAS_UID) |
    (gid === undefined ? 0 : HAS_GID) |
    (mtimeSec === undefined ? 0 : HAS_MTIME)
  )
}

function argumentError(value: string): TypeError {
  return Object.assign(new TypeError(`fileops: ${value} is out of range`), { code: 'ERR_INVALID_ARG_TYPE' })
}
