/**
 * The records of native/tree_record.h, read where they are: of an entry nothing is made before it is asked for, so
 * that a tree of 50,000 files costs no million objects.
 */
import type { Xattr } from '../native/binding.ts'

/** Offsets in a record, as tree_record.h lays it out. */
const HEAD_BYTES = 176
const AT_DEPTH = 4
const AT_FILE = 8
const AT_NAME = 12
const AT_TARGET = 16
const AT_XATTRS = 20
const AT_BESIDE_XATTRS = 24
const AT_BODY = 28
const AT_FACTS = 32
const AT_BESIDE = 104
const NO_BODY = 0xffff_ffff
const NONE: readonly Xattr[] = []

/** What statx(2) says of an entry; sizes in bytes, `blocks` in units of 512, times in seconds and nanoseconds. */
export class Facts {
  readonly #view: DataView
  readonly #at: number

  constructor(view: DataView, at: number) {
    this.#view = view
    this.#at = at
  }

  get mode(): number {
    return this.#view.getUint32(this.#at, true)
  }
  get uid(): number {
    return this.#view.getUint32(this.#at + 4, true)
  }
  get gid(): number {
    return this.#view.getUint32(this.#at + 8, true)
  }
  get nlink(): number {
    return this.#view.getUint32(this.#at + 12, true)
  }
  get devMajor(): number {
    return this.#view.getUint32(this.#at + 16, true)
  }
  get devMinor(): number {
    return this.#view.getUint32(this.#at + 20, true)
  }
  get rdevMajor(): number {
    return this.#view.getUint32(this.#at + 24, true)
  }
  get rdevMinor(): number {
    return this.#view.getUint32(this.#at + 28, true)
  }
  get mtimeNsec(): number {
    return this.#view.getUint32(this.#at + 32, true)
  }
  get size(): number {
    return this.#view.getFloat64(this.#at + 40, true)
  }
  get blocks(): number {
    return this.#view.getFloat64(this.#at + 48, true)
  }
  get mtimeSec(): number {
    return this.#view.getFloat64(this.#at + 56, true)
  }
  get ino(): bigint {
    return this.#view.getBigUint64(this.#at + 64, true)
  }
}

/** One entry of a tree, however it was found: what {@link WalkEntry} tells. */
export interface TreeEntry extends Pick<WalkEntry, Exclude<keyof WalkEntry, 'stat' | 'beside'>> {
  readonly stat: Pick<Facts, keyof Facts>
  readonly beside: Pick<Facts, keyof Facts> | undefined
}

/** One entry of a tree. Its Buffers are views of the batch; copy what is to outlive it. */
export class WalkEntry {
  /** Relative to the root, `a/b/c`, without a leading slash; its own memory. */
  readonly path: Buffer
  readonly stat: Facts
  readonly #records: Buffer
  readonly #view: DataView
  readonly #at: number
  #xattrs: readonly Xattr[] | undefined

  constructor(records: Buffer, view: DataView, at: number, above: Buffer) {
    this.#records = records
    this.#view = view
    this.#at = at
    this.stat = new Facts(view, at + AT_FACTS)
    this.path = this.#pathBelow(above)
  }

  #pathBelow(above: Buffer): Buffer {
    const start = this.#at + HEAD_BYTES
    const length = this.#length(AT_NAME)
    const slash = above.length === 0 ? 0 : 1
    const path = Buffer.allocUnsafe(above.length + slash + length)
    if (slash === 1) {
      path.set(above)
      path[above.length] = 0x2f
    }
    this.#records.copy(path, above.length + slash, start, start + length)
    return path
  }

  #length(at: number): number {
    return this.#view.getUint32(this.#at + at, true)
  }

  /** Directories between the root and the entry. */
  get depth(): number {
    return this.#length(AT_DEPTH)
  }

  get name(): Buffer {
    return this.path.subarray(this.path.length - this.#length(AT_NAME))
  }

  /** A symlink's target. */
  get target(): Buffer {
    const start = this.#at + HEAD_BYTES + this.#length(AT_NAME)
    return this.#records.subarray(start, start + this.#length(AT_TARGET))
  }

  /** Asked for with `xattrs`; sorted by name. */
  get xattrs(): readonly Xattr[] {
    const bytes = this.#length(AT_XATTRS)
    this.#xattrs ??= this.#readXattrs(this.#afterXattrs() - bytes, bytes)
    return this.#xattrs
  }

  /** What the other tree has by the same name. */
  get beside(): Facts | undefined {
    const facts = new Facts(this.#view, this.#at + AT_BESIDE)
    return facts.mode === 0 ? undefined : facts
  }

  /** Where the entry is a file here and there. */
  get besideXattrs(): readonly Xattr[] {
    const length = this.#length(AT_BESIDE_XATTRS)
    return this.#readXattrs(this.#afterXattrs(), length)
  }

  /** A small file's content, as many bytes as its size says; undefined where it was not read. */
  get body(): Buffer | undefined {
    const length = this.#length(AT_BODY)
    if (length === NO_BODY) return undefined
    const start = this.#afterXattrs() + this.#length(AT_BESIDE_XATTRS)
    return this.#records.subarray(start, start + length)
  }

  /** Descriptor of a file that is open, at its start; it is the batch's. */
  get file(): number | undefined {
    const fd = this.#view.getInt32(this.#at + AT_FILE, true)
    return fd < 0 ? undefined : fd
  }

  #afterXattrs(): number {
    const names = this.#length(AT_NAME) + this.#length(AT_TARGET)
    return this.#at + HEAD_BYTES + names + this.#length(AT_XATTRS)
  }

  #readXattrs(start: number, bytes: number): readonly Xattr[] {
    if (bytes === 0) return NONE
    const xattrs: Xattr[] = []
    for (let at = start; at < start + bytes;) {
      const name = at + 8
      const value = name + this.#view.getUint32(at, true)
      const end = value + this.#view.getUint32(at + 4, true)
      xattrs.push({
        name: this.#records.toString('utf8', name, value),
        value: this.#records.subarray(value, end),
      })
      at = end
    }
    return xattrs
  }
}

/** The entries of a batch, in order. `folders` has the path of the folder at each depth, and is kept up. */
export function* readRecords(records: Buffer, folders: Buffer[]): Generator<WalkEntry, void, undefined> {
  const view = viewOf(records)
  for (let at = 0; at < records.length; at += view.getUint32(at, true)) {
    const depth = view.getUint32(at + AT_DEPTH, true)
    const entry = new WalkEntry(records, view, at, folders[depth] ?? EMPTY)
    folders[depth + 1] = entry.path
    yield entry
  }
}

/** The descriptors of a batch. */
export function* filesOf(records: Buffer): Generator<number, void, undefined> {
  const view = viewOf(records)
  for (let at = 0; at < records.length; at += view.getUint32(at, true)) {
    const fd = view.getInt32(at + AT_FILE, true)
    if (fd >= 0) yield fd
  }
}

function viewOf(records: Buffer): DataView {
  return new DataView(records.buffer, records.byteOffset, records.length)
}

const EMPTY = Buffer.alloc(0)
