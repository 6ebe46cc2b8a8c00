import type { PlainRun } from './plain-run.ts'

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

/**
 * Takes an archive's members as they are read. Parts of bodies lie in the reader's memory from `start` to `end`, which
 * is used again: see {@link TarScanner.scan}.
 */
export interface TarSink {
  /**
   * A member begins, its first header block at byte `offset` of the archive; for messages. Says where its body goes:
   * `record` when no file will hold it, so that the observer gets it as a segment, and the archive can be put
   * together again without. A sparse member's goes there whatever this says: its file has other bytes.
   */
  member(header: TarHeader, offset: number): 'file' | 'record'
  /** Part of its body. */
  body(bytes: Buffer, start: number, end: number): void
  /** All of its body was told; also of one that has none. */
  end(): void
  /** Many members at once; absent, they are told one by one. */
  run?(run: PlainRun): void
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

/**
 * Sees a tar as it is read: every byte of the stream is in exactly one call, in order. Bytes are those of `bytes` from
 * `start` to `end`, and may be used during the call only.
 */
export interface TarObserver {
  /** Bytes between bodies: headers, extension blocks, padding, end-of-archive, trailing bytes. */
  segment(bytes: Buffer, start: number, end: number): void
  /** A member begins; `name` as in the archive (after PAX and GNU names), `size` of the body that follows. */
  entry(name: Buffer, size: number): void
  body(bytes: Buffer, start: number, end: number): void
  /** Many members at once, from their first header to the padding after the last body; else one by one. */
  run?(run: PlainRun): void
  /**
   * The bytes from `start` to `end` of the stream were told, lying in `bytes`; the other calls spoke of this same
   * memory. It stays as it is until the promise resolves, and nothing piles up: the reader waits.
   */
  told?(bytes: Buffer, start: number, end: number): Promise<void>
}
