/**
 * A bound on how many calls are in flight at once, with the rest waiting here, first come first served.
 *
 * Mounting and unmounting are done by libuv's pool, which has four threads for the whole process and one queue. A
 * thousand mounts asked for at once would stand in that queue before everybody else's reads and writes, and in the
 * kernel they would wait for the same locks: so they wait here, and an abandoned one leaves.
 *
 * What ends a mount goes before what begins one: otherwise a thousand callers that mount, work and unmount would all be
 * mounted before the first is unmounted. Nobody starves, since only what was begun can be ended.
 */

/** `end` goes before `begin`. */
export type Turn = 'begin' | 'end'

/** Mounts and unmounts of one turn of the event loop, in the calling thread. Each takes 50 to 500 µs. */
const MAX_NOW = 4

interface Waiter {
  enter(): void
}

export class Gate {
  readonly limit: number
  #inside = 0
  /** In order of arrival; a set, so that one in the middle can leave. */
  readonly #waiting: Readonly<Record<Turn, Set<Waiter>>> = { begin: new Set(), end: new Set() }
  /** Of {@link now}, in this turn of the event loop. */
  #now = 0
  #next: Promise<void> | undefined

  constructor(limit: number) {
    this.limit = limit
  }

  /** How many wait. */
  get waiting(): number {
    return this.#waiting.begin.size + this.#waiting.end.size
  }

  /** Runs `work` when there is room. @throws the signal's reason when it is aborted before */
  async run<T>(turn: Turn, work: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    signal?.throwIfAborted()
    if (this.#inside < this.limit) this.#inside++
    else await this.#wait(this.#waiting[turn], signal)
    try {
      return await work()
    } finally {
      this.#leave()
    }
  }

  /**
   * Runs `work` in the calling thread: for what takes less than threads take to wake each other. Undefined where others
   * are inside or want to be: then ask {@link run}.
   */
  now<T>(work: () => Promise<T>): Promise<T> | undefined {
    if (this.#inside > 0 || this.#next !== undefined) return undefined
    if (this.#now === MAX_NOW) return this.#nextTurn().then(work)
    if (this.#now++ === 0) setImmediate(() => (this.#now = 0))
    return work()
  }

  /** The event loop has waited for long enough. */
  #nextTurn(): Promise<void> {
    this.#next = new Promise<void>((resolve) => setImmediate(resolve)).then(() => (this.#next = undefined))
    return this.#next
  }

  /** Whoever is let in takes over the place of the one that leaves. */
  #wait(queue: Set<Waiter>, signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve, reject) => {
      const abort = () => {
        queue.delete(waiter)
        reject(signal?.reason as Error)
      }
      const waiter = {
        enter: () => {
          signal?.removeEventListener('abort', abort)
          resolve()
        },
      }
      signal?.addEventListener('abort', abort, { once: true })
      queue.add(waiter)
    })
  }

  #leave(): void {
    for (const queue of [this.#waiting.end, this.#waiting.begin]) {
      for (const next of queue) {
        queue.delete(next)
        next.enter()
        return
      }
    }
    this.#inside--
  }
}

/** As many as the pool has threads by default; test/bench/callers.bench.ts measures it, native/README.md has the numbers. */
const MOUNTS_IN_FLIGHT = 4

/** Every mount and unmount of this process: the pool and the kernel's locks are shared by all stores in it. */
export const mountGate: Gate = new Gate(MOUNTS_IN_FLIGHT)
