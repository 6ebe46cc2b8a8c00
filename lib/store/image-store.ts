/** Images: configs in imagedb, names in repositories.json, layers in layerdb. */
import { join } from 'node:path'
import type { MountOptions } from '../driver/driver.ts'
import { type TarPiece, TarStream } from '../driver/tar-stream.ts'
import { OverlaidError } from '../errors.ts'
import type { ImageConfig } from '../oci/config.ts'
import type { ChainID, DiffID, Digest } from '../oci/digest.ts'
import { type HistoryEntry, historyOf } from '../oci/history.ts'
import type { TarLimits } from '../tar/entry.ts'
import type { CompressionOptions } from '../transfer/compress.ts'
import type { RegistryOptions } from '../transfer/registry/options.ts'
import type { ImageSource } from '../transfer/source.ts'
import type { StoreContext } from './context.ts'
import { findCurrentID, findImage } from './image-find.ts'
import { listImages } from './image-list.ts'
import { nameImage, parseTag } from './image-name.ts'
import { readLayer } from './layer-db.ts'
import type { MigrateOptions, MigrateReport } from './migrate.ts'
import type { Mount } from './mount.ts'
import type { OnProgress } from './progress.ts'

/** One image, as read. Plain data. */
export interface Image {
  readonly id: Digest
  /** Familiar names: `alpine:3.20`, `alpine@sha256:…`; sorted. */
  readonly names: readonly string[]
  readonly config: ImageConfig
  /** The config byte for byte; its sha256 is the id. */
  readonly configBytes: Buffer
  readonly diffIDs: readonly DiffID[]
  readonly chainIDs: readonly ChainID[]
}

export interface ImageSummary {
  readonly id: Digest
  readonly names: readonly string[]
  /** RFC 3339; absent where the config has none. */
  readonly created?: string
  /** Bytes of all layers. */
  readonly size: number
  readonly layers: readonly DiffID[]
}

export interface LoadOptions {
  readonly onProgress?: OnProgress
  readonly limits?: TarLimits
  /** Layers unpacked at once; default: processors, at most 4. */
  readonly concurrency?: number
  readonly signal?: AbortSignal
}

export interface LoadReport {
  readonly images: readonly { readonly id: Digest; readonly names: readonly string[] }[]
  /** Distinct layers by chainID; `shared`: in the store before, or in several of the images. */
  readonly layers: { readonly total: number; readonly added: number; readonly shared: number }
}

export interface SaveOptions {
  readonly format?: 'docker' | 'oci'
  /** Of the layers, in the format `oci`; without it they are plain tars. Their diffIDs stay. */
  readonly compression?: CompressionOptions
  readonly onProgress?: OnProgress
  readonly signal?: AbortSignal
}

export interface ImportOptions {
  /** As docker's `--change`. */
  readonly changes?: readonly string[]
  readonly message?: string
  readonly limits?: TarLimits
  readonly onProgress?: OnProgress
  readonly signal?: AbortSignal
}

export interface RemoveReport {
  readonly untagged: readonly string[]
  readonly deleted: readonly string[]
}

export interface PullOptions extends LoadOptions, RegistryOptions {
  /** `linux/arm/v7`, `arm64`; default: this machine's. */
  readonly platform?: string
}

/** An image as it was pulled. */
export interface PulledImage extends Image {
  /** Of the manifest, or of the index for many platforms, that the reference named. */
  readonly digest: Digest
  readonly layers: LoadReport['layers']
}

export interface PushOptions extends RegistryOptions {
  readonly onProgress?: OnProgress
  readonly signal?: AbortSignal
}

export interface PushReport {
  readonly name: string
  /** Of the manifest. */
  readonly digest: Digest
  /** Distinct layers; `sent`: those that the repository did not have and no other could give it. */
  readonly layers: { readonly total: number; readonly sent: number }
}

/** What an image can be loaded from: a path (archive or layout folder), a stream of an archive, or a source. */
export type LoadFrom = string | AsyncIterable<Buffer> | ImageSource

