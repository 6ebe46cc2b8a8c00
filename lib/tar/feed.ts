/** Feeds a stream to a scanner: memory from a pool, one read ahead, and a wait for whoever works on what was told. */
import { abortable } from './abortable.ts'
import type { ByteSource } from './byte-source.ts'
import type { ChunkPool } from './chunk-pool.ts'
import type { TarObserver } from './entry.ts'
import type { TarScanner } from './scanner.ts'

/** Room before what is read, for what the scanner left of the piece before: nearly always nothing, else a header. */
const HEADROOM = 4096
/** Pieces that the observer may be behind. */
const MAX_BEHIND = 2

export interface FeedOptions {
  readonly pool: ChunkPool
  readonly observer?: TarObserver | undefined
  readonly signal?: AbortSignal | undefined
  /** Awaited after each piece. */
  readonly afterPiece?: () => Promise<void>
}

/**
 * Reads `source` to its end, past the archive's: a digest or an observer sees all of it. All that used its memory has
 * ended when this settles, but for a read that an abort left behind. The caller closes the source.
 * @throws what the scanner, the source and the observer throw; the signal's reason
 */
export async function feed(source: ByteSource, scanner: TarScanner, options: FeedOptions): Promise<void> {
  const feeder = new Feeder(source, scanner, options)
  try {
    await feeder.run()
  } finally {
    await feeder.quiet()
  }
}

/** What was read: `chunk` from HEADROOM to `end`. */
interface Piece {
  readonly chunk: Buffer
  readonly end: number
}

/** What comes when there is no more. */
const END: Piece = { chunk: Buffer.alloc(0), end: 0 }

class Feeder {
  readonly #source: ByteSource
  readonly #scanner: TarScanner
  readonly #options: FeedOptions
  /** What the scanner did not take. */
  #rest = Buffer.alloc(0)
  readonly #telling: Promise<void>[] = []

  constructor(source: ByteSource, scanner: TarScanner, options: FeedOptions) {
    this.#source = source
    this.#scanner = scanner
    this.#options = options
  }

  async run(): Promise<void> {
    const { signal, afterPiece } = this.#options
    let next = this.#read()
    for (;;) {
      const piece = await abortable(next, signal)
      // Some streams end when they are aborted: that is no end of the archive.
      signal?.throwIfAborted()
      if (piece === END) break
      next = this.#read()
      // Whatever ends the loop below leaves it behind; an abort too.
      next.catch(() => undefined)
      this.#scan(piece)
      await abortable(this.#catchUp(MAX_BEHIND), signal)
      await afterPiece?.()
    }
    this.#scanner.finish(this.#rest.length)
    await this.#catchUp(0)
  }

  async #read(): Promise<Piece> {
    const { pool } = this.#options
    const chunk = pool.take()
    const size = await this.#source.readInto(chunk.subarray(HEADROOM))
    if (size > 0) return { chunk, end: HEADROOM + size }
    pool.release(chunk)
    return END
  }

  #scan({ chunk, end }: Piece): void {
    const { pool, observer } = this.#options
    const [bytes, start, stop] = this.#join(chunk, end)
    try {
      const at = this.#scanner.scan(bytes, start, stop)
      const told = start + this.#rest.length
      this.#rest = Buffer.from(bytes.subarray(at, stop))
      const telling = observer?.told?.(bytes, told, stop)
      if (telling === undefined) return
      pool.retain(bytes)
      this.#telling.push(this.#until(telling, bytes))
    } finally {
      pool.release(bytes)
    }
  }

  /** The rest of the piece before, and this one. */
  #join(chunk: Buffer, end: number): [bytes: Buffer, start: number, end: number] {
    const { pool } = this.#options
    const rest = this.#rest
    if (rest.length <= HEADROOM) {
      rest.copy(chunk, HEADROOM - rest.length)
      return [chunk, HEADROOM - rest.length, end]
    }
    const size = rest.length + end - HEADROOM
    const joined = pool.take(size)
    rest.copy(joined)
    chunk.copy(joined, rest.length, HEADROOM, end)
    pool.release(chunk)
    return [joined, 0, size]
  }

  /** Gives the memory back when `telling` has settled. */
  #until(telling: Promise<void>, bytes: Buffer): Promise<void> {
    const done = telling.finally(() => {
      this.#options.pool.release(bytes)
    })
    // catchUp() awaits it; a failure before that is no reason to end the process.
    done.catch(() => undefined)
    return done
  }

  async #catchUp(behind: number): Promise<void> {
    while (this.#telling.length > behind) {
      await this.#telling[0]
      void this.#telling.shift()
    }
  }

  async quiet(): Promise<void> {
    await Promise.allSettled(this.#telling)
  }
}
