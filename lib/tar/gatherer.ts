/**
 * Puts small pieces together: a stream of many headers and small bodies costs its consumer a turn for each.
 */
export class Gatherer {
  static readonly #full = 64 * 1024
  #parts: Uint8Array[] = []
  #bytes = 0

  get isFull(): boolean {
    return this.#bytes >= Gatherer.#full
  }

  add(part: Uint8Array): void {
    if (part.length === 0) return
    this.#parts.push(part)
    this.#bytes += part.length
  }

  flush(): Buffer {
    const [first] = this.#parts
    const chunk =
      this.#parts.length === 1 && first !== undefined
        ? Buffer.from(first.buffer, first.byteOffset, first.length)
        : Buffer.concat(this.#parts, this.#bytes)
    this.#parts = []
    this.#bytes = 0
    return chunk
  }
}
