/** One container: a writable layer on an image's layers. */
import type { Change, LayerPaths, MountOptions } from '../driver/driver.ts'
import type { ImageConfig } from '../oci/config.ts'
import type { ChainID, Digest } from '../oci/digest.ts'
import type { Image } from './image-store.ts'
import type { Mount } from './mount.ts'

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
export interface ContainerDetails {
  readonly id: string
  readonly name: string
  readonly image: string
  readonly imageID: Digest
  readonly created?: string
  readonly owner: 'overlaid' | 'docker'
  readonly mounted: boolean
  readonly path?: string
  readonly size: number
  /** The container's layers below its own, top first; the init layer is not one of them. */
  readonly chainIDs: readonly ChainID[]
  readonly config: ImageConfig
  readonly lowerdir: readonly string[]
  readonly upperdir: string
  readonly workdir?: string
  readonly merged?: string
}

export class Container {
  readonly id!: string
  readonly name!: string
  /** The image as it was named at creation, else its id. */
  readonly image!: string
  readonly imageID!: Digest
  readonly owner!: 'overlaid' | 'docker'

  /**
   * Mounts the merged root file system. A container that is mounted already shares that mount.
   * @throws ERR_IN_USE when another process holds it where this one cannot reach it
   */
  mount(_options?: ContainerMountOptions): Promise<Mount> {
    throw new Error('not built yet')
  }

  /** Ends persistent holds and those of dead processes; with `force` everyone's. @throws ERR_IN_USE, ERR_MOUNT_NOT_FOUND */
  unmount(_options?: { readonly force?: boolean }): Promise<void> {
    throw new Error('not built yet')
  }

  /** What the container changed in its image, sorted by path. */
  changes(): AsyncIterable<Change> {
    throw new Error('not built yet')
  }

  /** Its changes as a layer tar. */
  diff(_options?: { readonly signal?: AbortSignal }): AsyncIterable<Buffer> {
    throw new Error('not built yet')
  }

  /** The merged root file system as one tar. */
  export(_options?: { readonly signal?: AbortSignal }): AsyncIterable<Buffer> {
    throw new Error('not built yet')
  }

  /** Its changes become a layer, and an image that is named `ref` when given. */
  commit(_ref?: string, _options?: CommitOptions): Promise<Image> {
    throw new Error('not built yet')
  }

  paths(): Promise<LayerPaths> {
    throw new Error('not built yet')
  }

  /** Bytes of its own changes. */
  size(): Promise<number> {
    throw new Error('not built yet')
  }

  inspect(): Promise<ContainerDetails> {
    throw new Error('not built yet')
  }

  remove(): Promise<void> {
    throw new Error('not built yet')
  }
}
