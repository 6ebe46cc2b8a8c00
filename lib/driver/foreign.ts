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
 *
 * Those of devicemapper are on devices of a pool, which devicemapper/pool.ts opens.
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

/** A layer's folder while it can be read. */
export interface LayerTree extends AsyncDisposable {
  readonly fd: OwnedFd
}

/** The folders of a driver's layers. */
export interface LayerFolders extends AsyncDisposable {
  /** @throws ERR_DAMAGED */
  open(id: string): Promise<LayerTree>
}

interface Format {
  /** Below the driver's home. */
  readonly folder: (id: string) => string
  /** The folder shows the parents' content too. */
  readonly isWhole: boolean
}

const FORMATS: Readonly<Record<Exclude<ForeignName, 'devicemapper'>, Format>> = {
  aufs: { folder: (id) => join('diff', id), isWhole: false },
  overlay: { folder: (id) => join(id, 'root'), isWhole: true },
  vfs: { folder: (id) => join('dir', id), isWhole: true },
  btrfs: { folder: (id) => join('subvolumes', id), isWhole: true },
  zfs: { folder: (id) => join('graph', id), isWhole: true },
  'fuse-overlayfs': { folder: (id) => join(id, 'diff'), isWhole: false },
}

/** Opens what the driver `name` left in the data root `root`. */
export async function openForeignLayers(root: string, name: ForeignName): Promise<ForeignLayers> {
  const home = join(root, name)
  if (name === 'devicemapper') {
    const { ThinPool } = await import('./devicemapper/pool.ts')
    return new ForeignLayers(await ThinPool.open(home), true)
  }
  const { folder, isWhole } = FORMATS[name]
  const pathOf = (id: string): string => join(home, folder(id))
  return new ForeignLayers(name === 'zfs' ? new Datasets(home, pathOf) : new PlainFolders(pathOf), isWhole)
}

export class ForeignLayers implements AsyncDisposable {
  readonly #folders: LayerFolders
  readonly #isWhole: boolean

  /** @param isWhole the folders show the parents' content too */
  constructor(folders: LayerFolders, isWhole: boolean) {
    this.#folders = folders
    this.#isWhole = isWhole
  }

  /** The files of `id` by their names in its archive. @throws ERR_DAMAGED */
  async openFiles(id: string): Promise<FileGetter> {
    const tree = await this.#folders.open(id)
    const files = new TreeFiles(id, tree.fd)
    return {
      open: (name) => files.open(name),
      [Symbol.asyncDispose]: () => tree[Symbol.asyncDispose](),
    }
  }

  /**
   * The content of `id` as a layer tar, for want of the archive that it came from.
   * @param parent the id of its parent, undefined for a base layer
   */
  tar(id: string, parent: string | undefined, options: { readonly signal?: AbortSignal } = {}): TarStream {
    const pieces = this.#isWhole ? this.#compared(id, parent, options) : this.#packed(id, options)
    return new TarStream(pieces, options)
  }

  async *#compared(
    id: string,
    parent: string | undefined,
    options: { readonly signal?: AbortSignal },
  ): AsyncGenerator<TarPiece, void, undefined> {
    await using tree = await this.#folders.open(id)
    await using below = parent === undefined ? undefined : await this.#folders.open(parent)
    const changes = await compareTrees(tree.fd.fd, below?.fd.fd, options)
    yield* naiveDiffPieces(tree.fd.fd, changes, options.signal)
  }

  /** AUFS' marks are those of layer tars: they are packed as they are. */
  async *#packed(
    id: string,
    { signal }: { readonly signal?: AbortSignal },
  ): AsyncGenerator<TarPiece, void, undefined> {
    await using folder = await this.#folders.open(id)
    const packer = new TreePacker()
    let skipBelow = Infinity
    const reading = { xattrs: true, bodies: SMALL_BODY, ...(signal && { signal }) }
    for await (const entries of walk(folder.fd.fd, reading)) {
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

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#folders[Symbol.asyncDispose]()
  }
}

/** Layers that are folders of the data root. */
class PlainFolders implements LayerFolders {
  readonly #pathOf: (id: string) => string

  constructor(pathOf: (id: string) => string) {
    this.#pathOf = pathOf
  }

  async open(id: string): Promise<LayerTree> {
    const path = this.#pathOf(id)
    if (!isFolder(path)) {
      throw new OverlaidError('ERR_DAMAGED', `the layer's folder ${path} is not there`, {
        path,
        hint: 'on btrfs or zfs the subvolume or dataset has to be there, and its pool imported',
      })
    }
    const fd = openFolder(path)
    return { fd, [Symbol.asyncDispose]: () => fd.closeAsync() }
  }

  /** It holds nothing open itself. */
  [Symbol.asyncDispose](): Promise<void> {
    return Promise.resolve()
  }
}

/** Datasets, which are mounted to be read where they are not mounted at their folders. */
class Datasets extends PlainFolders {
  readonly #home: string
  readonly #placeOf: (id: string) => string

  constructor(home: string, placeOf: (id: string) => string) {
    super(placeOf)
    this.#home = home
    this.#placeOf = placeOf
  }

  override async open(id: string): Promise<LayerTree> {
    const isMounted = (await mountIDAt(this.#placeOf(id))) !== undefined
    return (isMounted ? undefined : await this.#mount(id)) ?? (await super.open(id))
  }

  /** Undefined where the home is on no ZFS, as in a copy, or has none of this name. */
  async #mount(id: string): Promise<LayerTree | undefined> {
    const { openZfs } = await import('./zfs/driver.ts')
    try {
      return await openZfs(this.#home, { durability: 'none' }).open(id, { readOnly: true })
    } catch (error) {
      if (hasCode(error, 'ERR_UNSUPPORTED_FS', 'ERR_LAYER_NOT_FOUND')) return undefined
      throw error
    }
  }
}

/** What AUFS keeps for itself in a branch (`.wh..wh.plnk`, `.wh..wh.orph`), and no mark of a layer. */
function isAufsOwn(name: Buffer): boolean {
  const text = name.toString('latin1')
  return text.startsWith('.wh..wh.') && text !== '.wh..wh..opq'
}
