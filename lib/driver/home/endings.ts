/**
 * The ends of mounts that are undone already. Of an overlay that is a sync of its upper's file system, all of it, of
 * what everyone wrote there: nine tenths of the time that unmounting takes. Who asked for nothing to be synced need not
 * wait for it. A process that is killed leaves the rest to the kernel, which takes it up after the process's locks are
 * gone: then another overlay may be on the upper while the old one, which nobody uses any more, is being synced.
 */
import type { OwnedFd } from '../../native/fd.ts'
import { mountGate } from '../../native/gate.ts'
import { unmountLeaving } from '../../native/mount.ts'

/** Each takes a thread of the pool, which all drivers of a process share. */
const MAX_ENDINGS = 3

let endings = 0

/** A mount that is undone, and not quite ended. */
export interface Ending {
  /** When its upper can be used elsewhere. Never rejects: {@link Endings.all} tells what failed. */
  readonly ended: Promise<void>
}

export class Endings {
  readonly #running = new Map<string, Promise<void>>()
  /** The layer that began last: who mounts one again and again waits for its end before the next, and gains nothing. */
  #last: string | undefined
  /** The last, until it is told. */
  #failure: { readonly error: unknown } | undefined

  /**
   * Unmounts `target`, if that is the mount `mountID`, and lets what is left of the mount of `id` end in the background.
   * Undefined, and nothing is undone, where it is another; also where others mount or unmount, or many are ending:
   * whoever has to wait for them may as well wait for the sync.
   */
  async begin(id: string, target: string, mountID?: bigint): Promise<Ending | undefined> {
    if (endings >= MAX_ENDINGS || this.#running.has(id) || id === this.#last) return undefined
    const unmounting = mountGate.now(() => unmountLeaving(target, mountID))
    if (unmounting === undefined) return undefined
    endings++
    // What keeps it from being unmounted is told to the caller.
    const left = unmounting.then(
      (rest) => this.#end(rest),
      () => undefined,
    )
    const ended = left.finally(() => {
      endings--
      this.#running.delete(id)
    })
    this.#running.set(id, ended)
    if ((await unmounting) === undefined) return undefined
    this.#last = id
    return { ended }
  }

  async #end(rest: OwnedFd | undefined): Promise<void> {
    try {
      await rest?.closeAsync()
    } catch (error) {
      this.#failure = { error }
    }
  }

  /** Waits until nothing is left of the mount of `id`. */
  async of(id: string): Promise<void> {
    await this.#running.get(id)
  }

  /** As {@link of}, of all. @throws what failed since it was last asked */
  async all(): Promise<void> {
    await Promise.all(this.#running.values())
    const failure = this.#failure
    this.#failure = undefined
    if (failure !== undefined) throw failure.error
  }
}
