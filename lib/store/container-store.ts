/** Containers: writable layers on images, ours and those that dockerd made. */
import type { Container } from './container.ts'
import type { Image } from './image-store.ts'

export interface ContainerSummary {
  readonly id: string
  readonly name: string
  /** The image as it was named at creation, else its id. */
  readonly image: string
  readonly mounted: boolean
  /** Where, when it is mounted at a path that this process can see. */
  readonly path?: string
  /** Bytes of its own changes. */
  readonly size: number
  readonly owner: 'overlaid' | 'docker'
}

export interface CreateOptions {
  /** `[a-zA-Z0-9][a-zA-Z0-9_.-]+`; default: the first 12 digits of the id. */
  readonly name?: string
  readonly signal?: AbortSignal
}

export class Containers {
  list(): Promise<ContainerSummary[]> {
    throw new Error('not built yet')
  }

  /** By name, id, or the id's first digits. @throws ERR_CONTAINER_NOT_FOUND, ERR_AMBIGUOUS_ID */
  get(_nameOrID: string): Promise<Container> {
    throw new Error('not built yet')
  }

  /** A writable layer on the image, with its init layer. @throws ERR_ALREADY_EXISTS (name), ERR_IMAGE_NOT_FOUND */
  create(_image: Image | string, _options?: CreateOptions): Promise<Container> {
    throw new Error('not built yet')
  }

  /** @throws ERR_IN_USE while it is mounted or dockerd owns it, ERR_CONTAINER_NOT_FOUND */
  remove(_nameOrID: string): Promise<void> {
    throw new Error('not built yet')
  }
}
