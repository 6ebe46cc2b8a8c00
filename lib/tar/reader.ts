/**
 * Reads a tar as a stream: v7, ustar, star, PAX and GNU, with their long names, large numbers and sparse files.
 *
 * Global PAX headers (`g`) are checked for their form and otherwise ignored, as dockerd, containerd and Go's
 * archive/tar ignore them: applying them would make of one layer another tree than the peers make.
 */
import { ChunkQueue } from './chunks.ts'
import type { SparseRun, TarEntry, TarHeader, TarLimits, TarObserver } from './entry.ts'
import { BLOCK, type BlockHeader, isZeroBlock, paddingOf, parseHeader } from './header.ts'
import { type Extensions, mergeHeader } from './member.ts'
import { Member } from './read-member.ts'
import { type PaxRecords, parsePax } from './pax.ts'
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
import { badTar, overLimit, type Place, TarSyntaxError } from './syntax.ts'
import { isDeeper } from './name.ts'

export interface ReadOptions {
  readonly limits?: TarLimits
  readonly observer?: TarObserver
  readonly signal?: AbortSignal
}

/** What {@link TarLimits} are when not given. */
export const DEFAULT_LIMITS: Required<TarLimits> = {
  maxBytes: 2 ** 40,
  maxEntries: 10_000_000,
  maxDepth: 512,
  maxExtensionBytes: 2 ** 20,
}

const SILENT: TarObserver = { segment: () => undefined, entry: () => undefined, body: () => undefined }

/**
 * The members of an archive, in order. The stream is read to its end, past the archive's: a digest or an
 * observer sees all of it. Bodies that are not read are skipped. An archive may end without its two closing
 * blocks at a header's place, as Go's reader allows (GNU tar warns only).
 *
 * @throws ERR_BAD_TAR with the byte offset and the entry; ERR_LIMIT_EXCEEDED; the signal's reason
 */
export async function* readTar(
  source: AsyncIterable<Buffer>,
  options: ReadOptions = {},
): AsyncGenerator<TarEntry> {
  const reader = new TarReader(source, options)
  try {
    for (let entry = await reader.next(); entry !== undefined; entry = await reader.next()) yield entry
    await reader.drain()
  } finally {
    await reader.close()
  }
}

class TarReader {
  readonly #input: ChunkQueue
  readonly #limits: Required<TarLimits>
  readonly #observer: TarObserver
  #last: Member | undefined
  #entries = 0
  #bytes = 0

  constructor(source: AsyncIterable<Buffer>, { limits, observer = SILENT, signal }: ReadOptions) {
    this.#limits = { ...DEFAULT_LIMITS, ...limits }
    this.#observer = observer
    this.#input = new ChunkQueue(source, { signal, beforeRead: () => observer.ready?.() })
  }

  /** The next member; undefined at the archive's end. */
  async next(): Promise<TarEntry | undefined> {
    await this.#finishMember()
    const extensions: Extensions = {}
    const offset = this.#input.offset
    for (;;) {
      const place: Place = { offset: this.#input.offset }
      const block = await this.#headerBlock(place)
      if (block === undefined) {
        if (place.offset !== offset) throw badTar('the archive ends after an extension header', place)
        return undefined
      }
      const header = located(place, () => parseHeader(block))
      const extension = EXTENSIONS[header.flag]
      if (extension === undefined) return this.#member(block, header, extensions, offset)
      const body = await this.#extensionBody(header, place)
      located(place, () => {
        extension(extensions, body)
      })
    }
  }

  /** What follows the archive's end: padding to a record, or rubbish that belongs to the stream's digest. */
  async drain(): Promise<void> {
    while (await this.#input.fill(1)) {
      const place = { offset: this.#input.offset }
      const bytes = this.#input.takeUpTo(this.#input.available)
      this.#count(bytes.length, place)
      this.#observer.segment(bytes)
    }
  }

  close(): Promise<void> {
    return this.#input.close()
  }

  /** A header block, undefined at the end: two zero blocks, or one or none and then the end of the stream. */
  async #headerBlock(place: Place): Promise<Buffer | undefined> {
    const block = await this.#block(place)
    if (block === undefined || !isZeroBlock(block)) return block
    const second = await this.#block(place)
    if (second === undefined || isZeroBlock(second)) return undefined
    throw badTar('a block of zeros is followed by something else', place)
  }

  async #block(place: Place): Promise<Buffer | undefined> {
    if (this.#input.available < BLOCK && !(await this.#input.fill(BLOCK))) {
      if (this.#input.available === 0) return undefined
      throw badTar('the archive ends inside a header', place)
    }
    return this.#segment(BLOCK)
  }

  /** Takes `count` available bytes that are no body. */
  #segment(count: number): Buffer {
    const bytes = this.#input.take(count)
    this.#observer.segment(bytes)
    return bytes
  }

  /** The body of a PAX header or GNU long name, with its padding gone. */
  async #extensionBody({ size }: BlockHeader, place: Place): Promise<Buffer> {
    const { maxExtensionBytes } = this.#limits
    if (size < 0) throw badTar('the size is negative', place)
    if (size > maxExtensionBytes) {
      throw overLimit(
        `an extension header has ${String(size)} bytes, the limit is ${String(maxExtensionBytes)}`,
        place,
      )
    }
    return (await this.#blocks(size + paddingOf(size), place)).subarray(0, size)
  }

