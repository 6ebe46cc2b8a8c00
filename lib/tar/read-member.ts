import type { ChunkQueue } from './chunks.ts'
import type { TarEntry, TarHeader, TarObserver } from './entry.ts'
import { paddingOf } from './header.ts'
import { badTar, type Place } from './syntax.ts'

/** A member as it is read: its body at most once, by whoever wants it, and told to the observer whoever that is. */
export class Member implements TarEntry {
  readonly header: TarHeader
  readonly offset: number
  /** NULs after the body, up to the next block. */
  readonly paddingBytes: number
  readonly #input: ChunkQueue
  readonly #observer: TarObserver
  #remaining: number
  #announced = false
  #inline = false

  constructor(input: ChunkQueue, observer: TarObserver, header: TarHeader, offset: number) {
    this.#input = input
    this.#observer = observer
    this.header = header
    this.#remaining = header.size
    this.offset = offset
    this.paddingBytes = paddingOf(header.size)
  }

  get place(): Place {
    return { offset: this.offset, entry: this.header.name }
  }

  /** From now on the body's bytes are a segment to the observer. */
  inline(): void {
    if (this.#announced) throw new RangeError('the body has been read already')
    this.#inline = true
  }

  /** All of it when it is in memory and untouched. */
  bodyNow(): readonly Buffer[] | undefined {
    if (this.#remaining > this.#input.available || this.#remaining !== this.header.size) return undefined
    const chunks: Buffer[] = []
    while (this.#remaining > 0) chunks.push(this.#take())
    return chunks
  }

  async *body(): AsyncGenerator<Buffer> {
    while (await this.#more()) yield this.#take()
  }

  /** Reads over what is left as far as it is in memory; whether that was all. */
  skipNow(): boolean {
    while (this.#remaining > 0 && this.#input.available > 0) this.#take()
    if (this.#remaining === 0) this.#announce()
    return this.#remaining === 0
  }

  /** Reads over what is left. */
  async skip(): Promise<void> {
    while (await this.#more()) this.#take()
    this.#announce()
  }

  async #more(): Promise<boolean> {
    if (this.#remaining === 0) return false
    if (this.#input.available === 0 && !(await this.#input.fill(1))) {
      throw badTar(
        `the archive ends inside a body, ${String(this.#remaining)} bytes before its end`,
        this.place,
      )
    }
    return true
  }

  #take(): Buffer {
    this.#announce()
    const bytes = this.#input.takeUpTo(this.#remaining)
    this.#remaining -= bytes.length
    if (this.#inline) this.#observer.segment(bytes)
    else this.#observer.body(bytes)
    return bytes
  }

  /** As late as the first byte, so that {@link inline} can still be asked for. */
  #announce(): void {
    if (this.#announced) return
    this.#announced = true
    this.#observer.entry(this.header.name, this.#inline ? 0 : this.header.size)
  }
}
