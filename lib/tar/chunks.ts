export interface ChunkQueueOptions {
  /** Runs before each read of the source and can hold it up. */
  readonly beforeRead: () => Promise<void> | undefined
  /** Ends a wait for a source that does not answer. */
  readonly signal: AbortSignal | undefined
}

/** Reads a stream of chunks by byte counts, without copying what lies inside one chunk. */
export class ChunkQueue {
  readonly #source: AsyncIterator<Buffer>
  readonly #options: ChunkQueueOptions
  readonly #chunks: Buffer[] = []
  /** Bytes of the first chunk that are taken. */
  #head = 0
  #next: Promise<IteratorResult<Buffer>> | undefined
  #available = 0
  #offset = 0
  #ended = false

  constructor(source: AsyncIterable<Buffer>, options: ChunkQueueOptions) {
    this.#source = source[Symbol.asyncIterator]()
    this.#options = options
  }

  /** Bytes that {@link take} gives without waiting. */
  get available(): number {
    return this.#available
  }

  /** Bytes taken so far: where in the stream the next one lies. */
  get offset(): number {
    return this.#offset
  }

  /** Reads until `count` bytes are available. False when the stream ends before. */
  async fill(count: number): Promise<boolean> {
    const { beforeRead, signal } = this.#options
    while (this.#available < count && !this.#ended) {
      signal?.throwIfAborted()
      await beforeRead()
      const result = await abortable(this.#next ?? this.#source.next(), signal)
      this.#ended = result.done === true
      // One read ahead, so that the source works while we do.
      this.#next = this.#ended ? undefined : this.#readAhead()
      if (result.done !== true && result.value.length > 0) this.#push(result.value)
    }
    return this.#available >= count
  }

  #readAhead(): Promise<IteratorResult<Buffer>> {
    const next = this.#source.next()
    // The next fill() awaits it; should none come, its failure is nobody's.
    next.catch(() => undefined)
    return next
  }

  #push(chunk: Buffer): void {
    this.#chunks.push(chunk)
    this.#available += chunk.length
  }

  /** The next `count` bytes, which must be available: a view where they lie in one chunk, else a copy. */
  take(count: number): Buffer {
    const first = this.#chunks[0]
    if (first !== undefined && first.length - this.#head >= count) return this.takeUpTo(count)
    const parts: Buffer[] = []
    for (let left = count; left > 0;) {
      const part = this.takeUpTo(left)
      parts.push(part)
      left -= part.length
    }
    return Buffer.concat(parts, count)
  }

  /** Up to `count` of the next bytes, as a view; at least one must be available. */
  takeUpTo(count: number): Buffer {
    const first = this.#chunks[0]
    if (first === undefined) throw new RangeError('no bytes are available')
    const end = Math.min(first.length, this.#head + count)
    const taken = first.subarray(this.#head, end)
    this.#head = end
    if (end === first.length) {
      this.#chunks.shift()
      this.#head = 0
    }
    this.#available -= taken.length
    this.#offset += taken.length
    return taken
  }

  /** Ends the source early; harmless when it has ended. */
  async close(): Promise<void> {
    if (this.#ended) return
    this.#ended = true
    // A generator finishes the chunk that was read ahead first, with whatever failure that has.
    const closed = Promise.allSettled([this.#next, this.#source.return?.()])
    if (this.#options.signal?.aborted !== true) await closed
  }
}

/** `promise`, or the signal's reason when that comes first. */
export async function abortable<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return promise
  let onAbort: (() => void) | undefined
  const aborted = new Promise<never>((_resolve, reject) => {
    onAbort = () => {
      reject(signal.reason as Error)
    }
    signal.addEventListener('abort', onAbort, { once: true })
  })
  try {
    return await Promise.race([promise, aborted])
  } finally {
    if (onAbort !== undefined) signal.removeEventListener('abort', onAbort)
  }
}
