/** Reading a stream into memory that the reader brings, so that it can be used again. */

export interface ByteSource {
  /**
   * Fills `into` from its start. Gives how many bytes; fewer than fit at the end of the stream only, 0 after it. One
   * read at a time. A source may look at the bytes of one until the next has settled: they are not written over before.
   */
  readInto(into: Buffer): Promise<number>
  /** Ends it early; harmless after its end. */
  close(): Promise<void>
}

/** A stream in either form, or in both. */
export type ByteStream = AsyncIterable<Buffer> | ByteSource

/** By a name that Node's streams have not: theirs is `read`, and means something else. */
export function isByteSource(stream: ByteStream): stream is ByteSource {
  return 'readInto' in stream
}

/** The bytes of an iterable, each copied once. A source is given back as it is. */
export function byteSource(stream: ByteStream): ByteSource {
  return isByteSource(stream) ? stream : new IterableSource(stream)
}

/** As much as makes the cost of a read not matter, for readers that keep what they read. */
const CHUNK_BYTES = 1024 * 1024

/**
 * The bytes of a source in chunks, each in memory of its own; the next one is read while the reader has one.
 * @param size of a chunk in bytes
 */
export async function* byteChunks(source: ByteSource, size: number = CHUNK_BYTES): AsyncGenerator<Buffer> {
  let next = readChunk(source, size)
  try {
    for (let chunk = await next; chunk.length > 0; chunk = await next) {
      next = readChunk(source, size)
      // It is awaited above, or not at all when the reader has had enough.
      next.catch(() => undefined)
      yield chunk
    }
  } finally {
    await next.catch(() => undefined)
    await source.close()
  }
}

async function readChunk(source: ByteSource, size: number): Promise<Buffer> {
  // Not of the pool of small buffers: the reader may keep it.
  const room = Buffer.allocUnsafeSlow(size)
  return room.subarray(0, await source.readInto(room))
}

/** The stream in its form, with the count of bytes told as they pass. */
export function tapped(stream: ByteStream, tell: (bytes: number) => void): ByteStream {
  if (!isByteSource(stream)) return tappedChunks(stream, tell)
  const readInto = async (into: Buffer): Promise<number> => {
    const count = await stream.readInto(into)
    if (count > 0) tell(count)
    return count
  }
  return { readInto, close: () => stream.close() }
}

async function* tappedChunks(
  stream: AsyncIterable<Buffer>,
  tell: (bytes: number) => void,
): AsyncGenerator<Buffer> {
  for await (const chunk of stream) {
    tell(chunk.length)
    yield chunk
  }
}

class IterableSource implements ByteSource {
  readonly #iterator: AsyncIterator<Buffer>
  #chunk: Buffer = Buffer.alloc(0)
  #next: Promise<IteratorResult<Buffer>> | undefined
  #ended = false

  constructor(stream: AsyncIterable<Buffer>) {
    this.#iterator = stream[Symbol.asyncIterator]()
  }

  async readInto(into: Buffer): Promise<number> {
    let filled = 0
    while (filled < into.length && (this.#chunk.length > 0 || (await this.#advance()))) {
      const count = this.#chunk.copy(into, filled)
      filled += count
      this.#chunk = this.#chunk.subarray(count)
    }
    return filled
  }

  /** The next chunk; one more is asked for, so that the stream works while we do. */
  async #advance(): Promise<boolean> {
    if (this.#ended) return false
    const result = await (this.#next ?? this.#iterator.next())
    this.#ended = result.done === true
    this.#next = this.#ended ? undefined : this.#readAhead()
    if (result.done !== true) this.#chunk = result.value
    return !this.#ended
  }

  #readAhead(): Promise<IteratorResult<Buffer>> {
    const next = this.#iterator.next()
    // The next readInto() awaits it; should none come, its failure is nobody's.
    next.catch(() => undefined)
    return next
  }

  async close(): Promise<void> {
    if (this.#ended) return
    this.#ended = true
    // A generator finishes the chunk that was read ahead first, with whatever failure that has.
    await Promise.allSettled([this.#next, this.#iterator.return?.()])
  }
}
