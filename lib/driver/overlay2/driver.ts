/**
 * Docker's overlay2: each layer a folder that holds its own changes in overlayfs' form, merged by the kernel.
 *
 *     const driver = openOverlay2('/var/lib/overlaid/overlay2', { durability: 'full' })
 *     await driver.prepare()                       // can this machine do it? makes the home
 *
 *     const staged = await driver.stage()          // staging/<x>/layer/diff, locked, without a name
 *     await staged.apply(tar)                      // files, whiteouts as 0:0 devices, opaque directories as xattrs
 *     await staged.commit(cacheID, parentID)       // lower, link, l/<link>, then one rename to <cacheID>
 *
 *     await driver.createReadWrite(id, cacheID)    // an empty diff, and a work folder beside it
 *     const root = await driver.get(id)            // <id>/merged: diff over the chain that `lower` names
 *     await writeFile(join(root, 'new'), 'x')      // the kernel writes it into <id>/diff/new
 *     await driver.put(id)
 *     for await (const bytes of driver.diff(id, cacheID)) …   // <id>/diff as a layer tar
 *
 * The parts: layout.ts draws the home; stage.ts has the commit protocol; mount-layer.ts and mount.ts make mounts;
 * ../upper/ unpacks into an upper directory and reads it; check.ts finds what is broken or left over. What mounts
 * don't need is imported when it is first asked for.
 */
import { unlinkSync } from 'node:fs'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { hasCode, OverlaidError } from '../../errors.ts'
import { type Durability, fsyncDir, mkdirDurable } from '../../fs/atomic.ts'
import { failpoint } from '../../fs/failpoint.ts'
import { diskUsageOf } from '../../fs/usage.ts'
import type {
  ApplyOptions,
  Change,
  DetachedMount,
  Driver,
  DriverProblem,
  FileGetter,
  LayerPaths,
  LayerQuota,
  MountOptions,
  OpenOptions,
  ReadWriteOptions,
  StagedLayer,
} from '../driver.ts'
import { describeBacking } from '../backing.ts'
import { detached } from '../detached.ts'
import { type TarPiece, TarStream } from '../tar-stream.ts'
import { createLayer } from './create.ts'
import { type Home, makeHome } from '../home/home.ts'
import { Mounts } from '../home/mounts.ts'
import { clearLimit, ownProject, quotaOf } from '../home/project-quota.ts'
import { folderOf, isLayerID, type LayerFolder, LINK_DIR, MODES } from './layout.ts'
import { existingFolder, findIDOfLink, idOfLink, layerExists, readLower, readText } from './links.ts'
import { Trash } from '../home/trash.ts'
import { sizeOfDiff, UpperReader } from './upper-reader.ts'
import { mountLayer } from './mount-layer.ts'
import { openParentView } from './view.ts'

export interface Overlay2Options {
  readonly durability: Durability
}

// Not in the methods: in a function with `await using` TypeScript 6.0 leaves the .ts of an import() as it is.
const importDiff = () => import('../upper/diff.ts')
const importChanges = () => import('../upper/changes.ts')

/** Opens the driver on its home, `<root>/overlay2`. Reads and writes nothing yet. */
export function openOverlay2(home: string, options: Overlay2Options): Overlay2Driver {
  return new Overlay2Driver({ path: home, durability: options.durability })
}

/** See {@link Driver} for what each method promises. */
export class Overlay2Driver implements Driver {
  readonly name = 'overlay2'
  readonly home: string
  readonly #home: Home
  readonly #mounts: Mounts
  readonly #trash: Trash
  #prepared: Promise<void> | undefined

