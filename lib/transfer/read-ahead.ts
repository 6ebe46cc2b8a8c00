/** A source as chunks, the next of which is made while the reader has one. */
import type { ByteSource } from '../tar/byte-source.ts'

const CHUNK_BYTES = 1024 * 1024

/** The chunks of a source, each in memory of its own. */
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
