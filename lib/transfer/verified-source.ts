/** A blob that is checked as it is read, with its hashing beside the reader's work. */
import { checkSoFar, checkWhole, type Digest, type Expected } from '../oci/digest.ts'
import { archiveSums } from '../native/sums.ts'
import { type ByteSource, type ByteStream, byteChunks, byteSource } from '../tar/byte-source.ts'

/** Nothing is wanted but the digest of the whole. */
const NO_RANGES = new Uint32Array(0)

/** As {@link verified}, read as chunks or into the reader's own memory. Same errors, at the read that meets the end. */
export function verifiedSource(stream: ByteStream, expected: Expected): AsyncIterable<Buffer> & ByteSource {
  return new VerifiedSource(byteSource(stream), expected)
}

class VerifiedSource implements AsyncIterable<Buffer>, ByteSource {
  readonly #source: ByteSource
  readonly #expected: Expected
  readonly #sums = archiveSums()
  /** Of what was read last; it has ended when the next read does. */
  #hashing: Promise<unknown> = Promise.resolve()
  #size = 0
  #ended = false

  constructor(source: ByteSource, expected: Expected) {
    this.#source = source
    this.#expected = expected
  }

  async readInto(into: Buffer): Promise<number> {
    if (this.#ended) return 0
    const count = await this.#source.readInto(into)
    await this.#hashing
    this.#size += count
    checkSoFar(this.#size, this.#expected)
    if (count > 0) this.#hash(into.subarray(0, count))
    if (count < into.length) await this.#check()
    return count
  }

  #hash(bytes: Buffer): void {
    this.#hashing = this.#sums.update(bytes, 0, NO_RANGES, false)
    // The next read awaits it; should none come, its failure is nobody's.
    this.#hashing.catch(() => undefined)
  }

  async #check(): Promise<void> {
    this.#ended = true
    await this.#hashing
    const digest = `sha256:${this.#sums.digest().toString('hex')}` as Digest
    checkWhole({ size: this.#size, digest }, this.#expected)
  }

  close(): Promise<void> {
    return this.#source.close()
  }

  [Symbol.asyncIterator](): AsyncGenerator<Buffer> {
    return byteChunks(this)
  }
}
