/**
 * Runs of plain members, read by the addon many at a time: a layer of many small files has nearly nothing else, and
 * reading a header here costs more than making a file in the kernel. Plain is what {@link TarScanner} would read to
 * the same effect: files whose whole body is there, directories and links; simple numbers, and names that are clean
 * but for a `./` before them, in printable ASCII, none of it `.wh.`; PAX headers that have but times.
 */
import type { EntryType, TarHeader } from './entry.ts'

/** 32-bit words of a member in {@link PlainRun.members}, as native/tar_run.h has them. */
export const MEMBER_WORDS = 20

/** Where in a member's words something is. Offsets are in the run's bytes, those of names in its names. */
export const AT = {
  headerStart: 0,
  bodyStart: 1,
  size: 2,
  /** The type flag's character. */
  type: 3,
  mode: 4,
  uid: 5,
  gid: 6,
  mtimeLow: 7,
  mtimeHigh: 8,
  mtimeNsec: 9,
  nameStart: 10,
  nameLength: 11,
  folderStart: 12,
  folderLength: 13,
  baseStart: 14,
  baseLength: 15,
  linkStart: 16,
  linkLength: 17,
  sameFolder: 18,
} as const

export const FILE_FLAG = 0x30

const TYPES: Readonly<Record<number, EntryType>> = {
  0x30: 'file',
  0x31: 'hardlink',
  0x32: 'symlink',
  0x35: 'dir',
}
const NO_XATTRS: ReadonlyMap<string, Buffer> = new Map()

/** Members one after the other. Valid during the call that gives it: its memory is used again. */
export class PlainRun {
  /** The memory that bodies lie in. */
  readonly bytes: Buffer
  /** Where in the stream that begins. */
  readonly base: number
  readonly count: number
  readonly members: Uint32Array
  readonly names: Buffer
  /** Where in `bytes` the run ends, at a header's place. */
  readonly end: number
  /** The last components of the members' names. */
  readonly bases: readonly string[]
  readonly #text: string

  constructor(parts: Pick<PlainRun, 'bytes' | 'base' | 'count' | 'members' | 'names' | 'end'>) {
    const { members } = parts
    this.bytes = parts.bytes
    this.base = parts.base
    this.count = parts.count
    this.members = members
    this.names = parts.names
    this.end = parts.end
    // One string, and the names as slices of it: a call into Buffer for each costs more than all else here.
    this.#text = this.names.toString('latin1')
    const bases: string[] = []
    for (let at = 0; at < this.count * MEMBER_WORDS; at += MEMBER_WORDS) {
      bases.push(this.#slice(at + AT.baseStart))
    }
    this.bases = bases
  }

  /** `at` is that of the start; the length follows. */
  #slice(at: number): string {
    const start = this.members[at] as number
    return this.#text.slice(start, start + (this.members[at + 1] as number))
  }

  word(index: number, at: number): number {
    return this.members[index * MEMBER_WORDS + at] as number
  }

  /** The cleaned name's folder. */
  folder(index: number): string {
    return this.#slice(index * MEMBER_WORDS + AT.folderStart)
  }

  /** As in the archive. */
  name(index: number): Buffer {
    const start = this.word(index, AT.nameStart)
    return Buffer.from(this.names.subarray(start, start + this.word(index, AT.nameLength)))
  }

  mtimeSec(index: number): number {
    return this.word(index, AT.mtimeHigh) * 0x1_0000_0000 + this.word(index, AT.mtimeLow)
  }

  /** Bytes of all bodies. */
  get size(): number {
    let size = 0
    for (let i = 0; i < this.count; i++) size += this.word(i, AT.size)
    return size
  }

  /** The member as the scanner gives one by itself. */
  header(index: number): TarHeader {
    const link = this.word(index, AT.linkStart)
    return {
      name: this.name(index),
      type: TYPES[this.word(index, AT.type)] as EntryType,
      mode: this.word(index, AT.mode),
      uid: this.word(index, AT.uid),
      gid: this.word(index, AT.gid),
      size: this.word(index, AT.size),
      mtimeSec: this.mtimeSec(index),
      mtimeNsec: this.word(index, AT.mtimeNsec),
      linkname: Buffer.from(this.names.subarray(link, link + this.word(index, AT.linkLength))),
      devMajor: 0,
      devMinor: 0,
      xattrs: NO_XATTRS,
    }
  }
}

/** Reads plain members of `bytes` from `at` to `end`; undefined when there are too few to be worth it. */
export type ReadRun = (bytes: Buffer, at: number, end: number, base: number) => PlainRun | undefined
