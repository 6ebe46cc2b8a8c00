/** Bytes that are pulled into memory of the reader's, and the two ways between that and a stream of chunks. */

export interface ByteSource {
  /** Fills `into` from its start: as much as there is, 0 at the end. One call at a time. */
  read(into: Buffer): Promise<number>
  /** Ends the source early; what it reads from is closed. Not needed after the end or an error. */
  close(): Promise<void>
}

/** Bytes of a chunk that {@link readAhead} gives. */
const CHUNK_BYTES = 1024 * 1024

/** A source of chunks, which are copied. */
export function sourceOf(chunks: AsyncIterable<Buffer>): ByteSource {
  const iterator = chunks[Symbol.asyncIterator]()
  let rest: Buffer = Buffer.alloc(0)
  return {
    async read(into) {
      while (rest.length === 0) {
        const next = await iterator.next()
        if (next.done === true) return 0
        rest = next.value
      }
      const copied = rest.copy(into)
      rest = rest.subarray(copied)
      return copied
    },
    async close() {
      await iterator.return?.()
    },
  }
}

/** The chunks of a source: each in memory of its own, and the next one is read while its reader has this one. */
export async function* readAhead(source: ByteSource): AsyncGenerator<Buffer> {
  let next = fill(source)
  try {
    for (let chunk = await next; chunk.length > 0; chunk = await next) {
      next = fill(source)
      // It is awaited above, or not at all when the reader has had enough.
      next.catch(() => undefined)
      yield chunk
    }
  } finally {
    await next.catch(() => undefined)
    await source.close()
  }
}

async function fill(source: ByteSource): Promise<Buffer> {
  // Not of the pool of small buffers: the reader may keep it.
  const room = Buffer.allocUnsafeSlow(CHUNK_BYTES)
  return room.subarray(0, await source.read(room))
}
