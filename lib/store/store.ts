/**
 * The store: images, layers and containers of one data root. {@link Store.open} is where the library begins.
 *
 *     await using store = await Store.open('/var/lib/overlaid')
 *     const image = await store.images.load('alpine.tar')
 *     const container = await store.containers.create(image)
 *     await using root = await container.mount()
 */
import type { Driver } from '../driver/driver.ts'
import type { Durability } from '../fs/atomic.ts'
import type { CheckOptions, CheckReport } from './check.ts'
import type { Containers } from './container-store.ts'
import type { DiskUsage } from './df.ts'
import type { GcOptions, GcReport } from './gc.ts'
import type { Images } from './image-store.ts'
import type { StoreInfo } from './info.ts'
import type { Layers } from './layer-store.ts'

export interface StoreOptions {
  /** Docker's name of a storage driver; default: the one whose state is in the root, else the best that works. */
  readonly driver?: string
  /** `full` (default): nothing is reported done before it would survive a power cut. `none`: no syncs at all. */
  readonly durability?: Durability
  /** Writes nothing, makes no folder, takes no lock; works for whoever may read the root. */
  readonly readOnly?: boolean
  /** Default: process.emitWarning. */
  readonly onWarning?: (message: string) => void
  readonly signal?: AbortSignal
}

export class Store implements AsyncDisposable {
  readonly root!: string
  readonly driver!: Driver
  readonly durability!: Durability
  readonly readOnly!: boolean
  readonly images!: Images
  readonly layers!: Layers
  readonly containers!: Containers

  /**
   * Opens the data root. Nothing is written before the first change asks for it: a missing root is made then.
   * @throws ERR_STORE_VERSION, ERR_DRIVER_MISMATCH, ERR_INVALID_ARGUMENT (a read-only root that is not there)
   */
  static open(_root: string, _options?: StoreOptions): Promise<Store> {
    throw new Error('not built yet')
  }

  info(): Promise<StoreInfo> {
    throw new Error('not built yet')
  }

  df(_options?: { readonly signal?: AbortSignal }): Promise<DiskUsage> {
    throw new Error('not built yet')
  }

  gc(_options?: GcOptions): Promise<GcReport> {
    throw new Error('not built yet')
  }

  check(_options?: CheckOptions): Promise<CheckReport> {
    throw new Error('not built yet')
  }

  /** Undoes a mount made with `persist`, or by a process that died: by path, container, or image reference. */
  unmount(_what: string, _options?: { readonly force?: boolean }): Promise<void> {
    throw new Error('not built yet')
  }

  /** Ends this object: mounts that are still open through it are undone. Idempotent. */
  close(): Promise<void> {
    throw new Error('not built yet')
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }
}
