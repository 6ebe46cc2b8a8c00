/** Writes an archive's headers and small bodies one after another into large chunks. */
import { encodeHeader, type EncodeOptions, putPlainHeader, type TarMember } from './encode.ts'
import { BLOCK, paddingOf } from './header.ts'

/** Consumers that compress or write lose a third of their speed to chunks of 64 KiB; larger ones gain nothing. */
const CHUNK_BYTES = 1024 * 1024

export class ChunkWriter {
  readonly #options: EncodeOptions
  #chunk: Buffer = Buffer.alloc(0)
  #at = 0
  #done: Buffer[] = []

  constructor(options: EncodeOptions = {}) {
    this.#options = options
  }

  /** Whether there are whole chunks to take. */
  get isFull(): boolean {
    return this.#done.length > 0
  }

  /** @throws ERR_INVALID_ARGUMENT for what tar cannot say */
  header(member: TarMember): void {
    this.#reserve(BLOCK)
    if (putPlainHeader(member, this.#options, this.#chunk, this.#at)) this.#at += BLOCK
    else this.add(encodeHeader(member, this.#options))
  }

  /** Copies the bytes. */
  add(bytes: Uint8Array): void {
    this.#reserve(bytes.length)
    this.#chunk.set(bytes, this.#at)
    this.#at += bytes.length
  }

  /** NULs up to the next block after a body of `size` bytes. */
  pad(size: number): void {
    const count = paddingOf(size)
    this.#reserve(count)
    this.#at += count
  }

  /** The whole chunks, which are the caller's then. */
  takeFull(): Buffer[] {
    const done = this.#done
    this.#done = []
    return done
  }

  /** All that was written and not taken. */
  takeAll(): Buffer[] {
    this.#close()
    return this.takeFull()
  }

  #reserve(bytes: number): void {
    if (this.#at + bytes <= this.#chunk.length) return
    this.#close()
    // Not used twice: whoever takes the chunk may keep it. NULs, which most of a header is.
    this.#chunk = Buffer.alloc(Math.max(CHUNK_BYTES, bytes))
  }

  /** What is left of the chunk's memory holds what comes next. */
  #close(): void {
    if (this.#at > 0) this.#done.push(this.#chunk.subarray(0, this.#at))
    this.#chunk = this.#chunk.subarray(this.#at)
    this.#at = 0
  }
}
