import type { ChunkQueue } from './chunks.ts'
import type { TarHeader, TarObserver } from './entry.ts'
import { paddingOf } from './header.ts'
import { badTar, type Place } from './syntax.ts'

/** One member's body: read at most once, by whoever wants it, and told to the observer whoever that is. */
export class MemberBody {
  readonly place: Place
  /** NULs after the body, up to the next block. */
  readonly paddingBytes: number
  readonly #input: ChunkQueue
  readonly #observer: TarObserver
  readonly #header: TarHeader
  #remaining: number
  #announced = false
  #inline = false

  constructor(input: ChunkQueue, observer: TarObserver, header: TarHeader, place: Place) {
    this.#input = input
    this.#observer = observer
    this.#header = header
    this.#remaining = header.size
    this.place = place
    this.paddingBytes = paddingOf(header.size)
  }

  /** From now on the body's bytes are a segment to the observer. */
  inline(): void {
    if (this.#announced) throw new RangeError('the body has been read already')
    this.#inline = true
  }

  /** All of it when it is in memory and untouched. */
  now(): readonly Buffer[] | undefined {
    if (this.#remaining > this.#input.available || this.#remaining !== this.#header.size) return undefined
    const chunks: Buffer[] = []
    while (this.#remaining > 0) chunks.push(this.#take())
    return chunks
  }

  async *chunks(): AsyncGenerator<Buffer> {
    while (await this.#more()) yield this.#take()
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
    this.#observer.entry(this.#header.name, this.#inline ? 0 : this.#header.size)
  }
}
