import { closeSync } from 'node:fs'

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

  [Symbol.dispose](): void {
    this.close()
  }
}
