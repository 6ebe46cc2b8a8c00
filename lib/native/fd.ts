import { close, closeSync } from 'node:fs'
import { promisify } from 'node:util'

const closeOnPool = promisify(close)

/** A file descriptor that belongs to someone: closed once, at the latest when its scope ends. */
export class OwnedFd implements Disposable {
  #fd: number

  constructor(fd: number) {
    this.#fd = fd
  }

  /** The descriptor. Throws after close(), rather than hand out a number that may be someone else's by now. */
  get fd(): number {
    if (this.#fd < 0) throw new Error('this file descriptor is closed')
    return this.#fd
  }

  /** Gives the descriptor away: the caller closes it. */
  release(): number {
    const fd = this.fd
    this.#fd = -1
    return fd
  }

  close(): void {
    if (this.#fd >= 0) closeSync(this.release())
  }

  /**
   * close() on a pool thread: the last descriptor of a detached mount unmounts it, and unmounting an overlay syncs
   * the file system of its upper, all of it.
   */
  async closeAsync(): Promise<void> {
    if (this.#fd >= 0) await closeOnPool(this.release())
  }

  [Symbol.dispose](): void {
    this.close()
  }
}
