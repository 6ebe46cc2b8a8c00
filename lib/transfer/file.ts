/** Reading from files at offsets: an archive's members are read several at a time from one descriptor. */
import type { FileHandle } from 'node:fs/promises'
import { OverlaidError } from '../errors.ts'
import { type ByteSource, byteChunks } from '../tar/byte-source.ts'

/** As much as makes the cost of a read not matter. Bytes. */
const CHUNK = 1024 * 1024

export interface Range {
  /** Bytes from the start of the file. */
  readonly offset: number
  readonly size: number
}

/**
 * The bytes of a range of `file`, once: as chunks, one read ahead of the reader, or into the reader's own memory.
 * @param what names it in messages
 * @throws ERR_SIZE_MISMATCH when the file ends before the range does; the signal's reason
 */
export function readRange(
  file: FileHandle,
  range: Range,
  what: string,
  signal?: AbortSignal,
): AsyncIterable<Buffer> & ByteSource {
  return new RangeReader(file, range, what, signal)
}

class RangeReader implements AsyncIterable<Buffer>, ByteSource {
  readonly #file: FileHandle
  readonly #end: number
  readonly #what: string
  readonly #signal: AbortSignal | undefined
  #at: number

  constructor(file: FileHandle, { offset, size }: Range, what: string, signal: AbortSignal | undefined) {
    this.#file = file
    this.#at = offset
    this.#end = offset + size
    this.#what = what
    this.#signal = signal
  }

  async readInto(into: Buffer): Promise<number> {
    let filled = 0
    while (filled < into.length && this.#at < this.#end) {
      this.#signal?.throwIfAborted()
      const count = Math.min(into.length - filled, this.#end - this.#at)
      const { bytesRead } = await this.#file.read(into, filled, count, this.#at)
      if (bytesRead === 0) throw this.#tooShort()
      this.#at += bytesRead
      filled += bytesRead
    }
    return filled
  }

  async close(): Promise<void> {
    // The file is the archive's.
  }

  [Symbol.asyncIterator](): AsyncGenerator<Buffer> {
    return byteChunks(this, Math.min(CHUNK, this.#end - this.#at))
  }

  #tooShort(): OverlaidError {
    return new OverlaidError(
      'ERR_SIZE_MISMATCH',
      `${this.#what} ends ${String(this.#end - this.#at)} bytes early`,
    )
  }
}

/** Up to `size` bytes at `offset`; fewer at the end of the file. */
export async function readAt(file: FileHandle, offset: number, size: number): Promise<Buffer> {
  const buffer = Buffer.allocUnsafeSlow(size)
  const { bytesRead } = await file.read(buffer, 0, size, offset)
  return buffer.subarray(0, bytesRead)
}