export class Images {
  readonly #store: StoreContext

  /** @internal */
  constructor(store: StoreContext) {
    this.#store = store
  }

  /** Images whose config and layers are all there, newest first. Others are warned of, and are check's to name. */
  async list(): Promise<ImageSummary[]> {
    this.#store.expectOpen()
    return listImages(this.#store)
  }

  /**
   * By `name:tag`, `name@sha256:…`, `sha256:…` or the id's first hex digits.
   * @throws ERR_IMAGE_NOT_FOUND, ERR_AMBIGUOUS_ID, ERR_INVALID_REFERENCE, ERR_DIGEST_MISMATCH (config damaged)
   */
  async get(ref: string): Promise<Image> {
    this.#store.expectOpen()
    return findImage(this.#store, ref)
  }

  /** Loads and returns the first image of it; see {@link Images.loadAll} for archives of several. */
  async load(from: LoadFrom, options: LoadOptions = {}): Promise<Image> {
    const { images } = await this.loadAll(from, options)
    const [first] = images
    if (first === undefined) throw new OverlaidError('ERR_BAD_MANIFEST', 'there is no image in it')
    return this.get(first.id)
  }

  /**
   * Loads every image of an archive or layout: all of them, or none when one is wrong. A name that another image had
   * moves to the new one.
   * @throws ERR_BAD_MANIFEST, ERR_DIGEST_MISMATCH, ERR_BAD_TAR, ERR_UNSAFE_PATH and others of wrong input
   */
  async loadAll(from: LoadFrom, options: LoadOptions = {}): Promise<LoadReport> {
    this.#store.expectOpen()
    // What refuses to write does so before an archive is read.
    await this.#store.prepare()
    const { loadImages } = await importLoad()
    if (isSource(from)) return loadImages(this.#store, from, options)
    await using source = await openFrom(this.#store, from, options)
    return await loadImages(this.#store, source, options)
  }

  /**
   * Loads all images, with their names, that another driver of Docker's left in the data root `root`, which stays as it
   * is. Needs nothing of that driver but its files. Containers are not moved.
   * @throws ERR_INVALID_ARGUMENT where there are none; ERR_DAMAGED, ERR_DIGEST_MISMATCH: then nothing is changed
   */
  async migrate(root: string, options: MigrateOptions = {}): Promise<MigrateReport> {
    this.#store.expectOpen()
    await this.#store.prepare()
    const { migrateImages } = await import('./migrate.ts')
    return migrateImages(this.#store, root, options)
  }

  /**
   * Gets an image from its registry. Layers unpack while they come, several at once; what the store has is not
   * fetched. When it is interrupted, layers that were finished stay for the next pull, until gc.
   * @throws ERR_UNREACHABLE, ERR_UNAUTHORIZED, ERR_IMAGE_NOT_FOUND, ERR_REGISTRY, ERR_UNSUPPORTED_PLATFORM, and as
   *   {@link Images.loadAll}
   */
  async pull(ref: string, options: PullOptions = {}): Promise<PulledImage> {
    this.#store.expectOpen()
    await this.#store.prepare()
    const { pullImage } = await import('./pull.ts')
    const { id, ...report } = await pullImage(this.#store, ref, options)
    return { ...(await this.get(id)), ...report }
  }

  /**
   * Sends an image to the registry that its name says, under that tag. A layer that the registry is known to have
   * from a pull or push is not sent again.
   * @throws ERR_IMAGE_NOT_FOUND, ERR_UNREACHABLE, ERR_UNAUTHORIZED, ERR_REGISTRY; ERR_INVALID_REFERENCE without a tag
   */
  async push(ref: string, options: PushOptions = {}): Promise<PushReport> {
    this.#store.expectOpen()
    const { pushImage } = await import('./push.ts')
    return pushImage(this.#store, ref, options)
  }

  /** One tar of the images that `refs` name, layers byte for byte as they were loaded. */
  save(refs: readonly string[], options: SaveOptions = {}): AsyncIterable<Buffer> {
    this.#store.expectOpen()
    return this.#save(refs, options)
  }

  async *#save(refs: readonly string[], options: SaveOptions): AsyncGenerator<Buffer> {
    const { saveImages } = await import('./save.ts')
    yield* saveImages(this.#store, refs, options)
  }

  /** A root file system's tar becomes a one-layer image. */
  async import(tar: AsyncIterable<Buffer>, ref: string, options: ImportOptions = {}): Promise<Image> {
    this.#store.expectOpen()
    const { importImage } = await import('./import.ts')
    return this.get(await importImage(this.#store, tar, ref, options))
  }

  /** Newest first; layers that no step tells of come as rows without a text. */
  async history(ref: string): Promise<HistoryEntry[]> {
    const { config, chainIDs } = await this.get(ref)
    const sizes = await Promise.all(chainIDs.map(async (id) => (await readLayer(this.#store.paths, id)).size))
    return historyOf(config, sizes)
  }

  /** Gives an image another name; another image that had it loses it. @throws ERR_INVALID_REFERENCE for a digest */
  async tag(ref: string, newRef: string): Promise<void> {
    this.#store.expectOpen()
    const name = parseTag(newRef)
    // First without the lock, for which a root that is missing would be made.
    await findCurrentID(this.#store.paths, ref)
    await this.#store.locked(async () => {
      const { id } = await findCurrentID(this.#store.paths, ref)
      await nameImage(this.#store, id, name)
    })
  }

  /**
   * Takes names away, and images with their last name; by id an image with all its names. Docker's rules:
   * image-remove.ts.
   * @throws ERR_IN_USE, ERR_IMAGE_NOT_FOUND
   */
  async remove(refs: readonly string[], options: { readonly force?: boolean } = {}): Promise<RemoveReport> {
    this.#store.expectOpen()
    const { removeImages } = await import('./image-remove.ts')
    return removeImages(this.#store, refs, options.force ?? false)
  }

  /** The image's merged content, read-only. */
  async mount(ref: string, options: ImageMountOptions = {}): Promise<Mount> {
    const image = await this.get(ref)
    const { mountImage } = await import('./image-mount.ts')
    return mountImage(this.#store, image, options)
  }

  /** The image's merged root file system as one tar, without a mount that anyone sees. */
  export(ref: string, options: { readonly signal?: AbortSignal } = {}): TarStream {
    return new TarStream(this.#export(ref, options), options)
  }

  async *#export(
    ref: string,
    options: { readonly signal?: AbortSignal },
  ): AsyncGenerator<TarPiece, void, undefined> {
    const image = await this.get(ref)
    const { exportImage } = await import('./export.ts')
    yield* exportImage(this.#store, image, options)
  }
}

// Not in the method: in a function with `await using` TypeScript 6.0 leaves the .ts of an import() as it is.
const importLoad = () => import('./load.ts')

function isSource(from: LoadFrom): from is ImageSource {
  return typeof from === 'object' && 'images' in from
}

async function openFrom(
  { driver }: StoreContext,
  from: string | AsyncIterable<Buffer>,
  { limits, signal }: LoadOptions,
): Promise<ImageSource> {
  const { openImageSource } = await import('../transfer/open.ts')
  return openImageSource(from, {
    // A stream is spooled where the layers will be: there the space is, or is not.
    spoolDir: join(driver.home, 'staging'),
    ...(limits !== undefined && { limits }),
    ...(signal !== undefined && { signal }),
  })
}

export interface ImageMountOptions extends MountOptions {
  /** An existing folder to mount on; default: the driver's own place. */
  readonly target?: string
  /** In no mount table; only the handle's `fd` leads there. */
  readonly detached?: boolean
  /** The mount outlives this process, until unmount or reboot. */
  readonly persist?: boolean
}
