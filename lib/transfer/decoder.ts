/** Decompression by the addon: straight into memory of the reader's, on a thread of Node's pool. */
import { OverlaidError } from '../errors.ts'
import { binding, type CodecHandle } from '../native/binding.ts'
import type { ByteSource } from '../tar/byte-source.ts'

const NOTHING: Buffer = Buffer.alloc(0)
/** Compressed bytes read at a time, of which one lot is decompressed while the next is read. */
const INPUT_BYTES = 2 * 1024 * 1024

/** What looks through the compressed bytes before they are decompressed. Throws what is wrong with them. */
export interface Inspector {
  push(chunk: Buffer): void
  finish(): void
}

export class Decoder implements ByteSource {
  readonly #codec: CodecHandle
  readonly #input: ByteSource
  readonly #what: string
  readonly #inspector: Inspector | undefined
  #rest: Buffer = NOTHING
  /** The lot that is being read, and the two memories that take turns. */
  #ahead: Promise<Buffer> | undefined
  #spare: Buffer = Buffer.allocUnsafeSlow(INPUT_BYTES)
  #used: Buffer = Buffer.allocUnsafeSlow(INPUT_BYTES)
  /** The input has ended. */
  #ended = false
  /** So has what comes of it. */
  #done = false

  /** @param what names the stream in messages */
  constructor(kind: 'gunzip' | 'unzstd', input: ByteSource, what: string, inspector?: Inspector) {
    this.#codec = binding.openCodec(kind, 0, 0)
    this.#input = input
    this.#what = what
    this.#inspector = inspector
  }

  /** @throws ERR_BAD_COMPRESSION, and what the input throws */
  async readInto(into: Buffer): Promise<number> {
    try {
      let filled = 0
      while (filled < into.length && !this.#done) {
        if (this.#rest.length === 0 && !this.#ended) await this.#fetch()
        filled += await this.#step(into.subarray(filled))
      }
      return filled
    } catch (error) {
      await this.close()
      throw error
    }
  }

  async close(): Promise<void> {
    if (this.#ended) return
    this.#ended = true
    this.#done = true
    await this.#input.close()
  }

  async #fetch(): Promise<void> {
    this.#rest = await (this.#ahead ?? this.#readNext())
    if (this.#rest.length > 0) {
      this.#ahead = this.#readNext()
      // It is awaited in its turn, or left behind when this is closed.
      this.#ahead.catch(() => undefined)
      this.#inspector?.push(this.#rest)
      return
    }
    this.#ended = true
    this.#inspector?.finish()
  }

  async #readNext(): Promise<Buffer> {
    const into = this.#spare
    this.#spare = this.#used
    this.#used = into
    return into.subarray(0, await this.#input.readInto(into))
  }

  async #step(into: Buffer): Promise<number> {
    const given = this.#rest.length
    const { consumed, produced, problem } = await binding.runCodec(this.#codec, this.#rest, into, this.#ended)
    if (problem !== undefined) throw badCompression(new Error(problem), this.#what)
    this.#rest = this.#rest.subarray(consumed)
    // There was room left, so that nothing is held back.
    if (this.#ended && this.#rest.length === 0 && produced < into.length) this.#done = true
    else if (consumed === 0 && produced === 0 && given > 0)
      throw badCompression(new Error('it does not end'), this.#what)
    return produced
  }
}

export function badCompression(cause: unknown, what: string): OverlaidError {
  const reason = cause instanceof Error ? cause.message : String(cause)
  return new OverlaidError('ERR_BAD_COMPRESSION', `${what} cannot be decompressed: ${reason}`, { cause })
}
