/**
 * A driver that keeps each layer as a tree of its own: what works where no file system merges any. Nothing is shared
 * but what the backend's clone shares. See {@link Driver} for what each method promises, layout.ts for the home.
 *
 * Mounting shows the tree itself, with the mount's own flags: a bind, or the dataset of zfs. A layer that has children
 * is as writable as others, since what they show is theirs.
 */
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { OverlaidError } from '../../errors.ts'
import { mkdirDurable } from '../../fs/atomic.ts'
import { failpoint } from '../../fs/failpoint.ts'
import { openFolder } from '../../fs/folder.ts'
import { diskUsageOf } from '../../fs/usage.ts'
import type { Detached } from '../../native/mount.ts'
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
import { HomeDriver } from '../home/home-driver.ts'
import { stageUpper, type Unpacking } from '../home/staged.ts'
import { mountAttributes } from '../mount-attributes.ts'
import { noSizes } from '../refusals.ts'
import { type TarPiece, TarStream } from '../tar-stream.ts'
import { PASSING_MARKS } from '../upper/marks.ts'
import type { TreeBackend } from './backend.ts'
import { checkTrees } from './check.ts'
import { TreeFiles } from './files.ts'
import { expectMapping, forgetIDMap, mapped } from './id-map.ts'
import { expectID, MODES, notThere, parentFile, PARENTS_DIR } from './layout.ts'
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
      expectLayer: (id) => this.#expect(id),
      openTree: (id) => this.#openTree(id),
    }
  }

  async verify(): Promise<void> {
    return this.#backend.verify()
  }

  protected override async makeFolders(): Promise<void> {
    const { durability } = this.#backend.home
    await this.#backend.makeFolders()
    await mkdirDurable(join(this.home, PARENTS_DIR), { mode: MODES.folder, durability })
    await mkdirDurable(join(this.home, this.#backend.mergedDir), { mode: MODES.folder, durability })
  }

  async stage(): Promise<StagedLayer> {
    await this.prepare()
    return stageUpper(this.#backend.home, async (folder, diff) => {
      const upper = await this.#backend.createTree(diff)
      return new StagedTree(this.#unpacking, folder, this.#backend, upper)
    })
  }

  async create(id: string, parent: string | undefined): Promise<void> {
    await this.createReadWrite(id, parent)
  }

  async createReadWrite(
    id: string,
    parent: string | undefined,
    { size, idMap }: ReadWriteOptions = {},
  ): Promise<void> {
    expectID(id)
    if (parent !== undefined) expectID(parent)
    if (size !== undefined && this.#backend.limitTree === undefined) throw noSizes(this.name)
    await this.prepare()
    if (idMap !== undefined) await expectMapping(this.home, idMap)
    await createTree(this.#backend, { id, parent, size, idMap })
  }

  async quota(id: string): Promise<LayerQuota | undefined> {
    if (this.#backend.quotaOf === undefined) await this.#expect(id)
    return await this.#backend.quotaOf?.(expectID(id))
  }

  async renewQuota(id: string): Promise<void> {
    if (this.#backend.renewLimit === undefined) await this.#expect(id)
    await this.#backend.renewLimit?.(expectID(id))
  }

  async exists(id: string): Promise<boolean> {
    return await this.#backend.exists(expectID(id))
  }

  async parent(id: string): Promise<string | undefined> {
    await this.#expect(id)
    const known = readParent(this.home, id)
    return known === '' ? undefined : known
  }

  mergedPath(id: string): string {
    return join(this.home, this.#backend.mergedDir, expectID(id))
  }

  protected override async openMount(id: string, options: OpenOptions): Promise<Detached> {
    expectID(id)
    refuseOverlayOptions(this.name, options)
    if (options.readOnly !== true) await this.#backend.renewLimit?.(id)
    const { signal } = options
    return await mapped(this.home, id, options, () =>
      this.#backend.mount(id, mountAttributes(options), signal),
    )
  }

  async remove(id: string, { sync = true }: { readonly sync?: boolean } = {}): Promise<void> {
    expectID(id)
    await this.mounts.whileUnmounted(id, async () => {
      const left = await this.#backend.leave?.(id)
      failpoint('driver.tree-remove.before-rename')
      if (!(await this.#backend.remove(id, this.trash, sync))) return
      failpoint('driver.tree-remove.before-parent')
      await rm(parentFile(this.home, id), { force: true })
      forgetIDMap(this.home, id)
      await this.#backend.forget?.(id)
      await left?.()
    })
  }

  override async emptyTrash(): Promise<number> {
    const bytes = (await this.#backend.trash?.empty()) ?? 0
    return bytes + (await super.emptyTrash())
  }

  override emptyTrashSoon(): void {
    super.emptyTrashSoon()
    this.#backend.trash?.start()
  }

  override async idle(): Promise<void> {
    await super.idle()
    await this.#backend.trash?.idle()
  }

  async applyDiff(
    id: string,
    parent: string | undefined,
    tar: AsyncIterable<Buffer>,
    options: ApplyOptions = {},
  ): Promise<number> {
    this.#expectParent(id, parent)
    await using tree = await this.#backend.open(id)
    return await applyOnto(this.#unpacking, tree.path, tar, options)
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
    this.#expectParent(id, parent)
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
    expectID(id)
    if (this.#backend.diskUsageOf !== undefined) return await this.#backend.diskUsageOf(id)
    const parent = this.#backend.clonesShare ? readParent(this.home, id) : undefined
    // Of a layer of moby's the parent is not known: then all that it shows is counted.
    if (parent === undefined || parent === '' || !(await this.#backend.exists(parent))) {
      await using whole = await this.#backend.open(id)
      return await diskUsageOf(whole.path)
    }
    const { naiveDiskUsage } = await importNaiveDiff()
    const changes = await this.#changes(id, parent, {})
    await using tree = await this.#openTree(id)
    return await naiveDiskUsage(tree.fd.fd, changes)
  }

  async openFiles(id: string): Promise<FileGetter> {
    await using tree = await this.#backend.open(expectID(id))
    return new TreeFiles(id, openFolder(tree.path))
  }

  async metadata(id: string): Promise<LayerPaths> {
    await this.#expect(id)
    return { lowerdir: [], upperdir: this.#backend.pathOf(id), merged: this.mergedPath(id) }
  }

  costOf(layers: readonly LayerWeight[]): string | undefined {
    return this.#backend.costOf?.(layers)
  }

  async status(): Promise<readonly (readonly [string, string])[]> {
    return this.#backend.status()
  }

  async list(): Promise<string[]> {
    return await this.#backend.list()
  }

  async check(referenced: ReadonlyMap<string, string | undefined>): Promise<DriverProblem[]> {
    await this.trash.settled()
    await this.#backend.trash?.settled()
    return await checkTrees(this.#backend, referenced, (id) => this.remove(id))
  }

  /** @throws ERR_LAYER_NOT_FOUND, ERR_INVALID_ARGUMENT */
  async #expect(id: string): Promise<void> {
    if (await this.#backend.exists(expectID(id))) return
    throw notThere(id)
  }

  /** That the parent of a layer is this one, as far as that is written down. @throws ERR_INVALID_ARGUMENT */
  #expectParent(id: string, parent: string | undefined): void {
    expectID(id)
    if (parent !== undefined) expectID(parent)
    const actual = readParent(this.home, id)
    if (actual === undefined || actual === (parent ?? '')) return
    const text = `the parent of ${id} is ${actual === '' ? 'none' : actual}, not ${parent ?? 'none'}`
    throw new OverlaidError('ERR_INVALID_ARGUMENT', text)
  }

  async #openTree(id: string): Promise<DetachedMount> {
    return detached(await this.#backend.mount(id, mountAttributes({ readOnly: true })))
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
