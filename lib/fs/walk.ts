/** Walks over a tree of files, byte-safe and in a fixed order. */
import { closeSync } from 'node:fs'
import { binding, type WalkOptions as ReadOptions } from '../native/binding.ts'
import { filesOf, readRecords, type WalkEntry } from './walk-entry.ts'

export type { TreeEntry, WalkEntry } from './walk-entry.ts'

export interface WalkOptions extends ReadOptions {
  readonly signal?: AbortSignal
}

/**
 * Gives everything below the directory `rootFd` (which stays the caller's), some thousand entries at a time: an entry
 * and the files that are open in it are valid until the next ones are asked for. The root itself is left out; a
 * symlink is an entry and never followed, and each folder is opened relative to the one above: no path is too long,
 * and a folder that is swapped for a link meanwhile is that link, not a way out.
 *
 * The order is that of Go's filepath.Walk, which moby's layer tars have: the names of one directory sorted by their
 * bytes, each directory before what is in it. (So `a/x` comes before `a.b`, unlike in a sort of whole paths.)
 * In memory are two batches, one of them being read ahead, and the names of the folders on the way down.
 */
export async function* walk(
  rootFd: number,
  { signal, ...options }: WalkOptions,
): AsyncGenerator<Iterable<WalkEntry>, void, undefined> {
  const handle = binding.walkStart(rootFd, options)
  let ahead = binding.walkNext(handle)
  const folders = [Buffer.alloc(0)]
  try {
    for (let records = await ahead; records !== undefined; records = await ahead) {
      ahead = binding.walkNext(handle)
      // It is awaited when its turn comes, and below.
      ahead.catch(() => undefined)
      try {
        signal?.throwIfAborted()
        yield readRecords(records, folders)
      } finally {
        closeFiles(records)
      }
    }
  } finally {
    binding.walkEnd(handle)
    const [left] = await Promise.allSettled([ahead])
    if (left.status === 'fulfilled' && left.value !== undefined) closeFiles(left.value)
  }
}

function closeFiles(records: Buffer): void {
  for (const fd of filesOf(records)) closeSync(fd)
}

/** A path by which node:fs reaches `name` in an open directory, whatever happened to the directory's own path. */
export function pathAt(dirFd: number, name: Uint8Array): Buffer {
  return Buffer.concat([Buffer.from(`/proc/self/fd/${dirFd.toString()}/`), name])
}

/** `a/b` of two paths, `b` alone where `a` is empty and the reverse. */
export function joinBytes(a: Uint8Array, b: Uint8Array): Buffer {
  if (a.length === 0) return Buffer.from(b)
  if (b.length === 0) return Buffer.from(a)
  return Buffer.concat([a, Buffer.from('/'), b])
}
