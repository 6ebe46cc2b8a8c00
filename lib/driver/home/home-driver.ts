/** What all drivers with a home on disk do alike: getting it ready once, counted mounts, and deletion after removal. */
import type { Detached } from '../../native/mount.ts'
import { detached } from '../detached.ts'
import type { DetachedMount, MountOptions, OpenOptions } from '../driver.ts'
import type { Ending } from './endings.ts'
import { type Home, makeHome } from './home.ts'
import { type Mountable, Mounts } from './mounts.ts'
import { Trash } from './trash.ts'

/** See {@link Driver} for what each method promises. */
export abstract class HomeDriver {
  readonly home: string
  protected readonly mounts: Mounts
  protected readonly trash: Trash
  readonly #home: Home
  #prepared: Promise<void> | undefined

  constructor(home: Home, served: Pick<Mountable, 'server' | 'ended' | 'endsLater'> = {}) {
    this.home = home.path
    this.#home = home
    this.mounts = new Mounts({
      mergedPath: (id) => this.mergedPath(id),
      openMount: (id, options) => this.openMount(id, options),
      ...served,
    })
    this.trash = new Trash(home.path)
  }

  abstract verify(): Promise<void>
  abstract mergedPath(id: string): string
  /** Makes what the driver's home has besides. */
  protected abstract makeFolders(): Promise<void>
  /** The merged tree of `id` as a detached mount. @throws ERR_LAYER_NOT_FOUND */
  protected abstract openMount(id: string, options: OpenOptions): Promise<Detached>

  async prepare({ verified = false }: { readonly verified?: boolean } = {}): Promise<void> {
    this.#prepared ??= this.#prepare(verified)
    try {
      await this.#prepared
    } catch (error) {
      // A refusal may be mended and tried again.
      this.#prepared = undefined
      throw error
    }
  }

  async #prepare(verified: boolean): Promise<void> {
    if (!verified) await this.verify()
    await makeHome(this.#home)
    await this.makeFolders()
  }

  async get(id: string, options: MountOptions = {}): Promise<string> {
    return await this.mounts.get(id, options)
  }

  async put(id: string, options: { readonly force?: boolean } = {}): Promise<void> {
    await this.mounts.put(id, options.force === true)
  }

  async beginUnmount(id: string, mountID: bigint): Promise<Ending | undefined> {
    return await this.mounts.beginUnmount(id, mountID)
  }

  async open(id: string, options: OpenOptions = {}): Promise<DetachedMount> {
    return detached(await this.mounts.open(id, options))
  }

  async emptyTrash(): Promise<number> {
    return await this.trash.empty()
  }

  emptyTrashSoon(): void {
    this.trash.start()
  }

  async idle(): Promise<void> {
    try {
      await this.mounts.idle()
    } finally {
      await this.trash.idle()
    }
  }

  async cleanup(): Promise<void> {
    await this.mounts.unmountAll()
    await this.idle()
  }
}
