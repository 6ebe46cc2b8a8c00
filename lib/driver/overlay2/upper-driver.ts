/**
 * A driver whose layers are upper directories, each with the chain of those below it: overlay2's home, and what all who
 * use it do alike. See {@link Driver} for what each method promises, layout.ts for the home.
 */
import { unlinkSync } from 'node:fs'
import { join } from 'node:path'
import { OverlaidError } from '../../errors.ts'
import { fsyncDir, mkdirDurable } from '../../fs/atomic.ts'
import { readText } from '../../fs/read-text.ts'
import { failpoint } from '../../fs/failpoint.ts'
import { diskUsageOf } from '../../fs/usage.ts'
import type { Detached } from '../../native/mount.ts'
import type {
  ApplyOptions,
  Change,
  Driver,
  DriverProblem,
  FileGetter,
  LayerPaths,
  LayerQuota,
  OpenOptions,
  ReadWriteOptions,
  StagedLayer,
} from '../driver.ts'
import { type TarPiece, TarStream } from '../tar-stream.ts'
import type { UpperBackend } from './backend.ts'
import { createLayer } from './create.ts'
import { type Home, idsIn } from '../home/home.ts'
import { HomeDriver } from '../home/home-driver.ts'
import { clearLimit, ownProject, quotaOf } from '../home/project-quota.ts'
import { folderOf, isLayerID, type LayerFolder, LINK_DIR, MODES } from './layout.ts'
import { existingFolder, findIDOfLink, idOfLink, layerExists, readLower } from './links.ts'
import { sizeOfDiff, UpperReader } from './upper-reader.ts'

// Not in the methods: in a function with `await using` TypeScript 6.0 leaves the .ts of an import() as it is.
const importDiff = () => import('../upper/diff.ts')
const importChanges = () => import('../upper/changes.ts')

export class UpperDriver extends HomeDriver implements Driver {
  readonly name: string
  readonly server?: string
  readonly isDead?: (id: string, path: string) => Promise<boolean>
  readonly #backend: UpperBackend
  readonly #home: Home

  constructor(backend: UpperBackend) {
    super(backend.home, {
      ...(backend.server !== undefined && { server: backend.server }),
      endsLater: backend.server === undefined && backend.home.durability === 'none',
      ended: async (id) => backend.ended?.(id),
    })
    this.name = backend.name
    if (backend.server !== undefined) this.server = backend.server
    if (backend.isDead !== undefined) this.isDead = backend.isDead.bind(backend)
    this.#backend = backend
    this.#home = backend.home
  }

  async verify(): Promise<void> {
    return this.#backend.verify()
  }

