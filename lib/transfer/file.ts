/** Reading from files at offsets: an archive's members are read several at a time from one descriptor. */
import type { FileHandle } from 'node:fs/promises'
import { OverlaidError } from '../errors.ts'

/** As much as makes the cost of a read not matter. Bytes. */
const CHUNK = 1024 * 1024

export interface Range {
  /** Bytes from the start of the file. */
  readonly offset: number
  readonly size: number
}

/**
 * The bytes of a range of `file`, one read ahead of the reader.
 * @param what names it in messages
 * @throws ERR_SIZE_MISMATCH when the file ends before the range does; the signal's reason
 */
export async function* readRange(
  file: FileHandle,
  range: Range,
  what: string,
  signal?: AbortSignal,
): AsyncGenerator<Buffer> {
  const end = range.offset + range.size
  let at = range.offset
  let next = readAhead(file, at, end)
  while (at < end) {
    signal?.throwIfAborted()
    const chunk = await next
    if (chunk.length === 0) {
      throw new OverlaidError('ERR_SIZE_MISMATCH', `${what} ends ${String(end - at)} bytes early`)
    }
    at += chunk.length
    next = readAhead(file, at, end)
    yield chunk
  }
}

function readAhead(file: FileHandle, at: number, end: number): Promise<Buffer> {
  const size = Math.min(CHUNK, end - at)
  const read = size === 0 ? Promise.resolve(Buffer.alloc(0)) : readAt(file, at, size)
  // The reader may stop before it asks for this; a failure is then nobody's.
  read.catch(() => undefined)
  return read
}

/** Up to `size` bytes at `offset`; fewer at the end of the file. */
export async function readAt(file: FileHandle, offset: number, size: number): Promise<Buffer> {
  const buffer = Buffer.allocUnsafeSlow(size)
  const { bytesRead } = await file.read(buffer, 0, size, offset)
  return buffer.subarray(0, bytesRead)
}
