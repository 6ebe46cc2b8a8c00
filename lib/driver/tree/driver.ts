/**
 * A driver that keeps each layer as a tree of its own: what works where no file system merges any. Nothing is shared
 * but what the backend's clone shares. See {@link Driver} for what each method promises, layout.ts for the home.
 *
 * Mounting is a bind: the tree itself, with the mount's own flags. A layer that has children is as writable as others,
 * since what they show is theirs.
 */
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { OverlaidError } from '../../errors.ts'
import { fsyncDir, mkdirDurable } from '../../fs/atomic.ts'
import { failpoint } from '../../fs/failpoint.ts'
import { isFolder, openFolder } from '../../fs/folder.ts'
import { diskUsageOf } from '../../fs/usage.ts'
import { cloneMount, type Detached } from '../../native/mount.ts'
import type {
  ApplyOptions,
  Change,
  DetachedMount,
  Driver,
  DriverProblem,
  FileGetter,
  LayerPaths,
  LayerQuota,
  LayerWeight,
  MountOptions,
  OpenOptions,
  ReadWriteOptions,
  StagedLayer,
} from '../driver.ts'
import { detached } from '../detached.ts'
import { isPlainID } from '../home/home.ts'
import { HomeDriver } from '../home/home-driver.ts'
import { stageUpper, type Unpacking } from '../home/staged.ts'
import { mountAttributes } from '../mount-attributes.ts'
import { noSizes } from '../refusals.ts'
import { type TarPiece, TarStream } from '../tar-stream.ts'
import { PASSING_MARKS } from '../upper/marks.ts'
import type { TreeBackend } from './backend.ts'
import { checkTrees } from './check.ts'
import { TreeFiles } from './files.ts'
import { expectID, MERGED_DIR, mergedFolder, MODES, parentFile, PARENTS_DIR } from './layout.ts'
import { expectMapping, forgetIDMap, mountTree } from './id-map.ts'
import { readParent } from './parent.ts'
import { createTree, StagedTree } from './stage.ts'
import { applyOnto } from './apply.ts'

// Not in the methods: in a function with `await using` TypeScript 6.0 leaves the .ts of an import() as it is.
const importChanges = () => import('../upper/changes.ts')
const importNaiveDiff = () => import('./naive-diff.ts')

export class TreeDriver extends HomeDriver implements Driver {
  readonly name: string
  readonly #backend: TreeBackend
  readonly #unpacking: Unpacking