  protected override async makeFolders(): Promise<void> {
    await mkdirDurable(join(this.home, LINK_DIR), { mode: MODES.links, durability: this.#home.durability })
  }

  ownFolder(id: string): string {
    return folderOf(this.home, id).diff
  }

  protected override openMount(id: string, options: OpenOptions): Promise<Detached> {
    return this.#backend.mountLayer(id, options)
  }

  override async idle(): Promise<void> {
    try {
      await super.idle()
    } finally {
      await this.#backend.release?.()
    }
  }

  async stage(): Promise<StagedLayer> {
    await this.prepare()
    const { stageLayer } = await import('./stage.ts')
    return await stageLayer(this.#backend)
  }

  async create(id: string, parent: string | undefined): Promise<void> {
    await this.#prepareOver(parent)
    await createLayer(this.#home, id, parent)
  }

  /** The same folder as create() makes: what is written in it, and whether a child is made on it, is the difference. */
  async createReadWrite(
    id: string,
    parent: string | undefined,
    options: ReadWriteOptions = {},
  ): Promise<void> {
    this.#backend.refuse?.(options)
    await this.#prepareOver(parent)
    await createLayer(this.#home, id, parent, options)
  }

  /** The kernel warns of an upper that another overlay still has. */
  async #prepareOver(parent: string | undefined): Promise<void> {
    await this.prepare()
    if (parent !== undefined) await this.mounts.ended(parent)
  }

  async quota(id: string): Promise<LayerQuota | undefined> {
    return await quotaOf(this.home, existingFolder(this.home, id).dir)
  }

  async exists(id: string): Promise<boolean> {
    return layerExists(this.home, id)
  }

  async parent(id: string): Promise<string | undefined> {
    const [first] = readLower(existingFolder(this.home, id))
    return first === undefined ? undefined : idOfLink(this.home, first)
  }

  mergedPath(id: string): string {
    return folderOf(this.home, id).merged
  }

  async remove(id: string, { sync = true }: { readonly sync?: boolean } = {}): Promise<void> {
    const folder = folderOf(this.home, id)
    await this.mounts.whileUnmounted(id, async () => {
      const link = readText(folder.link)?.trim()
      const project = await ownProject(this.home, folder.dir)
      failpoint('driver.remove.before-rename')
      if (!this.trash.add(folder.dir)) return
      if (sync) await fsyncDir(this.home, this.#home)
      failpoint('driver.remove.before-unlink')
      // After the rename: a crash between leaves a dangling link, which is rubbish; the reverse would be damage.
      if (link !== undefined && findIDOfLink(this.home, link) === id) {
        unlinkSync(join(this.home, LINK_DIR, link))
      }
      if (project !== undefined) await clearLimit(this.home, project)
    })
  }

  async applyDiff(
    id: string,
    parent: string | undefined,
    tar: AsyncIterable<Buffer>,
    options: ApplyOptions = {},
  ): Promise<number> {
    const folder = await this.#child(id, parent)
    const { applyTo } = await import('./stage.ts')
    return await applyTo(this.#backend, folder, parent, tar, options)
  }

  diff(id: string, parent: string | undefined, options: { readonly signal?: AbortSignal } = {}): TarStream {
    return new TarStream(this.#pieces(id, parent, options), options)
  }

  async *#pieces(
    id: string,
    parent: string | undefined,
    options: { readonly signal?: AbortSignal },
  ): AsyncGenerator<TarPiece, void, undefined> {
    const folder = await this.#child(id, parent)
    const { diffPieces } = await importDiff()
    await using upper = await UpperReader.open(this.#backend, id, folder)
    yield* diffPieces(upper.diff.fd, { ...upper.options, ...options })
  }

  async *changes(id: string, parent: string | undefined): AsyncGenerator<Change, void, undefined> {
    const folder = await this.#child(id, parent)
    const { listChanges } = await importChanges()
    await using upper = await UpperReader.open(this.#backend, id, folder)
    await using below = await this.#backend.openParentView(id)
    yield* await listChanges(upper.diff.fd, below?.fd.fd, upper.options)
  }

  async diffSize(id: string, parent: string | undefined): Promise<number> {
    const folder = await this.#child(id, parent)
    await using upper = await UpperReader.open(this.#backend, id, folder)
    return await sizeOfDiff(upper)
  }

  async diskUsage(id: string): Promise<number> {
    return await diskUsageOf(existingFolder(this.home, id).diff)
  }

  async openFiles(id: string): Promise<FileGetter> {
    existingFolder(this.home, id)
    await this.mounts.ended(id)
    const { LayerFiles } = await import('./files.ts')
    return new LayerFiles(this.#backend, id)
  }

  async metadata(id: string): Promise<LayerPaths> {
    const folder = existingFolder(this.home, id)
    const ids = readLower(folder).map((link) => idOfLink(this.home, link))
    return {
      lowerdir: ids.map((lower) => folderOf(this.home, lower).diff),
      upperdir: folder.diff,
      merged: folder.merged,
      ...(ids.length === 0 ? {} : { workdir: folder.work }),
    }
  }

  async status(): Promise<readonly (readonly [string, string])[]> {
    return this.#backend.status()
  }

  async list(): Promise<string[]> {
    return idsIn(this.home, isLayerID)
  }

  async check(referenced: ReadonlyMap<string, string | undefined>): Promise<DriverProblem[]> {
    const { checkHome } = await import('./check.ts')
    await this.trash.settled()
    return await checkHome(this.#home, await this.list(), referenced, (id) => this.remove(id), this.server)
  }

  /** The folder of a layer whose parent is this one. @throws ERR_LAYER_NOT_FOUND, ERR_INVALID_ARGUMENT */
  async #child(id: string, parent: string | undefined): Promise<LayerFolder> {
    const folder = existingFolder(this.home, id)
    await this.mounts.ended(id)
    const actual = await this.parent(id)
    if (actual === parent) return folder
    const text = `the parent of ${id} is ${actual ?? 'none'}, not ${parent ?? 'none'}`
    throw new OverlaidError(
      'ERR_INVALID_ARGUMENT',
      `${text}: an upper directory is a diff against its own parent`,
    )
  }
}
