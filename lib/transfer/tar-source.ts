/** From a blob to its tar, in the form that costs least: an uncompressed one is read where the reader wants it. */
import { type ByteSource, type ByteStream, byteChunks, isByteSource } from '../tar/byte-source.ts'
import { bestEngine, decompressed, type Engine, openDecoder, sniff, SNIFF_BYTES } from './compression.ts'

/**
 * The bytes of a blob without their compression, if they have one; see {@link decompressed}.
 * @throws ERR_UNSUPPORTED_MEDIA_TYPE, and what the blob throws
 */
export async function openTar(
  blob: ByteStream,
  what: string,
  engine: Engine = bestEngine(),
): Promise<ByteStream> {
  if (!isByteSource(blob)) return decompressed(blob, what, engine)
  const source = await Peeked.open(blob, SNIFF_BYTES)
  const compression = sniff(source.head, what)
  if (compression === 'none') return source
  if (engine === 'native') return openDecoder(compression, source, what)
  return decompressed(byteChunks(source), what, engine)
}

/** A source whose first bytes are known. */
class Peeked implements ByteSource {
  readonly head: Buffer
  readonly #source: ByteSource
  #rest: Buffer

  private constructor(source: ByteSource, head: Buffer) {
    this.#source = source
    this.head = head
    this.#rest = head
  }

  static async open(source: ByteSource, bytes: number): Promise<Peeked> {
    const head = Buffer.alloc(bytes)
    return new Peeked(source, head.subarray(0, await source.readInto(head)))
  }

  async readInto(into: Buffer): Promise<number> {
    const count = this.#rest.copy(into)
    this.#rest = this.#rest.subarray(count)
    return count === into.length ? count : count + (await this.#source.readInto(into.subarray(count)))
  }

  close(): Promise<void> {
    return this.#source.close()
  }
}