  constructor(backend: TreeBackend) {
    super(backend.home)
    this.name = backend.name
    this.#backend = backend
    this.#unpacking = {
      home: backend.home,
      marks: PASSING_MARKS,
      expectLayer: (id) => void this.#existing(id),
      openTree: (id) => this.#openTree(id),
      makeUpper: (path) => backend.createTree(path),
    }
  }

  async verify(): Promise<void> {
    return this.#backend.verify()
  }

  protected override async makeFolders(): Promise<void> {
    const { durability } = this.#backend.home
    await mkdirDurable(join(this.home, this.#backend.treesDir), { mode: MODES.trees, durability })
    await mkdirDurable(join(this.home, PARENTS_DIR), { mode: MODES.folder, durability })
    await mkdirDurable(join(this.home, MERGED_DIR), { mode: MODES.folder, durability })
  }

  async stage(): Promise<StagedLayer> {
    await this.prepare()
    const make = (id: string): string => this.#pathOf(id)
    return stageUpper(
      this.#unpacking,
      (folder) => new StagedTree(this.#unpacking, folder, this.#backend, make),
    )
  }

  async create(id: string, parent: string | undefined): Promise<void> {
    await this.createReadWrite(id, parent)
  }

  async createReadWrite(
    id: string,
    parent: string | undefined,
    { size, idMap }: ReadWriteOptions = {},
  ): Promise<void> {
    if (size !== undefined && this.#backend.limitTree === undefined) throw noSizes(this.name)
    await this.prepare()
    if (parent !== undefined) this.#existing(parent)
    if (idMap !== undefined) await expectMapping(this.home, idMap)
    await createTree(this.#backend, (name) => this.#pathOf(name), { id, parent, size, idMap })
  }

  async quota(id: string): Promise<LayerQuota | undefined> {
    const path = this.#existing(id)
    return await this.#backend.quotaOf?.(path)
  }

  async renewQuota(id: string): Promise<void> {
    const path = this.#existing(id)
    await this.#backend.renewLimit?.(path, id)
  }

  async exists(id: string): Promise<boolean> {
    return isFolder(this.#pathOf(id))
  }

  async parent(id: string): Promise<string | undefined> {
    this.#existing(id)
    const known = readParent(this.home, id)
    return known === '' ? undefined : known
  }

  mergedPath(id: string): string {
    return mergedFolder(this.home, id)
  }

  protected override async openMount(id: string, options: OpenOptions): Promise<Detached> {
    const path = this.#existing(id)
    refuseOverlayOptions(this.name, options)
    if (options.readOnly !== true) await this.#backend.renewLimit?.(path, id)
    return await mountTree(this.home, id, path, options)
  }

  async remove(id: string, { sync = true }: { readonly sync?: boolean } = {}): Promise<void> {
    const path = this.#pathOf(id)
    await this.mounts.whileUnmounted(id, async () => {
      const left = await this.#backend.leave?.(path)
      failpoint('driver.tree-remove.before-rename')
      if (!this.trash.add(path)) return
      if (sync) await fsyncDir(join(this.home, this.#backend.treesDir), this.#backend.home)
      failpoint('driver.tree-remove.before-parent')
      await rm(parentFile(this.home, id), { force: true })
      forgetIDMap(this.home, id)
      await this.#backend.forget?.(id)
      await left?.()
    })
  }

  async applyDiff(
    id: string,
    parent: string | undefined,
    tar: AsyncIterable<Buffer>,
    options: ApplyOptions = {},
  ): Promise<number> {
    const path = await this.#child(id, parent)
    return await applyOnto(this.#unpacking, path, tar, options)
  }

  diff(id: string, parent: string | undefined, options: { readonly signal?: AbortSignal } = {}): TarStream {
    return new TarStream(this.#pieces(id, parent, options), options)
  }

  async *#pieces(
    id: string,
    parent: string | undefined,
    options: { readonly signal?: AbortSignal },
  ): AsyncGenerator<TarPiece, void, undefined> {
    const { naiveDiffPieces } = await importNaiveDiff()
    const changes = await this.#changes(id, parent, { ...options, exact: true })
    await using tree = await this.#openTree(id)
    yield* naiveDiffPieces(tree.fd.fd, changes, options.signal)
  }

  async *changes(id: string, parent: string | undefined): AsyncGenerator<Change, void, undefined> {
    yield* await this.#changes(id, parent, {})
  }

  async #changes(
    id: string,
    parent: string | undefined,
    options: { readonly exact?: boolean; readonly signal?: AbortSignal },
  ): Promise<Change[]> {
    await this.#child(id, parent)
    const { compareTrees } = await importChanges()
    await using tree = await this.#openTree(id)
    await using below = parent === undefined ? undefined : await this.#openTree(parent)
    return await compareTrees(tree.fd.fd, below?.fd.fd, options)
  }

  async diffSize(id: string, parent: string | undefined): Promise<number> {
    const { naiveDiffSize } = await importNaiveDiff()
    const changes = await this.#changes(id, parent, { exact: true })
    await using tree = await this.#openTree(id)
    return await naiveDiffSize(tree.fd.fd, changes)
  }

  async diskUsage(id: string): Promise<number> {
    const path = this.#existing(id)
    const parent = this.#backend.clonesShare ? readParent(this.home, id) : undefined
    // Of a layer of moby's the parent is not known: then all that it shows is counted.
    if (parent === undefined || parent === '' || !isFolder(this.#pathOf(parent)))
      return await diskUsageOf(path)
    const { naiveDiskUsage } = await importNaiveDiff()
    const changes = await this.#changes(id, parent, {})
    await using tree = await this.#openTree(id)
    return await naiveDiskUsage(tree.fd.fd, changes)
  }

  async openFiles(id: string): Promise<FileGetter> {
    return new TreeFiles(id, openFolder(this.#existing(id)))
  }

  async metadata(id: string): Promise<LayerPaths> {
    return { lowerdir: [], upperdir: this.#existing(id), merged: this.mergedPath(id) }
  }

  costOf(layers: readonly LayerWeight[]): string | undefined {
    return this.#backend.costOf?.(layers)
  }

  async status(): Promise<readonly (readonly [string, string])[]> {
    return this.#backend.status()
  }

  async list(): Promise<string[]> {
    return this.idsIn(join(this.home, this.#backend.treesDir), isPlainID)
  }

  async check(referenced: ReadonlyMap<string, string | undefined>): Promise<DriverProblem[]> {
    await this.trash.settled()
    const pathOf = (id: string): string => this.#pathOf(id)
    return checkTrees(this.#backend, pathOf, await this.list(), referenced, (id) => this.remove(id))
  }

  #pathOf(id: string): string {
    return join(this.home, this.#backend.treesDir, expectID(id))
  }

  /** The tree of a layer that is there. @throws ERR_LAYER_NOT_FOUND, ERR_INVALID_ARGUMENT */
  #existing(id: string): string {
    const path = this.#pathOf(id)
    if (isFolder(path)) return path
    throw new OverlaidError('ERR_LAYER_NOT_FOUND', `there is no layer ${id}`)
  }

  /** The tree of a layer whose parent is this one, as far as that is written down. Same errors. */
  async #child(id: string, parent: string | undefined): Promise<string> {
    const path = this.#existing(id)
    const actual = readParent(this.home, id)
    if (parent !== undefined) this.#existing(parent)
    if (actual === undefined || actual === (parent ?? '')) return path
    const text = `the parent of ${id} is ${actual === '' ? 'none' : actual}, not ${parent ?? 'none'}`
    throw new OverlaidError('ERR_INVALID_ARGUMENT', text)
  }

  async #openTree(id: string): Promise<DetachedMount> {
    return detached(await cloneMount(this.#existing(id), mountAttributes({ readOnly: true })))
  }
}

const OVERLAY_OPTIONS = ['volatile', 'redirectDir', 'metacopy', 'xino', 'userxattr', 'context'] as const

/** @throws ERR_INVALID_ARGUMENT for what only overlayfs has */
function refuseOverlayOptions(name: string, options: MountOptions): void {
  const asked = OVERLAY_OPTIONS.filter((option) => options[option] !== undefined && options[option] !== false)
  if (asked.length === 0) return
  throw new OverlaidError(
    'ERR_INVALID_ARGUMENT',
    `the driver ${name} mounts no overlay: it has no option ${asked.join(', ')}`,
  )
}
