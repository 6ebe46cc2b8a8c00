/** The mounts of merged views at their places in a home: made at the first get, counted, undone at the last put. */
import { hasCode, OverlaidError } from '../../errors.ts'
import {
  attachAtHome,
  type Detached,
  isDead,
  mountIDAt,
  removeMountPoint,
  unmount,
} from '../../native/mount.ts'
import type { MountOptions, OpenOptions } from '../driver.ts'
import { type Ending, Endings } from './endings.ts'

/** What a driver brings. */
export interface Mountable {
  /** Where the merged view of `id` shows. @throws ERR_INVALID_ARGUMENT for what can be no id */
  mergedPath(id: string): string
  /** The merged tree of `id` as a detached mount: what get() attaches. @throws ERR_LAYER_NOT_FOUND */
  openMount(id: string, options: OpenOptions): Promise<Detached>
  /** See Driver.server. */
  readonly server?: string
  /** Called when `id` is unmounted: waits for what served it. */
  ended?(id: string): Promise<void>
  /** Whether put() need not wait for the sync that ends an overlay: nothing else of the driver's is synced either. */
  readonly endsLater?: boolean
}

export class Mounts {
  readonly #driver: Mountable
  /** How many gets are to be undone, by id; one that is mounted and not in it is another process's. */
  readonly #counts = new Map<string, number>()
  readonly #turns = new Map<string, Promise<unknown>>()
  readonly #endings = new Endings()

  constructor(driver: Mountable) {
    this.#driver = driver
  }

  /** See Driver.get. */
  get(id: string, options: MountOptions): Promise<string> {
    const merged = this.#driver.mergedPath(id)
    return this.#inTurn(id, async () => {
      const count = await this.#countOf(id, merged)
      if (count === 0) await this.#mount(id, merged, options)
      else if (this.#driver.server !== undefined)
        await expectAlive(merged, `layer ${id}`, this.#driver.server)
      this.#counts.set(id, count + 1)
      return merged
    })
  }

  /** See Driver.put. */
  put(id: string, force: boolean): Promise<void> {
    const merged = this.#driver.mergedPath(id)
    return this.#inTurn(id, async () => {
      const count = this.#counts.get(id) ?? ((await isMountPoint(merged)) ? 1 : 0)
      if (count === 1) await this.#unmount(id, merged, force)
      if (count <= 1) this.#counts.delete(id)
      else this.#counts.set(id, count - 1)
    })
  }

  /** Runs `work` when nobody has `id` mounted, and keeps this process from mounting it meanwhile. */
  whileUnmounted(id: string, work: () => Promise<void>): Promise<void> {
    const merged = this.#driver.mergedPath(id)
    return this.#inTurn(id, async () => {
      if ((await this.#countOf(id, merged)) > 0) {
        throw new OverlaidError('ERR_IN_USE', `layer ${id} is mounted at ${merged}`, { path: merged })
      }
      await work()
    })
  }

  /** The merged tree of `id`, once the mount before has ended: one upper has one overlay. */
  async open(id: string, options: OpenOptions): Promise<Detached> {
    await this.ended(id)
    return await this.#driver.openMount(id, options)
  }

  /** See Driver.beginUnmount; whatever is mounted there where no mount is named. */
  async beginUnmount(id: string, mountID?: bigint): Promise<Ending | undefined> {
    const merged = this.#driver.mergedPath(id)
    return this.#driver.endsLater === true ? await this.#endings.begin(id, merged, mountID) : undefined
  }

  /** Waits until what was mounted of `id` has ended: its upper can be used elsewhere then. */
  async ended(id: string): Promise<void> {
    await this.#endings.of(id)
  }

  /** As {@link ended}, of all. @throws what failed since it was last asked */
  async idle(): Promise<void> {
    await this.#endings.all()
  }

  /** Unmounts everything that this process mounted, busy or not. */
  async unmountAll(): Promise<void> {
    for (const id of [...this.#counts.keys()]) {
      await this.#inTurn(id, async () => {
        await this.#unmount(id, this.#driver.mergedPath(id), true)
        this.#counts.delete(id)
      })
    }
  }

  async #mount(id: string, merged: string, options: MountOptions): Promise<void> {
    const { fd } = await this.open(id, options)
    try {
      await attachAtHome(fd, merged)
    } finally {
      await fd.closeAsync()
    }
  }

  async #unmount(id: string, merged: string, force: boolean): Promise<void> {
    await unlessGone(merged, async () => {
      if (force || (await this.beginUnmount(id)) === undefined) await unmount(merged, { detach: force })
    })
    removeMountPoint(merged)
    // A forced one may be busy for as long as it likes.
    if (!force) await this.#driver.ended?.(id)
  }

  /** What is counted ends with the mount: another process may have undone it. */
  async #countOf(id: string, merged: string): Promise<number> {
    return (await isMountPoint(merged)) ? (this.#counts.get(id) ?? 1) : 0
  }

  /** One thing at a time for each id: a get must not meet a put that has unmounted and not yet removed the folder. */
  async #inTurn<T>(id: string, work: () => Promise<T>): Promise<T> {
    const before = this.#turns.get(id)
    const turn = (before ?? Promise.resolve()).then(work, work)
    this.#turns.set(id, turn)
    try {
      return await turn
    } finally {
      if (this.#turns.get(id) === turn) this.#turns.delete(id)
    }
  }
}

/** @throws ERR_DEAD_MOUNT when the process of `server` that serves the mount at `path` has died */
export async function expectAlive(path: string, label: string, server: string): Promise<void> {
  if (!(await isDead(path))) return
  throw new OverlaidError(
    'ERR_DEAD_MOUNT',
    `the ${server} process of ${label} has died: nothing can be read or written`,
    {
      path,
      hint: 'what was written is in the layer; force the unmount, then mount it again',
    },
  )
}

async function isMountPoint(path: string): Promise<boolean> {
  return (await mountIDAt(path)) !== undefined
}

async function unlessGone(merged: string, undo: () => Promise<void>): Promise<void> {
  try {
    await undo()
  } catch (error) {
    if (hasCode(error, 'EBUSY')) throw busy(merged, error)
    // Somebody unmounted it, and may have removed the folder: what was asked for is so.
    if (!hasCode(error, 'EINVAL', 'ENOENT')) throw error
  }
}

function busy(merged: string, cause: unknown): OverlaidError {
  return new OverlaidError(
    'ERR_IN_USE',
    `${merged} is busy: a process has a file or its working directory there`,
    {
      path: merged,
      cause,
      hint: 'end it (`fuser -vm` names it), or force the unmount',
    },
  )
}
