/** What a tar member is. */
export type EntryType = 'file' | 'dir' | 'symlink' | 'hardlink' | 'char' | 'block' | 'fifo'

/** A run of data in a sparse file; offsets and lengths in bytes of the expanded file. */
export interface SparseRun {
  readonly offset: number
  readonly length: number
}

/** A tar member's header after PAX and GNU extensions are applied. Names and values are bytes. */
export interface TarHeader {
  readonly name: Buffer
  readonly type: EntryType
  /** Permission bits with setuid, setgid and sticky; no type bits. */
  readonly mode: number
  readonly uid: number
  readonly gid: number
  /** Bytes of the body in the archive; of a sparse file, its data runs only. */
  readonly size: number
  readonly mtimeSec: number
  readonly mtimeNsec: number
  /** Of a symlink or hard link. */
  readonly linkname: Buffer
  readonly devMajor: number
  readonly devMinor: number
  readonly uname: Buffer
  readonly gname: Buffer
  /** SCHILY.xattr.* by name without the prefix. */
  readonly xattrs: ReadonlyMap<string, Buffer>
  /** Present for a GNU sparse file: the runs that the body holds, and the expanded size. */
  readonly sparse?: { readonly runs: readonly SparseRun[]; readonly realSize: number }
}

/** A member as the reader yields it. The body must be read or skipped before the next one is asked for. */
export interface TarEntry {
  readonly header: TarHeader
  /** The body's bytes in the archive. Skipped when not consumed. */
  body(): AsyncIterable<Buffer>
}

/** Bounds on what an archive may ask of the reader. */
export interface TarLimits {
  /** Bytes of all bodies together; default 1 TiB. */
  readonly maxBytes?: number
  /** Members; default 10 million. */
  readonly maxEntries?: number
  /** Path components of one name; default 512. */
  readonly maxDepth?: number
  /** Bytes of one PAX or GNU extension block; default 1 MiB. */
  readonly maxExtensionBytes?: number
}
