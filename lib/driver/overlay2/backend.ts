/** What tells the drivers apart that keep each layer as an upper directory, in the home that layout.ts draws. */
import type { Detached } from '../../native/mount.ts'
import type { DetachedMount, OpenOptions, ReadWriteOptions } from '../driver.ts'
import type { Home } from '../home/home.ts'
import type { Unpacking } from '../home/staged.ts'
import type { Reading } from '../upper/diff.ts'

/** How an upper directory is read; `view` is the layer's merged content, where the upper alone does not tell all. */
export interface UpperReading extends Reading {
  readonly view?: DetachedMount
}

export interface UpperBackend {
  /** Docker's name of the driver. */
  readonly name: string
  readonly home: Home
  /** How an archive's marks get into an upper directory, and how they are read there. */
  readonly marking: Pick<Unpacking, 'marks' | 'translate'>
  reading(id: string, diffFd: number): Promise<UpperReading>
  /** @throws ERR_UNSUPPORTED_FS for options of a writable layer that the driver does not have */
  refuse?(options: ReadWriteOptions): void
  /** See {@link Driver.verify}. */
  verify(): Promise<void>
  /**
   * The merged tree of `id`, read-only where a child was made on it.
   * @throws ERR_LAYER_NOT_FOUND, ERR_INVALID_ARGUMENT (options)
   */
  mountLayer(id: string, options: OpenOptions): Promise<Detached>
  /** The merged content of `id` to read from. @throws ERR_LAYER_NOT_FOUND, ERR_DAMAGED */
  openView(id: string): Promise<DetachedMount>
  /** What lies below `id`; undefined for a base layer. */
  openParentView(id: string): Promise<DetachedMount | undefined>
  /** Pairs for `info`, with moby's keys. */
  status(): Promise<readonly (readonly [string, string])[]>
  /** The program that serves the mounts, where it is not the kernel. */
  readonly server?: string
  /** See Driver.isDead; there where `server` is. */
  isDead?(id: string, path: string): Promise<boolean>
  /** Lets go of what is kept for the next mount. */
  release?(): Promise<void>
  /** Waits, not for ever, until the program that served `id` has ended. */
  ended?(id: string): Promise<void>
}
