/**
 * Memory for pieces of a stream, used again and again: fresh memory costs a page fault each 4 KiB, which is a tenth of
 * what unpacking costs.
 */

/** As much as makes a turn of the thread pool not matter. Bytes. */
export const CHUNK_BYTES: number = 4 * 1024 * 1024

export class ChunkPool {
  readonly #bytes: number
  readonly #free: Buffer[] = []
  readonly #users = new Map<Buffer, number>()

  /** @param bytes of each chunk */
  constructor(bytes: number = CHUNK_BYTES) {
    this.#bytes = bytes
  }

  /** A chunk with one user. Longer ones than the pool's are made for the occasion. */
  take(bytes: number = this.#bytes): Buffer {
    const fits = bytes <= this.#bytes
    const chunk =
      (fits ? this.#free.pop() : undefined) ?? Buffer.allocUnsafeSlow(Math.max(bytes, this.#bytes))
    this.#users.set(chunk, 1)
    return chunk
  }

  retain(chunk: Buffer): void {
    this.#users.set(chunk, (this.#users.get(chunk) ?? 0) + 1)
  }

  /** The last user's release makes the memory free for something else. */
  release(chunk: Buffer): void {
    const users = (this.#users.get(chunk) ?? 0) - 1
    if (users > 0) {
      this.#users.set(chunk, users)
      return
    }
    this.#users.delete(chunk)
    if (chunk.length === this.#bytes) this.#free.push(chunk)
  }
}
