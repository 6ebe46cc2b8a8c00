/** Containers: writable layers on images, ours and those that dockerd made. */
import type { LayerQuota } from '../driver/driver.ts'
import type { IDMap } from '../driver/id-map.ts'
import { Container } from './container.ts'
import { findMount } from './container-db.ts'
import {
  type ContainerEntry,
  findContainer,
  listContainers,
  type MountState,
  mountStateOf,
} from './container-entry.ts'
import { quotaOf, type StorageOptions } from './storage-options.ts'
import type { StoreContext } from './context.ts'
import { findImage } from './image-find.ts'
import type { Image } from './image-store.ts'

export interface ContainerSummary extends MountState {
  readonly id: string
  readonly name: string
  /** The image as it was named at creation, else its id. */
  readonly image: string
  /** Bytes of its own changes. */
  readonly size: number
  readonly owner: 'overlaid' | 'docker'
  /** Its size limit and what it uses of that, both in bytes on disk; undefined where none is enforced. */
  readonly quota?: LayerQuota
}

export interface CreateOptions {
  /** `[a-zA-Z0-9][a-zA-Z0-9_.-]+`; default: the first 12 digits of the id. */
  readonly name?: string
  readonly storageOptions?: StorageOptions
  /** The user and group ids that the container sees (Linux 5.19; 5.12 with vfs and btrfs), or the process whose user namespace has them. */
  readonly idMap?: IDMap | { readonly pid: number }
  readonly signal?: AbortSignal
}

export class Containers {
  readonly #store: StoreContext

  /** @internal */
  constructor(store: StoreContext) {
    this.#store = store
  }

  /** Sorted by name. */
  async list(): Promise<ContainerSummary[]> {
    this.#store.expectOpen()
    const summaries: ContainerSummary[] = []
    for (const entry of await listContainers(this.#store)) {
      const summary = await this.#summaryOf(entry)
      if (summary !== undefined) summaries.push(summary)
    }
    return summaries
  }

  /** Undefined when it was removed since it was found: a list is made without a lock. */
  async #summaryOf(entry: ContainerEntry): Promise<ContainerSummary | undefined> {
    const { id, name, image, owner, mount } = entry
    try {
      const state = await mountStateOf(this.#store, entry)
      const size = await this.#store.driver.diffSize(mount.mountID, mount.initID)
      return { id, name, image, ...state, size, owner, ...(await quotaOf(this.#store, entry)) }
    } catch (error) {
      if ((await findMount(this.#store.paths, id)) === undefined) return undefined
      throw error
    }
  }

  /** By name, id, or the id's first digits. @throws ERR_CONTAINER_NOT_FOUND, ERR_AMBIGUOUS_ID */
  async get(nameOrID: string): Promise<Container> {
    this.#store.expectOpen()
    return new Container(this.#store, await findContainer(this.#store, nameOrID))
  }

  /**
   * A writable layer on the image, with its init layer.
   * @throws ERR_ALREADY_EXISTS (name), ERR_IMAGE_NOT_FOUND, ERR_INVALID_ARGUMENT (name, storageOptions, idMap),
   *   ERR_UNSUPPORTED_FS where the size is to be limited and cannot be
   */
  async create(image: Image | string, options: CreateOptions = {}): Promise<Container> {
    this.#store.expectOpen()
    const found = typeof image === 'string' ? await findImage(this.#store, image) : image
    const name = typeof image === 'string' ? image : (image.names[0] ?? image.id)
    const { createContainer } = await import('./create.ts')
    return new Container(this.#store, await createContainer(this.#store, found, name, options))
  }

  /** @throws ERR_IN_USE while a process has it mounted or when dockerd made it, ERR_CONTAINER_NOT_FOUND */
  async remove(nameOrID: string): Promise<void> {
    this.#store.expectOpen()
    const { removeContainer } = await import('./container-remove.ts')
    await removeContainer(this.#store, await findContainer(this.#store, nameOrID))
  }
}
