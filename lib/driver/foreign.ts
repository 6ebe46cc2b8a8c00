/**
 * Layers of Docker's other drivers as files alone: what can be read of a data root when its driver, or what that needs
 * of the kernel, is gone.
 *
 *     aufs/diff/<id>               the layer's own content, deletions as `.wh.<name>`
 *     overlay/<id>/root            the whole tree, unchanged files as hard links to the parent's
 *     vfs/dir/<id>                 the whole tree
 *     btrfs/subvolumes/<id>        the whole tree
 *     zfs/graph/<id>               the whole tree, while its dataset is mounted there; else the dataset is mounted
 *     fuse-overlayfs/<id>/diff     as aufs
 */
import { join } from 'node:path'
import { hasCode, OverlaidError } from '../errors.ts'
import { walk } from '../fs/walk.ts'
import type { OwnedFd } from '../native/fd.ts'
import { mountIDAt } from '../native/mount.ts'
import type { FileGetter } from './driver.ts'
import type { ForeignName } from './foreign-names.ts'
import { TreeFiles } from './tree/files.ts'
import { naiveDiffPieces } from './tree/naive-diff.ts'
import { isFolder, openFolder } from '../fs/folder.ts'
import { type TarPiece, TarStream } from './tar-stream.ts'
import { isPackable, SMALL_BODY, TreePacker } from './tree-packer.ts'
import { compareTrees } from './upper/changes.ts'

interface Format {
  /** Below the driver's home. */
  readonly folder: (id: string) => string
  /** The folder shows the parents' content too. */
  readonly isWhole: boolean
}

const FORMATS: Readonly<Record<ForeignName, Format>> = {
  aufs: { folder: (id) => join('diff', id), isWhole: false },
  overlay: { folder: (id) => join(id, 'root'), isWhole: true },
  vfs: { folder: (id) => join('dir', id), isWhole: true },
  btrfs: { folder: (id) => join('subvolumes', id), isWhole: true },
  zfs: { folder: (id) => join('graph', id), isWhole: true },
  'fuse-overlayfs': { folder: (id) => join(id, 'diff'), isWhole: false },
}

export class ForeignLayers {
  readonly #home: string
  readonly #name: ForeignName
  readonly #format: Format

  /** @param root the data root */
  constructor(root: string, name: ForeignName) {
    this.#home = join(root, name)
    this.#name = name
    this.#format = FORMATS[name]
  }

  /** The files of `id` by their names in its archive. @throws ERR_DAMAGED */
  async openFiles(id: string): Promise<FileGetter> {
    return new TreeFiles(id, await this.#open(id))
  }

  /**
   * The content of `id` as a layer tar, for want of the archive that it came from.
   * @param parent the id of its parent, undefined for a base layer
   */
  tar(id: string, parent: string | undefined, options: { readonly signal?: AbortSignal } = {}): TarStream {
    const pieces = this.#format.isWhole ? this.#compared(id, parent, options) : this.#packed(id, options)
    return new TarStream(pieces, options)
  }

  async *#compared(
    id: string,
    parent: string | undefined,
    options: { readonly signal?: AbortSignal },
  ): AsyncGenerator<TarPiece, void, undefined> {
    using tree = await this.#open(id)
    using below = parent === undefined ? undefined : await this.#open(parent)
    const changes = await compareTrees(tree.fd, below?.fd, options)
    yield* naiveDiffPieces(tree.fd, changes, options.signal)
  }

  /** AUFS' marks are those of layer tars: they are packed as they are. */
  async *#packed(
    id: string,
    { signal }: { readonly signal?: AbortSignal },
  ): AsyncGenerator<TarPiece, void, undefined> {
    using folder = await this.#open(id)
    const packer = new TreePacker()
    let skipBelow = Infinity
    const reading = { xattrs: true, bodies: SMALL_BODY, ...(signal && { signal }) }
    for await (const entries of walk(folder.fd, reading)) {
      for (const entry of entries) {
        if (entry.depth > skipBelow) continue
        skipBelow = isAufsOwn(entry.name) ? entry.depth : Infinity
        if (skipBelow < Infinity || !isPackable(entry)) continue
        const body = packer.addEntry(entry, entry.path, () => entry.stat.ino.toString())
        if (body !== undefined) yield* packer.passOn(body)
        else if (packer.isFull) yield* packer.takeFull()
      }
    }
    packer.end()
    yield* packer.takeAll()
  }

  async #open(id: string): Promise<OwnedFd> {
    const path = join(this.#home, this.#format.folder(id))
    // An empty folder may be the place of a mount.
    if (this.#name === 'zfs' && (await mountIDAt(path)) === undefined) {
      const mounted = await openDataset(this.#home, id)
      if (mounted !== undefined) return mounted
    }
    if (isFolder(path)) return openFolder(path)
    throw new OverlaidError('ERR_DAMAGED', `the layer's folder ${path} is not there`, {
      path,
      hint: 'on btrfs or zfs the subvolume or dataset has to be there, and its pool imported',
    })
  }
}

/** The root of a layer's dataset; undefined where the home is on no ZFS, as in a copy, or has none of this name. */
async function openDataset(home: string, id: string): Promise<OwnedFd | undefined> {
  const { openZfs } = await import('./zfs/driver.ts')
  try {
    const tree = await openZfs(home, { durability: 'none' }).open(id, { readOnly: true })
    try {
      return openFolder(`/proc/self/fd/${String(tree.fd.fd)}/.`)
    } finally {
      await tree[Symbol.asyncDispose]()
    }
  } catch (error) {
    if (hasCode(error, 'ERR_UNSUPPORTED_FS', 'ERR_LAYER_NOT_FOUND')) return undefined
    throw error
  }
}

/** What AUFS keeps for itself in a branch (`.wh..wh.plnk`, `.wh..wh.orph`), and no mark of a layer. */
function isAufsOwn(name: Buffer): boolean {
  const text = name.toString('latin1')
  return text.startsWith('.wh..wh.') && text !== '.wh..wh..opq'
}
