/** Walks over a tree of files, byte-safe and in a fixed order. */
import { constants } from 'node:fs'
import { AT_FDCWD, binding, type ScannedEntry } from '../native/binding.ts'

/** An entry of the tree. */
export interface WalkEntry extends ScannedEntry {
  /** Relative to the root, `a/b/c`, without a leading slash. */
  readonly path: Buffer
  /** Whether it is a directory that the walk goes into next, unless {@link WalkOptions.enter} says no. */
  readonly isDirectory: boolean
}

export interface WalkOptions {
  /** Read extended attributes too. */
  readonly xattrs: boolean
  /** Whether to go into a directory. Default: into each. */
  readonly enter?: (entry: WalkEntry) => boolean
  readonly signal?: AbortSignal
}

/**
 * Yields everything below `root`, which is a directory's path as the caller trusts it (`/proc/self/fd/N` for an
 * fd). The root itself is left out; a symlink is an entry and never followed.
 *
 * The order is that of Go's filepath.Walk, which moby's layer tars have: the names of one directory sorted by their
 * bytes, each directory before what is in it. (So `a/x` comes before `a.b`, unlike a sort of whole paths.)
 * One directory's entries are in memory at a time for each level.
 */
export async function* walk(root: Buffer, options: WalkOptions): AsyncGenerator<WalkEntry, void, undefined> {
  yield* walkDirectory(root, Buffer.alloc(0), options)
}

async function* walkDirectory(
  root: Buffer,
  below: Buffer,
  options: WalkOptions,
): AsyncGenerator<WalkEntry, void, undefined> {
  options.signal?.throwIfAborted()
  const scanned = await binding.scandirat(AT_FDCWD, joinBytes(root, below), { xattrs: options.xattrs })
  for (const entry of scanned.sort((a, b) => Buffer.compare(a.name, b.name))) {
    const isDirectory = (entry.stat.mode & constants.S_IFMT) === constants.S_IFDIR
    const found = { ...entry, path: joinBytes(below, entry.name), isDirectory }
    yield found
    if (isDirectory && (options.enter?.(found) ?? true)) yield* walkDirectory(root, found.path, options)
  }
}

/** `a/b` of two paths, `b` alone where `a` is empty and the reverse. */
export function joinBytes(a: Uint8Array, b: Uint8Array): Buffer {
  if (a.length === 0) return Buffer.from(b)
  if (b.length === 0) return Buffer.from(a)
  return Buffer.concat([a, Buffer.from('/'), b])
}
