/**
 * Memory for pieces of a stream, used again and again: fresh memory costs a page fault each 4 KiB, and a garbage
 * collection each 64 MiB, together a tenth of what unpacking costs.
 */

/** As much as makes a turn of the thread pool not matter. Bytes. */
export const CHUNK_BYTES: number = 4 * 1024 * 1024

/** About as many as one unpacking has at its height. */
const MAX_SPARE = 16
const KEEP_MS = 2000

/** Chunks without a user, kept for a while: the next layer takes what the one before is done with. */
class SpareChunks {
  readonly #chunks: Buffer[] = []
  #forgetting: NodeJS.Timeout | undefined

  take(): Buffer | undefined {
    return this.#chunks.pop()
  }

  give(chunk: Buffer): void {
    if (this.#chunks.length === MAX_SPARE) return
    this.#chunks.push(chunk)
    if (this.#forgetting !== undefined) this.#forgetting.refresh()
    else this.#forgetting = setTimeout(() => (this.#chunks.length = 0), KEEP_MS).unref()
  }
}

/** Of all pools with chunks of the usual size. */
const usual = new SpareChunks()

export class ChunkPool {
  readonly #bytes: number
  readonly #spare: SpareChunks
  readonly #users = new Map<Buffer, number>()

  /** @param bytes of each chunk */
  constructor(bytes: number = CHUNK_BYTES) {
    this.#bytes = bytes
    this.#spare = bytes === CHUNK_BYTES ? usual : new SpareChunks()
  }

  /** A chunk with one user. Longer ones than the pool's are made for the occasion. */
  take(bytes: number = this.#bytes): Buffer {
    const fits = bytes <= this.#bytes
    const chunk =
      (fits ? this.#spare.take() : undefined) ?? Buffer.allocUnsafeSlow(Math.max(bytes, this.#bytes))
    this.#users.set(chunk, 1)
    return chunk
  }

  /** One user more. @throws {RangeError} when there is none */
  retain(chunk: Buffer): void {
    const users = this.#users.get(chunk)
    if (users === undefined) throw new RangeError('the memory is not in use')
    this.#users.set(chunk, users + 1)
  }

  /** The last user's release makes the memory free for something else. @throws {RangeError} when there is no user */
  release(chunk: Buffer): void {
    const users = this.#users.get(chunk)
    if (users === undefined) throw new RangeError('the memory is not in use')
    if (users > 1) {
      this.#users.set(chunk, users - 1)
      return
    }
    this.#users.delete(chunk)
    if (chunk.length === this.#bytes) this.#spare.give(chunk)
  }
}
