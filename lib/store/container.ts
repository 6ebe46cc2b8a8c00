/** One container: a writable layer on an image's layers. */
import type { Change, LayerPaths, LayerQuota, MountOptions } from '../driver/driver.ts'
import type { IDMap } from '../driver/id-map.ts'
import { type TarPiece, TarStream } from '../driver/tar-stream.ts'
import type { ImageConfig } from '../oci/config.ts'
import type { ChainID, Digest } from '../oci/digest.ts'
import { type ContainerEntry, expectContainer, type MountState, mountStateOf } from './container-entry.ts'
import type { StoreContext } from './context.ts'
import { findImage } from './image-find.ts'
import type { Image } from './image-store.ts'
import { readLayers } from './layer-db.ts'
import type { Mount } from './mount.ts'
import { mountSubject, type Subject, unmountSubject } from './mounting.ts'
import { requireTrustedXattrs } from './privilege.ts'
import { expectQuota, quotaOf, type StorageOptions } from './storage-options.ts'
import { chainOf } from './use.ts'

export interface ContainerMountOptions extends MountOptions {
  /** An existing folder to mount on; default: the driver's own place, `<home>/<mount id>/merged`. */
  readonly target?: string
  /** In no mount table; only the handle's `fd` leads there, and it is gone when the process is. */
  readonly detached?: boolean
  /** Mounts on `target` in the mount namespace of this process, and not here. */
  readonly pid?: number
  /** The mount outlives this process, until unmount, rm or reboot. */
  readonly persist?: boolean
}

export interface CommitOptions {
  readonly message?: string
  readonly author?: string
  /** As docker's `--change`: `CMD ["sh"]`, `ENV A=b`, … */
  readonly changes?: readonly string[]
  readonly signal?: AbortSignal
}

/** What `inspect` shows of a container. */
export interface ContainerDetails extends MountState {
  readonly id: string
  readonly name: string
  readonly image: string
  readonly imageID: Digest
  readonly created?: string
  readonly owner: 'overlaid' | 'docker'
  readonly size: number
  /** As they were given at creation, docker's `HostConfig.StorageOpt`. */
  readonly storageOptions: StorageOptions
  /** Its size limit and what it uses of that, both in bytes on disk; undefined where none is enforced. */
  readonly quota?: LayerQuota
  readonly idMap?: IDMap
  /** The container's layers below its own, top first; the init layer is not one of them. */
  readonly chainIDs: readonly ChainID[]
  readonly config: ImageConfig
  readonly lowerdir: readonly string[]
  readonly upperdir: string
  readonly workdir?: string
  readonly merged?: string
}

export class Container {
  readonly id: string
  readonly name: string
  /** The image as it was named at creation, else its id. */
  readonly image: string
  readonly imageID: Digest
  readonly owner: 'overlaid' | 'docker'
  readonly #store: StoreContext
  readonly #entry: ContainerEntry

  /** @internal */
  constructor(store: StoreContext, entry: ContainerEntry) {
    this.id = entry.id
    this.name = entry.name
    this.image = entry.image
    this.imageID = entry.imageID
    this.owner = entry.owner
    this.#store = store
    this.#entry = entry
  }

  /**
   * Mounts the merged root file system. A container that is mounted already shares that mount.
   * @throws ERR_IN_USE when another process holds it where this one cannot reach it, or with other options;
   *   ERR_UNSUPPORTED_FS when it is to be written to and its size limit is not enforced any more
   */
  async mount(options: ContainerMountOptions = {}): Promise<Mount> {
    this.#store.expectOpen()
    if (options.readOnly !== true) await expectQuota(this.#store, this.#entry)
    return mountSubject(this.#store, this.#subject(), options)
  }

  /**
   * Ends persistent holds and those of dead processes; with `force` everyone's, and also a mount that is busy.
   * @throws ERR_IN_USE, ERR_MOUNT_NOT_FOUND
   */
  async unmount(options: { readonly force?: boolean } = {}): Promise<void> {
    this.#store.expectOpen()
    await unmountSubject(this.#store, this.#subject(), options)
  }

  /** What the container changed in its image, sorted by path. @throws ERR_NO_PRIVILEGE */
  changes(): AsyncIterable<Change> {
    this.#store.expectOpen()
    requireTrustedXattrs()
    const { mountID, initID } = this.#entry.mount
    return this.#store.driver.changes(mountID, initID)
  }

  /** Its changes as a layer tar; the same bytes each time. @throws ERR_NO_PRIVILEGE */
  diff(options: { readonly signal?: AbortSignal } = {}): TarStream {
    this.#store.expectOpen()
    requireTrustedXattrs()
    const { mountID, initID } = this.#entry.mount
    return this.#store.driver.diff(mountID, initID, options)
  }

  /** The merged root file system as one tar, with the ids that the container sees. */
  export(options: { readonly signal?: AbortSignal } = {}): TarStream {
    this.#store.expectOpen()
    return new TarStream(this.#export(options), options)
  }

  async *#export(options: { readonly signal?: AbortSignal }): AsyncGenerator<TarPiece, void, undefined> {
    const { exportContainer } = await import('./export.ts')
    yield* exportContainer(this.#store, this.#entry, options)
  }

  /**
   * Its changes become a layer, and an image that is named `ref` when given.
   * @throws ERR_INVALID_ARGUMENT (changes), ERR_INVALID_REFERENCE
   */
  async commit(ref?: string, options: CommitOptions = {}): Promise<Image> {
    this.#store.expectOpen()
    const { commitContainer } = await import('./commit.ts')
    return findImage(this.#store, await commitContainer(this.#store, this.#entry, ref, options))
  }

  /** The folders it is made of, in overlayfs' words. */
  async paths(): Promise<LayerPaths> {
    this.#store.expectOpen()
    return this.#store.driver.metadata(this.#entry.mount.mountID)
  }

  /** Bytes of its own changes. */
  async size(): Promise<number> {
    this.#store.expectOpen()
    const { mountID, initID } = this.#entry.mount
    return this.#store.driver.diffSize(mountID, initID)
  }

  async inspect(): Promise<ContainerDetails> {
    const { id, name, image, imageID, created, owner, mount, idMap } = this.#entry
    const layers = await readLayers(this.#store.paths)
    return {
      id,
      name,
      image,
      imageID,
      ...(created !== undefined && { created }),
      owner,
      ...(await mountStateOf(this.#store, this.#entry)),
      size: await this.size(),
      storageOptions: this.#entry.storageOptions,
      ...(await quotaOf(this.#store, this.#entry)),
      ...(idMap !== undefined && { idMap }),
      chainIDs: chainOf(layers, mount.parent)
        .map(({ chainID }) => chainID)
        .reverse(),
      config: await this.#entry.readConfig(),
      ...(await this.paths()),
    }
  }

  /** Its size limit and what it uses of that, from counters; undefined where none is enforced. */
  async quota(): Promise<LayerQuota | undefined> {
    this.#store.expectOpen()
    return (await quotaOf(this.#store, this.#entry)).quota
  }

  /** Removes the container with its changes. @throws ERR_IN_USE while a process has it mounted */
  async remove(): Promise<void> {
    this.#store.expectOpen()
    const { removeContainer } = await import('./container-remove.ts')
    await removeContainer(this.#store, this.#entry)
  }

  #subject(): Subject {
    const { id, name, mount } = this.#entry
    const expect = () => Promise.resolve(expectContainer(this.#store, this.#entry))
    return { name: id, label: `container ${name}`, driverID: mount.mountID, isReadOnly: false, expect }
  }
}
