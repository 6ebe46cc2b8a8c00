/** Images: configs in imagedb, names in repositories.json, layers in layerdb. */
import type { MountOptions } from '../driver/driver.ts'
import type { ImageConfig } from '../oci/config.ts'
import type { ChainID, DiffID, Digest } from '../oci/digest.ts'
import type { TarLimits } from '../tar/entry.ts'
import type { ImageSource } from '../transfer/source.ts'
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

/** One step of an image's making, as `docker history` shows it. */
export interface HistoryStep {
  readonly created?: string
  readonly createdBy: string
  readonly comment: string
  /** Bytes of the step's layer; 0 when it made none. */
  readonly size: number
  readonly empty: boolean
}

/** What an image can be loaded from: a path (archive or layout folder), a stream of an archive, or a source. */
export type LoadFrom = string | AsyncIterable<Buffer> | ImageSource

export class Images {
  list(): Promise<ImageSummary[]> {
    throw new Error('not built yet')
  }

  /**
   * By `name:tag`, `name@sha256:…`, `sha256:…` or the id's first hex digits.
   * @throws ERR_IMAGE_NOT_FOUND, ERR_AMBIGUOUS_ID, ERR_INVALID_REFERENCE, ERR_DIGEST_MISMATCH (config damaged)
   */
  get(_ref: string): Promise<Image> {
    throw new Error('not built yet')
  }

  /** Loads and returns the first image of it; see {@link Images.loadAll} for archives of several. */
  load(_from: LoadFrom, _options?: LoadOptions): Promise<Image> {
    throw new Error('not built yet')
  }

  loadAll(_from: LoadFrom, _options?: LoadOptions): Promise<LoadReport> {
    throw new Error('not built yet')
  }

  /** One tar of the images that `refs` name, layers byte for byte as they were loaded. */
  save(_refs: readonly string[], _options?: SaveOptions): AsyncIterable<Buffer> {
    throw new Error('not built yet')
  }

  /** A root file system's tar becomes a one-layer image. */
  import(_tar: AsyncIterable<Buffer>, _ref: string, _options?: ImportOptions): Promise<Image> {
    throw new Error('not built yet')
  }

  /** Newest first. */
  history(_ref: string): Promise<HistoryStep[]> {
    throw new Error('not built yet')
  }

  tag(_ref: string, _newRef: string): Promise<void> {
    throw new Error('not built yet')
  }

  /** @throws ERR_IN_USE, ERR_IMAGE_NOT_FOUND */
  remove(_refs: readonly string[], _options?: { readonly force?: boolean }): Promise<RemoveReport> {
    throw new Error('not built yet')
  }

  /** The image's merged content, read-only. */
  mount(_ref: string, _options?: ImageMountOptions): Promise<Mount> {
    throw new Error('not built yet')
  }

  /** The image's merged root file system as one tar. */
  export(_ref: string, _options?: { readonly signal?: AbortSignal }): AsyncIterable<Buffer> {
    throw new Error('not built yet')
  }
}

export interface ImageMountOptions extends MountOptions {
  /** An existing folder to mount on; default: the driver's own place. */
  readonly target?: string
  /** In no mount table; only the handle's `fd` leads there. */
  readonly detached?: boolean
  /** The mount outlives this process, until unmount or reboot. */
  readonly persist?: boolean
}
