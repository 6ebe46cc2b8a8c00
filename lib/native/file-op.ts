/** The batch primitive's operations as objects; op-writer.ts writes many without one each. */
import { binding, type Bytes } from './binding.ts'
import { OpWriter } from './op-writer.ts'

/**
 * One step of {@link fileops}. `path` is relative to the root fd; its parent is opened with
 * openat2(RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV), so links of the tree itself are followed
 * inside it and nowhere else; the last component is never followed.
 */
export type FileOp =
  /**
   * O_CREAT | O_EXCL | O_NOFOLLOW with `data`, then a hole up to `size` if that is longer; then owner, xattrs,
   * mode, times by fd.
   */
  | ({
      readonly op: 'file'
      readonly path: Bytes
      readonly data: readonly Uint8Array[]
      readonly size?: number
    } & OpMeta)
  /** Makes a directory; an existing one is kept and gets the metadata. EEXIST when it is no directory. */
  | ({ readonly op: 'dir'; readonly path: Bytes } & OpMeta)
  | ({ readonly op: 'symlink'; readonly path: Bytes; readonly target: Bytes } & OpMeta)
  | ({
      readonly op: 'node'
      readonly path: Bytes
      readonly major: number
      readonly minor: number
    } & OpMeta)
  /** linkat without AT_SYMLINK_FOLLOW; the target's parent is resolved in the root like `path`'s. */
  | { readonly op: 'link'; readonly path: Bytes; readonly target: Bytes }
  /** Owner, xattrs, mode and times of what is there; a symlink is not followed. */
  | ({ readonly op: 'meta'; readonly path: Bytes } & Partial<OpMeta>)
  /** unlinkat, or with `recursive` the whole tree; `missingOk` tolerates ENOENT. */
  | {
      readonly op: 'remove'
      readonly path: Bytes
      readonly recursive?: boolean
      readonly missingOk?: boolean
    }
  | { readonly op: 'rename'; readonly path: Bytes; readonly dest: Bytes }
  /**
   * An empty file, mode 0600, of `size` bytes of hole: what follows in `write` steps, in as many fileops calls as
   * memory wants, and a last `meta` step gives it owner, xattrs, mode and times (a write clears setuid bits and
   * file capabilities, so metadata comes last).
   */
  | { readonly op: 'create'; readonly path: Bytes; readonly size?: number }
  /** Writes at `offset` bytes of a file that is there; never follows a link. */
  | {
      readonly op: 'write'
      readonly path: Bytes
      readonly offset: number
      readonly data: readonly Uint8Array[]
    }

/**
 * Metadata in the order in which it is applied: owner, xattrs, mode, times (atime is set to mtime). Of `mode` only
 * a node's type bits are read, elsewhere the permission bits alone. The umask plays no part.
 */
export interface OpMeta {
  readonly mode: number
  readonly uid: number
  readonly gid: number
  readonly mtimeSec: number
  readonly mtimeNsec: number
  readonly xattrs?: readonly { readonly name: string; readonly value: Uint8Array }[]
}

/**
 * Runs the steps in order on one thread; a failure stops there: the error has the step's `index`, its `path`, and the
 * `syscall` that failed. The data must stay as it is until the promise settles.
 */
export function fileops(rootFd: number, ops: readonly FileOp[]): Promise<void> {
  const writer = new OpWriter()
  for (const op of ops) writer.add(op)
  return binding.fileops(rootFd, writer.code, writer.buffers)
}
