/** An archive of files on disk: to be read as bytes, or written to a descriptor without its bodies passing here. */
import { read as readCallback, write as writeCallback } from 'node:fs'
import { promisify } from 'node:util'
import { binding } from '../native/binding.ts'

const read = promisify(readCallback)
const write = promisify(writeCallback)

/** A large body: `size` bytes of an open file from its position on. Valid until the next piece is asked for. */
export interface FileBody {
  readonly fd: number
  readonly size: number
}

/** Bytes as they are, or a body still in its file. */
export type TarPiece = Buffer | FileBody

/** Larger reads don't get faster; 64 KiB ones cost a third of the speed. */
const CHUNK_BYTES = 1024 * 1024
/** Bytes copied by one call of the binding: a cancellation waits for no more. */
const COPY_BYTES = 64 * 1024 * 1024
const ZEROS = Buffer.alloc(64 * 1024)

export interface TarStreamOptions {
  readonly signal?: AbortSignal
}

/**
 * Made once, read once: by `for await`, or by {@link writeTo}. A file that has shrunk since its size was taken (a
 * container may be running) is filled up with NULs, of one that has grown the rest is left out: the archive stays
 * well-formed, as with every tar of a live tree.
 */
export class TarStream implements AsyncIterable<Buffer> {
  readonly #pieces: AsyncGenerator<TarPiece, void, undefined>
  readonly #signal: AbortSignal | undefined

  constructor(pieces: AsyncGenerator<TarPiece, void, undefined>, { signal }: TarStreamOptions = {}) {
    this.#pieces = pieces
    this.#signal = signal
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Buffer, void, undefined> {
    for await (const piece of this.#pieces) {
      if (Buffer.isBuffer(piece)) yield piece
      else yield* readBody(piece, this.#signal)
    }
  }

  /**
   * Writes the archive at the position of `fd`, a file or a pipe that blocks, which stays the caller's. Large bodies
   * go there by copy_file_range or sendfile where the kernel can. Returns the bytes written.
   */
  async writeTo(fd: number): Promise<number> {
    let total = 0
    // A write runs while the next piece is made.
    let writing = Promise.resolve()
    try {
      for await (const piece of this.#pieces) {
        await writing
        this.#signal?.throwIfAborted()
        const isBytes = Buffer.isBuffer(piece)
        writing = isBytes ? writeAll(fd, piece) : Promise.resolve()
        // It is awaited in its turn.
        writing.catch(() => undefined)
        if (!isBytes) await copyBody(fd, piece, this.#signal)
        total += isBytes ? piece.length : piece.size
      }
    } finally {
      // The descriptor is the caller's to close: no write outlives this call, whatever ended the loop.
      await Promise.allSettled([writing])
    }
    await writing
    return total
  }
}

async function writeAll(fd: number, bytes: Buffer): Promise<void> {
  for (let at = 0; at < bytes.length;) {
    at += (await write(fd, bytes, at, bytes.length - at, null)).bytesWritten
  }
}

async function copyBody(out: number, { fd, size }: FileBody, signal: AbortSignal | undefined): Promise<void> {
  let left = size
  for (let copied = -1; left > 0 && copied !== 0; left -= copied) {
    signal?.throwIfAborted()
    copied = await binding.copyFileRange(fd, out, Math.min(left, COPY_BYTES))
  }
  for (; left > 0; left -= Math.min(left, ZEROS.length)) {
    await writeAll(out, ZEROS.subarray(0, Math.min(left, ZEROS.length)))
  }
}

/** Reads a chunk ahead of its consumer. */
async function* readBody(
  { fd, size }: FileBody,
  signal: AbortSignal | undefined,
): AsyncGenerator<Buffer, void, undefined> {
  let asked = Math.min(size, CHUNK_BYTES)
  let ahead = readChunk(fd, asked)
  try {
    for (let left = size; left > 0;) {
      const chunk = await ahead
      signal?.throwIfAborted()
      left -= chunk.length
      asked = Math.min(left, CHUNK_BYTES)
      if (asked > 0) ahead = readChunk(fd, asked)
      // It is awaited in its turn.
      ahead.catch(() => undefined)
      yield chunk
    }
  } finally {
    // Whoever closes the file must not do so under a read.
    await Promise.allSettled([ahead])
  }
}

/** `length` bytes; what the file has not is NULs. */
async function readChunk(fd: number, length: number): Promise<Buffer> {
  // Not from Node's pool and not used twice: whoever takes the chunk may keep it.
  const chunk = Buffer.allocUnsafeSlow(length)
  let at = 0
  for (let got = -1; at < length && got !== 0; at += got) {
    got = (await read(fd, chunk, at, length - at, null)).bytesRead
  }
  return chunk.fill(0, at)
}
