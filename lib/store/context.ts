/** What the parts of a store share: the open root, its driver, its lock, and how to warn. */
import type { Driver } from '../driver/driver.ts'
import type { Durability } from '../fs/atomic.ts'
import type { InitEntries } from './init-layers.ts'
import type { Mount } from './mount.ts'
import type { StorePaths } from './paths.ts'

export interface LockOptions {
  readonly signal?: AbortSignal
  /** Taken even when a dockerd runs: for undoing our own mounts, which touches nothing of dockerd's. */
  readonly besideDockerd?: boolean
}

export interface StoreContext {
  readonly root: string
  readonly paths: StorePaths
  readonly driver: Driver
  readonly durability: Durability
  readonly readOnly: boolean
  /** Mounts made through this store and not undone yet, by the paths of their holds. */
  readonly mounts: Map<string, Mount>
  /** What was found out of init layers: see init-layers.ts. */
  readonly initEntries: InitEntries
  warn(message: string): void
  /** @throws ERR_STORE_CLOSED */
  expectOpen(): void
  /**
   * Makes the root ready for writing: checks that the driver can work there, then makes the folders. Once.
   * @throws ERR_NO_PRIVILEGE, ERR_UNSUPPORTED_FS and the like; ERR_INVALID_ARGUMENT on a store opened read-only
   */
  prepare(): Promise<void>
  /** @throws ERR_STORE_LOCKED when a dockerd runs on the root */
  refuseBesideDockerd(): Promise<void>
  /**
   * Runs `work` holding the store lock, for which the root is made ready for writing first. Everything that two
   * processes may race on is decided inside; nothing slow is done inside.
   * @throws ERR_STORE_LOCKED when a dockerd runs on the root, ERR_NO_PRIVILEGE, ERR_INVALID_ARGUMENT on a store
   *   opened read-only, ERR_STORE_CLOSED
   */
  locked<T>(work: () => Promise<T>, options?: LockOptions): Promise<T>
}
