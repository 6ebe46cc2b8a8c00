/**
 * One open data root: what every part of the store works with. See context.ts.
 *
 * What opening looks at is a few names and one small file, read on the spot: Node's thread pool costs several times
 * what they do, and a command that would otherwise wake it for this alone starts later by that.
 */
import { existsSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import type { Driver } from '../driver/driver.ts'
import type { DriverSelection } from '../driver/select.ts'
import { hasCode, OverlaidError } from '../errors.ts'
import { type Durability, mkdirDurable, writeFileAtomic } from '../fs/atomic.ts'
import type { LockOptions, StoreContext } from './context.ts'
import { isDockerdRunning } from './docker.ts'
import { withLock } from './lock.ts'
import type { InitEntries } from './init-layers.ts'
import type { Mount } from './mount.ts'
import { MODES, storeFolders, storePaths, type StorePaths } from './paths.ts'
import { requireWriting } from './privilege.ts'
import { isVerified, noteVerified } from './verified.ts'

/** The version of the files in `overlaid/` that this code writes. */
const VERSION = 1

export interface RootOptions {
  readonly root: string
  readonly selection: DriverSelection
  readonly durability: Durability
  readonly readOnly: boolean
  readonly onWarning: (message: string) => void
}

export class OpenRoot implements StoreContext {
  readonly root: string
  readonly durability: Durability
  readonly readOnly: boolean
  readonly mounts: Map<string, Mount> = new Map()
  readonly initEntries: InitEntries = new Map()
  readonly #onWarning: (message: string) => void
  #selection: DriverSelection
  #paths: StorePaths
  #prepared: Promise<void> | undefined
  #closed = false

  constructor({ root, selection, durability, readOnly, onWarning }: RootOptions) {
    this.root = root
    this.#selection = selection
    this.#paths = storePaths(root, selection.driver.name)
    this.durability = durability
    this.readOnly = readOnly
    this.#onWarning = onWarning
  }

  get driver(): Driver {
    return this.#selection.driver
  }

  get paths(): StorePaths {
    return this.#paths
  }

  /** Whether the driver stands in for the one that the first change will choose. */
  get isUndecided(): boolean {
    return this.#selection.choose !== undefined
  }

  warn(message: string): void {
    this.#onWarning(message)
  }

  expectOpen(): void {
    if (this.#closed) throw new OverlaidError('ERR_STORE_CLOSED', 'this store object was closed')
  }

  prepare(): Promise<void> {
    this.expectOpen()
    if (this.readOnly) {
      throw new OverlaidError('ERR_INVALID_ARGUMENT', 'this store was opened to be read only')
    }
    this.#prepared ??= this.#prepare().catch((error: unknown) => {
      this.#prepared = undefined
      throw error
    })
    return this.#prepared
  }

  /** What refuses comes first, so that nothing is written to a root that cannot be a store. */
  async #prepare(): Promise<void> {
    requireWriting()
    await this.refuseBesideDockerd()
    const justVerified = await this.#decide()
    const verified = await isVerified(this)
    await this.driver.prepare({ verified: verified || justVerified })
    for (const [path, mode] of storeFolders(this.paths)) {
      if (!existsSync(path)) await mkdirDurable(path, { mode, durability: this.durability })
    }
    if (!verified) await noteVerified(this)
    const version = readVersion(this.paths)
    if (version !== undefined) return
    const options = { mode: MODES.privateFile, durability: this.durability }
    await writeFileAtomic(this.paths.version, `${String(VERSION)}\n`, options)
  }

  /** Chooses the driver where nothing else did. Returns whether it was tried for that. */
  async #decide(): Promise<boolean> {
    if (this.#selection.choose === undefined) return false
    const { driver, verified } = await this.#selection.choose()
    this.#selection = { driver }
    this.#paths = storePaths(this.root, driver.name)
    return verified
  }

  async refuseBesideDockerd(): Promise<void> {
    if (!(await isDockerdRunning(this.root))) return
    throw new OverlaidError('ERR_STORE_LOCKED', `a dockerd runs on ${this.root}: it can only be read`, {
      path: this.root,
      hint: 'stop that dockerd first; it keeps counts in memory that a change from outside would make wrong',
    })
  }

  async locked<T>(work: () => Promise<T>, options: LockOptions = {}): Promise<T> {
    await this.prepare()
    const guarded = async () => {
      if (options.besideDockerd !== true) await this.refuseBesideDockerd()
      return work()
    }
    return withLock(this.paths.lock, guarded, options.signal)
  }

  /** Undoes the mounts that are still open through this object, and waits for what is being deleted. Idempotent. */
  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    const failures: unknown[] = []
    for (const mount of this.mounts.values()) {
      // One that is busy must not keep the others: all are tried.
      await mount[Symbol.asyncDispose]().catch((error: unknown) => failures.push(error))
    }
    await this.driver.idle().catch((error: unknown) => failures.push(error))
    if (failures.length > 1) throw new AggregateError(failures, 'this store could not end all that it began')
    if (failures.length === 1) throw failures[0]
  }
}

/** @throws ERR_STORE_VERSION when a newer overlaid wrote the root */
export function checkVersion(root: string): void {
  readVersion({ version: join(root, 'overlaid/version') })
}

function readVersion({ version: path }: Pick<StorePaths, 'version'>): number | undefined {
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (error) {
    // EACCES: whoever may not look in there writes nothing either.
    if (hasCode(error, 'ENOENT', 'ENOTDIR', 'EACCES')) return undefined
    throw error
  }
  const version = Number(text.trim())
  if (Number.isInteger(version) && version >= 1 && version <= VERSION) return version
  throw new OverlaidError('ERR_STORE_VERSION', `the store's version is ${JSON.stringify(text.trim())}`, {
    path,
    hint: `this overlaid reads up to version ${String(VERSION)}: use the one that wrote it, or a later one`,
  })
}

/** @throws ERR_INVALID_ARGUMENT when there is no folder at `root` to read */
export function expectFolder(root: string): void {
  try {
    if (statSync(root).isDirectory()) return
  } catch (error) {
    if (!hasCode(error, 'ENOENT', 'ENOTDIR')) throw error
  }
  throw new OverlaidError('ERR_INVALID_ARGUMENT', `there is no data root at ${root}`, {
    path: root,
    hint: 'it is made by the first load; another place is named by --root or OVERLAID_ROOT',
  })
}

/** @throws ERR_NO_PRIVILEGE when the root may not be looked into: nothing in it could be told from missing */
export function expectAccess(root: string): void {
  try {
    // Not access(2): that asks for the real user without the capabilities that the process has.
    statSync(`${root}/.`)
  } catch (error) {
    if (hasCode(error, 'ENOENT', 'ENOTDIR')) return
    if (!hasCode(error, 'EACCES')) throw error
    throw new OverlaidError('ERR_NO_PRIVILEGE', `no permission to look into ${root}`, {
      path: root,
      cause: error,
      hint: "a data root is its owner's alone: be root, or have CAP_DAC_READ_SEARCH to read it",
    })
  }
}
