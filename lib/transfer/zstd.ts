/**
 * Decompresses zstd: by node:zlib where it can (Node 22.15), else by fzstd, which is pure JavaScript, runs on the
 * caller's thread and does not check a frame's checksum; what is read by it has digests that are checked.
 */
import { Decompress } from 'fzstd'
import { type FrameEvent, FrameScanner } from './zstd-frames.ts'

/** Decodes the bytes of one frame. */
export type FrameDecoder = (frame: AsyncIterable<Buffer>) => AsyncIterable<Buffer>

/** Of input scanned at once: it may hold a frame in every twelve bytes. */
const SCAN_BYTES = 64 * 1024
/**
 * Of input given to fzstd at once. It hands out all of what it makes of it, and three bytes can make 128 KiB: this
 * bounds it to 64 MiB for the worst input, and costs little for any.
 */
const PUSH_BYTES = 2 * 1024
const EMPTY = new Uint8Array(0)

/**
 * The content of a stream of zstd frames.
 * @param what names it in messages
 * @throws ERR_BAD_COMPRESSION, and what the decoder or the input throws
 */
export async function* unzstd(
  input: AsyncIterable<Buffer>,
  what: string,
  decode: FrameDecoder,
): AsyncGenerator<Buffer> {
  const frames = new FrameReader(input, what)
  try {
    while (await frames.next()) yield* decode(frames.bytes())
  } finally {
    await frames.close()
  }
}

/** Looks through the next chunk of a stream, for a decoder that takes frames as they come. */
export function scan(frames: FrameScanner, chunk: Buffer): void {
  for (let at = 0; at < chunk.length; at += SCAN_BYTES) frames.push(chunk.subarray(at, at + SCAN_BYTES))
}

/** The frames of a stream, one after the other. */
class FrameReader {
  readonly #source: AsyncIterator<Buffer>
  readonly #scanner: FrameScanner
  #events: FrameEvent[] = []
  #chunk: Buffer = Buffer.alloc(0)
  #ended = false

  constructor(input: AsyncIterable<Buffer>, what: string) {
    this.#source = input[Symbol.asyncIterator]()
    this.#scanner = new FrameScanner(what)
  }

  /** Whether there is another frame. The one before must have been read. */
  async next(): Promise<boolean> {
    return (await this.#event()) !== undefined
  }

  /** The bytes of the frame that next() has found. */
  async *bytes(): AsyncGenerator<Buffer> {
    for (let event = await this.#event(); event instanceof Buffer; event = await this.#event()) yield event
  }

  async close(): Promise<void> {
    if (!this.#ended) await this.#source.return?.()
  }

  async #event(): Promise<FrameEvent | undefined> {
    while (this.#events.length === 0) {
      if (this.#chunk.length === 0 && !(await this.#fill())) return undefined
      // Reversed, since taking from the end of an array is cheap.
      this.#events = this.#scanner.push(this.#chunk.subarray(0, SCAN_BYTES)).reverse()
      this.#chunk = this.#chunk.subarray(SCAN_BYTES)
    }
    return this.#events.pop()
  }

  async #fill(): Promise<boolean> {
    const next = await this.#source.next()
    if (next.done === true) {
      this.#ended = true
      this.#scanner.finish()
      return false
    }
    this.#chunk = next.value
    return true
  }
}

/** Decodes a frame in JavaScript. Throws fzstd's errors, and TypeError or RangeError for some corrupt input. */
export async function* fzstdFrame(frame: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  const output: Buffer[] = []
  const decoder = new Decompress((data) => {
    if (data.length > 0) output.push(Buffer.from(data.buffer, data.byteOffset, data.length))
  })
  for await (const bytes of frame) {
    for (let at = 0; at < bytes.length; at += PUSH_BYTES) {
      decoder.push(bytes.subarray(at, at + PUSH_BYTES))
      yield* output.splice(0)
    }
  }
  decoder.push(EMPTY, true)
  yield* output.splice(0)
}
