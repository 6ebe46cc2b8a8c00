/** Packs the entries of a walk as a layer tar has them. */
import { readSync } from 'node:fs'
import type { TreeEntry } from '../fs/walk.ts'
import type { Xattr } from '../native/binding.ts'
import { S } from '../native/flags.ts'
import { ChunkWriter } from '../tar/chunk-writer.ts'
import type { TarMember } from '../tar/encode.ts'
import type { EntryType } from '../tar/entry.ts'
import { END_OF_ARCHIVE } from '../tar/writer.ts'
import { MACHINES_XATTR } from './machines-xattr.ts'
import type { FileBody, TarPiece } from './tar-stream.ts'

/** Files up to this size are read by the walk itself, a batch at a time: a turn of the thread pool costs 40 µs. */
export const SMALL_BODY: number = 256 * 1024

const TYPES = new Map<number, EntryType>([
  [S.S_IFREG, 'file'],
  [S.S_IFDIR, 'dir'],
  [S.S_IFLNK, 'symlink'],
  [S.S_IFCHR, 'char'],
  [S.S_IFBLK, 'block'],
  [S.S_IFIFO, 'fifo'],
])

const SLASH = Buffer.from('/')

/** Whether tar has a type for it; a socket means nothing without the process that listens. */
export function isPackable({ stat }: TreeEntry): boolean {
  return (stat.mode & S.S_IFMT) !== S.S_IFSOCK
}

export class TreePacker {
  readonly #chunks = new ChunkWriter()
  readonly #firstNames = new Map<string, Buffer>()

  get isFull(): boolean {
    return this.#chunks.isFull
  }

  /** The whole chunks so far. */
  takeFull(): Buffer[] {
    return this.#chunks.takeFull()
  }

  /** All chunks so far. */
  takeAll(): Buffer[] {
    return this.#chunks.takeAll()
  }

  /** A member without a body. */
  add(member: TarMember): void {
    this.#chunks.header(member)
  }

  end(): void {
    this.#chunks.add(END_OF_ARCHIVE)
  }

  /**
   * Adds the entry as `path`: itself, or a link to the name that its inode had before. Where its body is not in
   * memory this gives it, for {@link passOn}.
   * @param inode the inode, for hard links: the same text for the same file
   * @param content the file to take the body from, instead of the entry's own
   */
  addEntry(entry: TreeEntry, path: Buffer, inode: () => string, content?: number): FileBody | undefined {
    const { stat } = entry
    const first = stat.nlink > 1 ? this.#firstName(stat.mode, inode(), path) : undefined
    const member = memberOf(entry, path)
    if (first !== undefined) {
      this.#chunks.header({ ...member, type: 'hardlink', linkname: first, size: 0 })
      return undefined
    }
    this.#chunks.header(member)
    if (member.size === 0) return undefined
    const body = content === undefined ? entry.body : undefined
    if (body === undefined) return this.#open(member.size, content ?? entry.file)
    this.#chunks.add(body)
    this.#chunks.pad(member.size)
    return undefined
  }

  /** All chunks so far, and the body after them. */
  *passOn(body: FileBody): Generator<TarPiece, void, undefined> {
    yield* this.takeAll()
    yield body
    this.#chunks.pad(body.size)
  }

  /** The name that the inode had before, if this is not the first. A directory has but one. */
  #firstName(mode: number, inode: string, path: Buffer): Buffer | undefined {
    if ((mode & S.S_IFMT) === S.S_IFDIR) return undefined
    const first = this.#firstNames.get(inode)
    if (first === undefined) this.#firstNames.set(inode, path)
    return first
  }

  /** A small file's body is in the page cache, or soon is: a read on the spot costs less than a turn of the pool. */
  #open(size: number, fd: number | undefined): FileBody | undefined {
    if (fd === undefined) throw new TypeError('the walk did not open the files')
    if (size > SMALL_BODY) return { fd, size }
    const body = Buffer.allocUnsafe(size)
    let at = 0
    for (let got = -1; at < size && got !== 0; at += got) got = readSync(fd, body, at, size - at, null)
    this.#chunks.add(body.fill(0, at))
    this.#chunks.pad(size)
    return undefined
  }
}

function memberOf({ stat, xattrs, target }: TreeEntry, path: Buffer): TarMember {
  const { mode } = stat
  const type = TYPES.get(mode & S.S_IFMT) ?? 'file'
  return {
    name: type === 'dir' ? Buffer.concat([path, SLASH]) : path,
    type,
    // With the type bits, which Go's archive/tar dropped in 1.9 and moby puts back, so that diffIDs stayed.
    mode,
    uid: stat.uid,
    gid: stat.gid,
    size: type === 'file' ? stat.size : 0,
    mtimeSec: stat.mtimeSec,
    devMajor: stat.rdevMajor,
    devMinor: stat.rdevMinor,
    linkname: target,
    ...(xattrs.length === 0 ? {} : { xattrs: layerXattrs(xattrs) }),
  }
}

/** The attributes that belong into a layer: all that the container gave the file. */
function layerXattrs(xattrs: readonly Xattr[]): Map<string, Buffer> {
  const kept = xattrs.filter(({ name }) => !MACHINES_XATTR.test(name))
  return new Map(kept.map(({ name, value }) => [name, value]))
}