  constructor(home: Home) {
    this.home = home.path
    this.#home = home
    this.#mounts = new Mounts({
      mergedPath: (id) => this.mergedPath(id),
      openMount: (id, options) => mountLayer(home, id, options),
    })
    this.#trash = new Trash(home.path)
  }

  async verify(): Promise<void> {
    const { verifySupport } = await import('./support.ts')
    return verifySupport(this.home)
  }

  async prepare({ verified = false }: { readonly verified?: boolean } = {}): Promise<void> {
    this.#prepared ??= this.#prepare(verified)
    try {
      await this.#prepared
    } catch (error) {
      // A refusal may be mended and tried again.
      this.#prepared = undefined
      throw error
    }
  }

  async #prepare(verified: boolean): Promise<void> {
    if (!verified) await this.verify()
    await makeHome(this.#home)
    await mkdirDurable(join(this.home, LINK_DIR), { mode: MODES.links, durability: this.#home.durability })
  }

  async stage(): Promise<StagedLayer> {
    await this.prepare()
    const { stageLayer } = await import('./stage.ts')
    return await stageLayer(this.#home)
  }

  async create(id: string, parent: string | undefined): Promise<void> {
    await this.prepare()
    await createLayer(this.#home, id, parent)
  }

  /** The same folder as create() makes: what is written in it, and whether a child is made on it, is the difference. */
  async createReadWrite(
    id: string,
    parent: string | undefined,
    options: ReadWriteOptions = {},
  ): Promise<void> {
    await this.prepare()
    await createLayer(this.#home, id, parent, options)
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

  async get(id: string, options: MountOptions = {}): Promise<string> {
    return await this.#mounts.get(id, options)
  }

  async put(id: string, options: { readonly force?: boolean } = {}): Promise<void> {
    await this.#mounts.put(id, options.force === true)
  }

  async open(id: string, options: OpenOptions = {}): Promise<DetachedMount> {
    return detached(await mountLayer(this.#home, id, options))
  }

  async remove(id: string): Promise<void> {
    const folder = folderOf(this.home, id)
    await this.#mounts.whileUnmounted(id, async () => {
      const link = readText(folder.link)?.trim()
      const project = await ownProject(this.home, folder.dir)
      failpoint('driver.remove.before-rename')
      if (!this.#trash.add(folder.dir)) return
      await fsyncDir(this.home, this.#home)
      failpoint('driver.remove.before-unlink')
      // After the rename: a crash between leaves a dangling link, which is rubbish; the reverse would be damage.
      if (link !== undefined && findIDOfLink(this.home, link) === id) {
        unlinkSync(join(this.home, LINK_DIR, link))
      }
      if (project !== undefined) await clearLimit(this.home, project)
    })
  }

  async emptyTrash(): Promise<number> {
    return await this.#trash.empty()
  }

  emptyTrashSoon(): void {
    this.#trash.start()
  }

  async idle(): Promise<void> {
    await this.#trash.idle()
  }

  async applyDiff(
    id: string,
    parent: string | undefined,
    tar: AsyncIterable<Buffer>,
    options: ApplyOptions = {},
  ): Promise<number> {
    const folder = await this.#child(id, parent)
    const { applyTo } = await import('./stage.ts')
    return await applyTo(this.#home, folder, parent, tar, options)
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
    await using upper = await UpperReader.open(this.home, id, folder)
    yield* diffPieces(upper.diff.fd, { ...upper.options, ...options })
  }

  async *changes(id: string, parent: string | undefined): AsyncGenerator<Change, void, undefined> {
    const folder = await this.#child(id, parent)
    const { listChanges } = await importChanges()
    await using upper = await UpperReader.open(this.home, id, folder)
    await using below = await openParentView(this.home, id)
    yield* await listChanges(upper.diff.fd, below?.fd.fd, upper.options)
  }

  async diffSize(id: string, parent: string | undefined): Promise<number> {
    const folder = await this.#child(id, parent)
    await using upper = await UpperReader.open(this.home, id, folder)
    return await sizeOfDiff(upper)
  }

  async diskUsage(id: string): Promise<number> {
    return await diskUsageOf(existingFolder(this.home, id).diff)
  }

  async openFiles(id: string): Promise<FileGetter> {
    existingFolder(this.home, id)
    const { LayerFiles } = await import('./files.ts')
    return new LayerFiles(this.home, id)
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
    const { name, dType } = await describeBacking(this.home)
    return [
      ['Backing Filesystem', name],
      ['Supports d_type', dType === undefined ? 'unknown' : String(dType)],
      ['Using metacopy', 'false'],
      ['Native Overlay Diff', 'true'],
      ['userxattr', 'false'],
    ]
  }

  async list(): Promise<string[]> {
    try {
      const entries = await readdir(this.home, { withFileTypes: true })
      return entries.filter((entry) => entry.isDirectory() && isLayerID(entry.name)).map(({ name }) => name)
    } catch (error) {
      if (hasCode(error, 'ENOENT')) return []
      throw error
    }
  }

  async check(referenced: ReadonlyMap<string, string | undefined>): Promise<DriverProblem[]> {
    const { checkHome } = await import('./check.ts')
    await this.#trash.settled()
    return await checkHome(this.#home, await this.list(), referenced, (id) => this.remove(id))
  }

  async cleanup(): Promise<void> {
    await this.#mounts.unmountAll()
    await this.idle()
  }

  /** The folder of a layer whose parent is this one. @throws ERR_LAYER_NOT_FOUND, ERR_INVALID_ARGUMENT */
  async #child(id: string, parent: string | undefined): Promise<LayerFolder> {
    const folder = existingFolder(this.home, id)
    const actual = await this.parent(id)
    if (actual === parent) return folder
    const text = `the parent of ${id} is ${actual ?? 'none'}, not ${parent ?? 'none'}`
    throw new OverlaidError(
      'ERR_INVALID_ARGUMENT',
      `${text}: an upper directory is a diff against its own parent`,
    )
  }
}
