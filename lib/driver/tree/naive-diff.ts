/**
 * A layer's own content as a layer tar, found by comparing its tree with the parent's: what a driver does whose layers
 * are whole trees.
 *
 * The form is that of an upper directory's diff (../upper/diff.ts). What it cannot tell is what leaves no trace in a
 * whole tree: a folder that was removed and made again, with the same names in it, is a folder that was changed.
 *
 * A changed file is there with all of its names, also those that the parent has alike: overlayfs copies a file up
 * before it gives it another name, and a link to a file of a lower layer is what docker cannot unpack.
 */
import { constants } from 'node:fs'
import { hasCode } from '../../errors.ts'
import { openDeep } from '../../fs/open-deep.ts'
import { joinBytes, walk, type WalkEntry } from '../../fs/walk.ts'
import { OwnedFd } from '../../native/fd.ts'
import { whiteoutName } from '../../oci/whiteout.ts'
import type { TarMember } from '../../tar/encode.ts'
import type { Change } from '../driver.ts'
import type { TarPiece } from '../tar-stream.ts'
import { isDirectory, isRegular } from '../upper/upper.ts'
import { isPackable, TreePacker } from '../tree-packer.ts'

const OPEN_FILE = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK

/** The tar of `changes` of the tree `treeFd`, which are all of its changes. */
export async function* naiveDiffPieces(
  treeFd: number,
  changes: readonly Change[],
  signal?: AbortSignal,
): AsyncGenerator<TarPiece, void, undefined> {
  const packer = new TreePacker()
  const rest = new Queue(changes)
  const linked = await linkedFiles(treeFd, changes, signal)
  for await (const entries of walk(treeFd, { xattrs: true, ...(signal && { signal }) })) {
    for (const entry of entries) {
      for (const path of rest.deletedBefore(entry.path)) packer.add(whiteoutMember(path))
      if (!(rest.take(entry.path) || isIn(linked, entry)) || !isPackable(entry)) continue
      yield* packEntry(packer, treeFd, entry)
      if (packer.isFull) yield* packer.takeFull()
    }
  }
  for (const path of rest.deletedBefore(undefined)) packer.add(whiteoutMember(path))
  packer.end()
  yield* packer.takeAll()
}

/** What moby's ChangesSize counts: all that was added or changed and is no directory, each inode once. */
export async function naiveDiffSize(treeFd: number, changes: readonly Change[]): Promise<number> {
  const rest = new Queue(changes)
  const seen = new Set<string>()
  let size = 0
  for await (const entries of walk(treeFd, { xattrs: false })) {
    for (const entry of entries) {
      rest.pass(entry.path)
      if (!rest.take(entry.path) || isDirectory(entry) || isIn(seen, entry)) continue
      if (entry.stat.nlink > 1) seen.add(inodeOf(entry))
      size += entry.stat.size
    }
  }
  return size
}

/** The changed files that have several names. */
async function linkedFiles(
  treeFd: number,
  changes: readonly Change[],
  signal: AbortSignal | undefined,
): Promise<Set<string>> {
  const rest = new Queue(changes)
  const linked = new Set<string>()
  for await (const entries of walk(treeFd, { xattrs: false, ...(signal && { signal }) })) {
    for (const entry of entries) {
      rest.pass(entry.path)
      if (rest.take(entry.path) && entry.stat.nlink > 1 && !isDirectory(entry)) linked.add(inodeOf(entry))
    }
  }
  return linked
}

function isIn(inodes: ReadonlySet<string>, entry: WalkEntry): boolean {
  return entry.stat.nlink > 1 && inodes.has(inodeOf(entry))
}

/** With the device: below a root that is an overlay itself, files of several layers may have one number. */
function inodeOf({ stat }: WalkEntry): string {
  return `${String(stat.devMajor)}:${String(stat.devMinor)}:${String(stat.ino)}`
}

async function* packEntry(
  packer: TreePacker,
  treeFd: number,
  entry: WalkEntry,
): AsyncGenerator<TarPiece, void, undefined> {
  const { path, stat } = entry
  const inode = (): string => inodeOf(entry)
  if (!isRegular(entry) || stat.size === 0) {
    packer.addEntry(entry, path, inode)
    return
  }
  using file = await openThere(treeFd, path)
  if (file === undefined) return
  const body = packer.addEntry(entry, path, inode, file.fd)
  if (body !== undefined) yield* packer.passOn(body)
}

/** Undefined where it went since it was seen: the next diff tells of that. */
async function openThere(treeFd: number, path: Buffer): Promise<OwnedFd | undefined> {
  try {
    return new OwnedFd(await openDeep(treeFd, path, OPEN_FILE))
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined
    throw error
  }
}

/** The changes in the order of the walk, from the first that it has not passed. */
class Queue {
  readonly #changes: readonly { readonly kind: Change['kind']; readonly path: Buffer; readonly key: Buffer }[]
  #at = 0

  constructor(changes: readonly Change[]) {
    this.#changes = changes
      .map(({ kind, path }) => ({ kind, path: path.subarray(1), key: walkKey(path.subarray(1)) }))
      .sort((a, b) => Buffer.compare(a.key, b.key))
  }

  /** The deleted names that come before `path`; all that are left where it is undefined. */
  *deletedBefore(path: Buffer | undefined): Generator<Buffer, void, undefined> {
    const key = path === undefined ? undefined : walkKey(path)
    for (;;) {
      const next = this.#changes[this.#at]
      if (next === undefined || (key !== undefined && Buffer.compare(next.key, key) >= 0)) return
      this.#at++
      // A file that went while the tree was read is in no diff; the next one tells of it.
      if (next.kind === 'D') yield next.path
    }
  }

  /** Leaves what comes before `path` behind. */
  pass(path: Buffer): void {
    const passed = this.deletedBefore(path)
    while (passed.next().done !== true);
  }

  /** Whether `path` is the next change; it has passed then. */
  take(path: Buffer): boolean {
    const next = this.#changes[this.#at]
    if (next?.path.equals(path) !== true) return false
    this.#at++
    return next.kind !== 'D'
  }
}

/** Sorts as the walk does: a folder's content before what follows the folder. No name has a byte 0. */
function walkKey(path: Buffer): Buffer {
  return Buffer.from(path.map((byte) => (byte === 0x2f ? 0 : byte)))
}

/** Of a deleted name nothing is left to tell: root's, at no time, so that two diffs are the same. */
function whiteoutMember(path: Buffer): TarMember {
  const slash = path.lastIndexOf(0x2f) + 1
  return {
    name: joinBytes(path.subarray(0, Math.max(slash - 1, 0)), whiteoutName(path.subarray(slash))),
    type: 'file',
    mode: 0o600,
    uid: 0,
    gid: 0,
    size: 0,
    mtimeSec: 0,
  }
}
