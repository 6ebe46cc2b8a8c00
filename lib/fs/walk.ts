/** Walks over a tree of files, byte-safe and in a fixed order. */
import { closeSync, constants, openSync } from 'node:fs'
import { binding, type ScannedEntry } from '../native/binding.ts'

/** An entry of the tree. */
export interface WalkEntry extends ScannedEntry {
  /** Relative to the root, `a/b/c`, without a leading slash. */
  readonly path: Buffer
  /** The folder that holds it, open until the walk has passed its last entry. */
  readonly parentFd: number
  readonly isDirectory: boolean
}

export interface WalkOptions {
  /** Read extended attributes too. */
  readonly xattrs: boolean
  /** Whether to go into a directory. Default: into each. */
  readonly enter?: (entry: WalkEntry) => boolean
  readonly signal?: AbortSignal
}

/** A folder that the walk is in: its fd, and what is left of its entries, last one first. */
interface Level {
  readonly fd: number
  readonly below: Buffer
  readonly left: ScannedEntry[]
}

/**
 * Yields everything below the directory `rootFd` (which stays the caller's). The root itself is left out; a
 * symlink is an entry and never followed, and each folder is opened relative to the one above: no path is too
 * long, and a folder that is swapped for a link meanwhile is an ELOOP, not a way out.
 *
 * The order is that of Go's filepath.Walk, which moby's layer tars have: the names of one directory sorted by their
 * bytes, each directory before what is in it. (So `a/x` comes before `a.b`, unlike in a sort of whole paths.)
 * In memory are the entries of the folders on the way down to the current one.
 */
export async function* walk(
  rootFd: number,
  options: WalkOptions,
): AsyncGenerator<WalkEntry, void, undefined> {
  const levels: Level[] = []
  try {
    levels.push(await enterDirectory(openBelow(rootFd, Buffer.from('.')), Buffer.alloc(0), options))
    for (let level = levels.at(-1); level !== undefined; level = levels.at(-1)) {
      options.signal?.throwIfAborted()
      const entry = level.left.pop()
      if (entry === undefined) {
        closeSync(level.fd)
        levels.pop()
        continue
      }
      const isDirectory = (entry.stat.mode & constants.S_IFMT) === constants.S_IFDIR
      const found: WalkEntry = {
        ...entry,
        path: joinBytes(level.below, entry.name),
        parentFd: level.fd,
        isDirectory,
      }
      yield found
      if (!isDirectory || options.enter?.(found) === false) continue
      levels.push(await enterDirectory(openBelow(level.fd, entry.name), found.path, options))
    }
  } finally {
    for (const level of levels) closeSync(level.fd)
  }
}

async function enterDirectory(fd: number, below: Buffer, options: WalkOptions): Promise<Level> {
  try {
    const scanned = await binding.scandirat(fd, '.', { xattrs: options.xattrs })
    return { fd, below, left: scanned.sort((a, b) => Buffer.compare(b.name, a.name)) }
  } catch (error) {
    closeSync(fd)
    throw error
  }
}

/** Synchronous: the folder's inode was just stat'ed, so this never waits for a disk. */
function openBelow(dirFd: number, name: Buffer): number {
  return openSync(pathAt(dirFd, name), constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW)
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
