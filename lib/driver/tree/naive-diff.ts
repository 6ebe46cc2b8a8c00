/**
 * A layer's own content as a layer tar, found by comparing its tree with the parent's: what a driver does whose layers
 * are whole trees.
 *
 * The form is that of an upper directory's diff (../upper/diff.ts). What it cannot tell is what leaves no trace in a
 * whole tree: a folder that was removed and made again, with the same names in it, is a folder that was changed.
 */
import { constants } from 'node:fs'
import { openDeep } from '../../fs/open-deep.ts'
import { joinBytes, walk, type WalkEntry } from '../../fs/walk.ts'
import { OwnedFd } from '../../native/fd.ts'
import { whiteoutName } from '../../oci/whiteout.ts'
import type { TarMember } from '../../tar/encode.ts'
import type { Change } from '../driver.ts'
import type { TarPiece } from '../tar-stream.ts'
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
  for await (const entries of walk(treeFd, { xattrs: true, ...(signal && { signal }) })) {
    for (const entry of entries) {
      for (const path of rest.deletedBefore(entry.path)) packer.add(whiteoutMember(path))
      if (!rest.take(entry.path) || !isPackable(entry)) continue
      yield* packEntry(packer, treeFd, entry)
      if (packer.isFull) yield* packer.takeFull()
    }
  }
  for (const path of rest.deletedBefore(undefined)) packer.add(whiteoutMember(path))
  packer.end()
  yield* packer.takeAll()
}

async function* packEntry(
  packer: TreePacker,
  treeFd: number,
  entry: WalkEntry,
): AsyncGenerator<TarPiece, void, undefined> {
  const { path, stat } = entry
  // A btrfs subvolume is a device of its own, with the same inode numbers as the next.
  const inode = (): string => `${String(stat.devMajor)}:${String(stat.devMinor)}:${String(stat.ino)}`
  if (!isRegular(stat.mode) || stat.size === 0) {
    packer.addEntry(entry, path, inode)
    return
  }
  using file = new OwnedFd(await openDeep(treeFd, path, OPEN_FILE))
  const body = packer.addEntry(entry, path, inode, file.fd)
  if (body !== undefined) yield* packer.passOn(body)
}

function isRegular(mode: number): boolean {
  return (mode & constants.S_IFMT) === constants.S_IFREG
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
