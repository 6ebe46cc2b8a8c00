/**
 * The store: images, layers and containers of one data root. {@link Store.open} is where the library begins.
 *
 *     await using store = await Store.open('/var/lib/overlaid')
 *     const image = await store.images.load('alpine.tar')
 *     const container = await store.containers.create(image)
 *     await using root = await container.mount()
 *
 * Everything is in files that dockerd reads too (paths.ts draws them), and nothing is cached between calls but what
 * never changes: several processes share a root, and a dockerd may take its turn on it.
 *
 * What a short command never needs (load, save, check, …) is imported when it is first asked for.
 */
import { resolve } from 'node:path'
import type { Driver } from '../driver/driver.ts'
import { selectDriver } from '../driver/select.ts'
import type { Durability } from '../fs/atomic.ts'
import type { CheckOptions, CheckReport } from './check.ts'
import { Containers } from './container-store.ts'
import type { DiskUsage } from './df.ts'
import { isDockerdRunning } from './docker.ts'
import type { GcOptions, GcReport } from './gc.ts'
import { Images } from './image-store.ts'
import type { StoreInfo } from './info.ts'
import { Layers } from './layer-store.ts'
import { checkVersion, expectAccess, expectFolder, OpenRoot } from './open-root.ts'

export interface StoreOptions {
  /** Docker's name of a storage driver; default: the one whose state is in the root, else the best that works. */
  readonly driver?: string
  /**
   * A Docker release (`20.10`) in whose order drivers are tried where neither a name nor the root's state decides;
   * default: today's, `overlay2, fuse-overlayfs, btrfs, zfs, vfs`.
   */
  readonly driverOrder?: string
  /** `full` (default): nothing is reported done before it would survive a power cut. `none`: no syncs at all. */
  readonly durability?: Durability
  /** Writes nothing, makes no folder, takes no lock; works for whoever may read the root. */
  readonly readOnly?: boolean
  /** Default: process.emitWarning. */
  readonly onWarning?: (message: string) => void
  readonly signal?: AbortSignal
}

export class Store implements AsyncDisposable {
  /** Absolute path of the data root. */
  readonly root: string
  readonly durability: Durability
  readonly readOnly: boolean
  readonly images: Images
  readonly layers: Layers
  readonly containers: Containers
  readonly #open: OpenRoot
  readonly #order: string | undefined

  private constructor(open: OpenRoot, order: string | undefined) {
    this.root = open.root
    this.durability = open.durability
    this.readOnly = open.readOnly
    this.images = new Images(open)
    this.layers = new Layers(open)
    this.containers = new Containers(open)
    this.#open = open
    this.#order = order
  }

  /**
   * The storage driver. In a root that holds nothing yet, opened without a name, it is chosen by the first change; until
   * then the first of the order stands in.
   */
  get driver(): Driver {
    return this.#open.driver
  }

  /**
   * Opens the data root. Nothing is written before the first change asks for it: a missing root is made then.
   * Which driver can serve a root that holds nothing yet is tried then, too.
   * @throws ERR_STORE_VERSION, ERR_DRIVER_MISMATCH, ERR_NO_PRIVILEGE (a root that may not be looked into),
   *   ERR_INVALID_ARGUMENT (a read-only root that is not there, an unknown driver or order)
   */
  static async open(root: string, options: StoreOptions = {}): Promise<Store> {
    const { durability = 'full', readOnly = false, onWarning = warn, signal } = options
    signal?.throwIfAborted()
    const path = resolve(root)
    if (readOnly) expectFolder(path)
    expectAccess(path)
    checkVersion(path)
    const { driver: name, driverOrder } = options
    const selection = await selectDriver(path, { name, orderOf: driverOrder, durability, onWarning })
    const open = new OpenRoot({ root: path, selection, durability, readOnly, onWarning })
    if (await isDockerdRunning(path)) {
      onWarning(`a dockerd runs on ${path}: what is read may change meanwhile, and nothing can be written`)
    }
    return new Store(open, driverOrder)
  }

  /** What the root is on, what this machine can do, and how much is there. */
  async info(): Promise<StoreInfo> {
    this.#open.expectOpen()
    const { storeInfo } = await import('./info.ts')
    return storeInfo(this.#open, this.#order)
  }

  /** Where the disk's bytes are; walks all layers. */
  async df(options: { readonly signal?: AbortSignal } = {}): Promise<DiskUsage> {
    this.#open.expectOpen()
    const { diskUsage } = await import('./df.ts')
    return diskUsage(this.#open, options)
  }

  /** Removes what crashes left, and layers that nothing refers to. */
  async gc(options: GcOptions = {}): Promise<GcReport> {
    this.#open.expectOpen()
    const { gc } = await import('./gc.ts')
    return gc(this.#open, options)
  }

  /** Verifies the store. */
  async check(options: CheckOptions = {}): Promise<CheckReport> {
    this.#open.expectOpen()
    const { check } = await import('./check.ts')
    return check(this.#open, options)
  }

  /**
   * Undoes a mount made with `persist`, or by a process that died: by absolute path, container, or image reference.
   * With `force` also one that a living process holds, or that is busy.
   * @throws ERR_MOUNT_NOT_FOUND, ERR_IN_USE, ERR_CONTAINER_NOT_FOUND
   */
  async unmount(what: string, options: { readonly force?: boolean } = {}): Promise<void> {
    this.#open.expectOpen()
    const { unmountAnything } = await import('./unmount.ts')
    return unmountAnything(this.#open, what, options)
  }

  /**
   * Ends this object: mounts that are still open through it are undone, persistent ones stay; what was removed is
   * deleted by then. Without it a removal is as durable, and the next gc deletes what is left. Idempotent.
   * @throws what failed to be unmounted or deleted
   */
  async close(): Promise<void> {
    await this.#open.close()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }
}

function warn(message: string): void {
  process.emitWarning(message, { type: 'OverlaidWarning' })
}
