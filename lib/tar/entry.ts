/** What a tar member is. */
export type EntryType = 'file' | 'dir' | 'symlink' | 'hardlink' | 'char' | 'block' | 'fifo'

/** A run of data in a sparse file; offsets and lengths in bytes of the expanded file. */
export interface SparseRun {
  readonly offset: number
  readonly length: number
}

/**
 * A tar member's header after PAX and GNU extensions are applied. Names and values are bytes. Owners are numbers: the
 * names of users and groups are the machine's that made the archive, and not read.
 */
export interface TarHeader {
  /** As in the archive: not cleaned, a trailing slash kept. See {@link cleanName}. */
  readonly name: Buffer
  readonly type: EntryType
  /** Permission bits with setuid, setgid and sticky; no type bits. */
  readonly mode: number
  readonly uid: number
  readonly gid: number
  /** Bytes of the body in the archive; of a sparse file, its data runs only. */
  readonly size: number
  readonly mtimeSec: number
  /** 0 to 999,999,999, also before 1970. */
  readonly mtimeNsec: number
  /** Of a symlink or hard link. */
  readonly linkname: Buffer
  readonly devMajor: number
  readonly devMinor: number
  /** SCHILY.xattr.* (and, where that is absent, LIBARCHIVE.xattr.*) by name without the prefix. */
  readonly xattrs: ReadonlyMap<string, Buffer>
  /** Present for a GNU sparse file: the runs that the body holds, and the expanded size. */
  readonly sparse?: { readonly runs: readonly SparseRun[]; readonly realSize: number }
}

/** A member as the reader yields it. The body must be read or skipped before the next one is asked for. */
export interface TarEntry {
  readonly header: TarHeader
  /** Where its first header block begins in the archive, in bytes; for messages. */
  readonly offset: number
  /** The body's bytes in the archive. Skipped when not consumed. */
  body(): AsyncIterable<Buffer>
  /** The whole body when it is in memory already, which saves an await for each small file; else undefined. */
  bodyNow(): readonly Buffer[] | undefined
  /**
   * Says, before the body is read, that no file will hold it: the observer gets it as a segment, so that the
   * archive can be put together again without. Sparse members, whose file has other bytes, do so by themselves.
   */
  inline(): void
}

/** Bounds on what an archive may ask of the reader. */
export interface TarLimits {
  /** Bytes of all bodies together, and of what follows the archive's end; default 1 TiB. */
  readonly maxBytes?: number
  /** Members; default 10 million. */
  readonly maxEntries?: number
  /** Path components of one name; default 512. */
  readonly maxDepth?: number
  /** Bytes of one PAX or GNU extension block; default 1 MiB. */
  readonly maxExtensionBytes?: number
}

/** Sees a tar as it is read: every byte of the stream is in exactly one call, in order. */
export interface TarObserver {
  /** Bytes between bodies: headers, extension blocks, padding, end-of-archive, trailing bytes. */
  segment(bytes: Buffer): void
  /** A member begins; `name` as in the archive (after PAX and GNU names), `size` of the body that follows. */
  entry(name: Buffer, size: number): void
  body(bytes: Buffer): void
  /** Asked now and then: a promise holds the reader up until it resolves, so that nothing piles up. */
  ready?(): Promise<void> | undefined
}
