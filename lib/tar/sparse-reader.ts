/** Gathers the map of a sparse member from wherever it is: see sparse.ts for GNU's ways to say it. */
import type { SparseRun, TarHeader } from './entry.ts'
import { BLOCK, type BlockHeader } from './header.ts'
import type { PaxRecords } from './pax.ts'
import {
  bodyRunCount,
  bodyRuns,
  lineCount,
  oldGnuRealSize,
  oldGnuRuns,
  paxRealSize,
  paxRuns,
  paxSparseKind,
  sparseMap,
} from './sparse.ts'
import { TarSyntaxError } from './syntax.ts'

/** A sparse member whose map may go on in the blocks after its header. Its methods throw TarSyntaxError. */
export interface SparseReader {
  readonly isComplete: boolean
  /** Takes the next block while it is not complete. */
  add(block: Buffer): void
  /** The member's header with its map, once that is complete. */
  headerOf(header: TarHeader): TarHeader
}

/**
 * The reader of a member's map; undefined when it is not sparse.
 * @throws TarSyntaxError
 */
export function sparseReaderOf(
  block: Buffer,
  raw: BlockHeader,
  header: TarHeader,
  pax: PaxRecords,
): SparseReader | undefined {
  if (raw.flag === 'S') return new OldGnuReader(block, raw)
  const kind = pax.size === 0 ? undefined : paxSparseKind(pax)
  if (kind === undefined) return undefined
  if (header.type !== 'file') throw new TarSyntaxError('only a file can be sparse')
  return kind === 'body' ? new BodyReader(pax, header.size) : new ListReader(pax)
}

/** Runs in the header block, more in blocks after it. */
class OldGnuReader implements SparseReader {
  readonly #realSize: number
  readonly #runs: SparseRun[]
  #more: boolean

  constructor(block: Buffer, { format }: BlockHeader) {
    if (format !== 'gnu') throw new TarSyntaxError('a sparse member without the GNU magic')
    const { runs, more } = oldGnuRuns(block, 'header')
    this.#runs = runs
    this.#more = more
    this.#realSize = oldGnuRealSize(block)
  }

  get isComplete(): boolean {
    return !this.#more
  }

  add(block: Buffer): void {
    const { runs, more } = oldGnuRuns(block, 'extension')
    this.#runs.push(...runs)
    this.#more = more
  }

  headerOf(header: TarHeader): TarHeader {
    return { ...header, sparse: sparseMap(this.#runs, this.#realSize, header.size) }
  }
}

/** The map is in the PAX records. */
class ListReader implements SparseReader {
  readonly isComplete = true
  readonly #pax: PaxRecords

  constructor(pax: PaxRecords) {
    this.#pax = pax
  }

  add(): void {
    throw new RangeError('the map is complete')
  }

  headerOf(header: TarHeader): TarHeader {
    const realSize = paxRealSize(this.#pax) ?? header.size
    return { ...header, sparse: sparseMap(paxRuns(this.#pax), realSize, header.size) }
  }
}

/** The map fills whole blocks before the data; it ends in the block that has its last newline. */
class BodyReader implements SparseReader {
  readonly #pax: PaxRecords
  readonly #size: number
  readonly #blocks: Buffer[] = []
  #lines = 0
  #wanted = 1

  constructor(pax: PaxRecords, size: number) {
    this.#pax = pax
    this.#size = size
    this.#checkRoom()
  }

  get isComplete(): boolean {
    return this.#lines >= this.#wanted
  }

  get #bytes(): number {
    return this.#blocks.length * BLOCK
  }

  add(block: Buffer): void {
    this.#blocks.push(block)
    this.#lines += lineCount(block)
    if (this.#wanted === 1 && this.#lines > 0) {
      this.#wanted += 2 * bodyRunCount(Buffer.concat(this.#blocks))
    }
    if (!this.isComplete) this.#checkRoom()
  }

  /** Before another block is taken for the map's. */
  #checkRoom(): void {
    if (this.#bytes + BLOCK > this.#size) throw new TarSyntaxError('the sparse map has no end')
  }

  headerOf(header: TarHeader): TarHeader {
    const size = header.size - this.#bytes
    const realSize = paxRealSize(this.#pax) ?? header.size
    return { ...header, size, sparse: sparseMap(bodyRuns(Buffer.concat(this.#blocks)), realSize, size) }
  }
}