  async #blocks(count: number, place: Place): Promise<Buffer> {
    if (!(await this.#input.fill(count))) throw badTar('the archive ends inside a header', place)
    return this.#segment(count)
  }

  async #member(block: Buffer, raw: BlockHeader, extensions: Extensions, offset: number): Promise<TarEntry> {
    const header = located({ offset, entry: raw.name }, () => mergeHeader(raw, extensions))
    const place: Place = { offset, entry: header.name }
    this.#countMember(header, place)
    const sparse = await this.#sparse(block, raw, header, extensions.pax ?? new Map<string, Buffer>(), place)
    const member = new Member(this.#input, this.#observer, sparse ?? header, offset)
    if (sparse !== undefined) member.inline()
    this.#last = member
    return member
  }

  #countMember(header: TarHeader, place: Place): void {
    const { maxEntries, maxDepth } = this.#limits
    if (++this.#entries > maxEntries) throw overLimit(`more than ${String(maxEntries)} entries`, place)
    if (isDeeper(header.name, maxDepth)) throw overLimit(`a path deeper than ${String(maxDepth)}`, place)
    this.#count(header.size, place)
  }

  #count(bytes: number, place: Place): void {
    this.#bytes += bytes
    if (this.#bytes > this.#limits.maxBytes) {
      throw overLimit(`more than ${String(this.#limits.maxBytes)} bytes of content`, place)
    }
  }

  /** The header of a sparse file with its map, read from wherever it is; undefined when it is not sparse. */
  async #sparse(
    block: Buffer,
    raw: BlockHeader,
    header: TarHeader,
    pax: PaxRecords,
    place: Place,
  ): Promise<TarHeader | undefined> {
    if (raw.flag === 'S') return this.#oldGnuSparse(block, raw, header, place)
    const kind = paxSparseKind(pax)
    if (kind === undefined) return undefined
    if (header.type !== 'file') throw badTar('only a file can be sparse', place)
    const inBody = kind === 'body' ? await this.#bodySparse(header, place) : undefined
    return located(place, () => {
      const runs = inBody?.runs ?? paxRuns(pax)
      const size = header.size - (inBody?.bytes ?? 0)
      return { ...header, size, sparse: sparseMap(runs, paxRealSize(pax) ?? header.size, size) }
    })
  }

  async #oldGnuSparse(block: Buffer, raw: BlockHeader, header: TarHeader, place: Place): Promise<TarHeader> {
    if (raw.format !== 'gnu') throw badTar('a sparse member without the GNU magic', place)
    const head = located(place, () => oldGnuRuns(block, 'header'))
    const runs = head.runs
    let bytes = 0
    for (let more = head.more; more;) {
      bytes += BLOCK
      this.#limitSparse(bytes, place)
      const extension = await this.#blocks(BLOCK, place)
      const next = located(place, () => oldGnuRuns(extension, 'extension'))
      runs.push(...next.runs)
      more = next.more
    }
    return located(place, () => ({ ...header, sparse: sparseMap(runs, oldGnuRealSize(block), header.size) }))
  }

  /** The map before the data fills whole blocks; it ends in the block that has its last newline. */
  async #bodySparse(header: TarHeader, place: Place): Promise<{ runs: SparseRun[]; bytes: number }> {
    const blocks: Buffer[] = []
    let lines = 0
    for (let wanted = 1; lines < wanted;) {
      const bytes = blocks.length * BLOCK
      this.#limitSparse(bytes, place)
      if (bytes + BLOCK > header.size) throw badTar('the sparse map has no end', place)
      const block = await this.#blocks(BLOCK, place)
      blocks.push(block)
      lines += lineCount(block)
      if (wanted === 1 && lines > 0) wanted += 2 * located(place, () => bodyRunCount(Buffer.concat(blocks)))
    }
    return { runs: located(place, () => bodyRuns(Buffer.concat(blocks))), bytes: blocks.length * BLOCK }
  }

  #limitSparse(bytes: number, place: Place): void {
    if (bytes > this.#limits.maxExtensionBytes) throw overLimit('a sparse map is too long', place)
  }

  async #finishMember(): Promise<void> {
    const member = this.#last
    if (member === undefined) return
    this.#last = undefined
    if (!member.skipNow()) await member.skip()
    const count = member.paddingBytes
    if (count === 0) return
    if (this.#input.available < count && !(await this.#input.fill(count))) {
      throw badTar("the archive ends inside a body's padding", member.place)
    }
    this.#segment(count)
  }
}

/** What each kind of extension header leaves for the member after it. A later one of the same kind replaces it. */
const EXTENSIONS: Readonly<Record<string, (into: Extensions, body: Buffer) => void>> = {
  x: (into, body) => {
    into.pax = parsePax(body)
  },
  g: (_into, body) => void parsePax(body),
  L: (into, body) => {
    into.longName = upToNul(body)
  },
  K: (into, body) => {
    into.longLink = upToNul(body)
  },
}

function upToNul(body: Buffer): Buffer {
  const end = body.indexOf(0)
  return end < 0 ? body : body.subarray(0, end)
}

function located<T>(place: Place, parse: () => T): T {
  try {
    return parse()
  } catch (error) {
    throw error instanceof TarSyntaxError ? badTar(error.message, place, error) : error
  }
}
