/**
 * Reads a tar as it comes, a piece of memory at a time: v7, ustar, star, PAX and GNU, with their long names, large
 * numbers and sparse files.
 *
 * Global PAX headers (`g`) are checked for their form and otherwise ignored, as dockerd, containerd and Go's
 * archive/tar ignore them: applying them would make of one layer another tree than the peers make.
 *
 * An archive may end without its two closing blocks at a header's place, as Go's reader allows (GNU tar warns only).
 */
import type { TarHeader, TarLimits, TarObserver, TarSink } from './entry.ts'
import { BLOCK, type BlockHeader, isZeroBlock, paddingOf, parseHeader } from './header.ts'
import { type Extensions, mergeHeader, NO_RECORDS } from './member.ts'
import { isDeeper } from './name.ts'
import { parsePax } from './pax.ts'
import type { ReadRun } from './plain-run.ts'
import { type SparseReader, sparseReaderOf } from './sparse-reader.ts'
import { badTar, overLimit, type Place, TarSyntaxError } from './syntax.ts'

/** What {@link TarLimits} are when not given. */
export const DEFAULT_LIMITS: Required<TarLimits> = {
  maxBytes: 2 ** 40,
  maxEntries: 10_000_000,
  maxDepth: 512,
  maxExtensionBytes: 2 ** 20,
}

const SILENT: TarObserver = { segment: () => undefined, entry: () => undefined, body: () => undefined }
const NO_EXTENSIONS: Extensions = {}
const EMPTY = Buffer.alloc(0)

/** A name of a plain member has no more components. */
const PLAIN_DEPTH = 128
/** After what was no run, so many members are read one by one before the next try. */
const RUN_PAUSE = 16

type State = 'header' | 'extension' | 'sparse map' | 'body' | 'padding' | 'second zero block' | 'trailer'

/** A member whose header is complete, or an extension header, on its way. */
interface Current {
  readonly place: Place
  readonly header: BlockHeader
}

/** A sparse member whose map is read. */
interface PendingSparse {
  readonly reader: SparseReader
  readonly header: TarHeader
  readonly place: Place
}

export interface ScanOptions {
  readonly limits?: TarLimits
  readonly observer?: TarObserver
  /** Reads many members at once, where sink and observer take them so. */
  readonly readRun?: ReadRun
}

export class TarScanner {
  readonly #sink: TarSink
  readonly #observer: TarObserver
  readonly #limits: Required<TarLimits>
  #state: State = 'header'
  #bytes: Buffer = EMPTY
  #at = 0
  #end = 0
  /** Where in the stream #bytes begins. */
  #base = 0
  #extensions = NO_EXTENSIONS
  /** Where the member begins: its first extension header. */
  #memberAt = 0
  #current: Current | undefined
  #sparse: PendingSparse | undefined
  #mapBytes = 0
  /** Of the body that is being read: bytes to come, padding after it, whether it goes to the record. */
  #left = 0
  #padding = 0
  #toRecord = false
  #place: Place = { offset: 0 }
  readonly #readRun: ReadRun | undefined
  #untilRun = 0
  #entries = 0
  #content = 0

  constructor(sink: TarSink, { limits, observer = SILENT, readRun }: ScanOptions = {}) {
    this.#sink = sink
    this.#observer = observer
    this.#limits = { ...DEFAULT_LIMITS, ...limits }
    const takesRuns = sink.run !== undefined && (observer === SILENT || observer.run !== undefined)
    if (takesRuns && this.#limits.maxDepth >= PLAIN_DEPTH) this.#readRun = readRun
  }

  /** How many bytes {@link scan} must be given at least to go on. */
  get wanted(): number {
    if (this.#state === 'extension') return paddedSize(this.#current?.header.size ?? 0)
    if (this.#state === 'padding') return this.#padding
    return this.#state === 'body' || this.#state === 'trailer' ? 1 : BLOCK
  }

  /**
   * Reads what `bytes` have from `start` to `end`, the next part of the stream, and tells of it. Returns where it came
   * to: what is left, fewer than {@link wanted}, is to be given again with what follows.
   * @throws ERR_BAD_TAR with the byte offset and the entry; ERR_LIMIT_EXCEEDED
   */
  scan(bytes: Buffer, start: number, end: number): number {
    this.#base += this.#at - start
    this.#bytes = bytes
    this.#at = start
    this.#end = end
    while (this.#step());
    return this.#at
  }

  /** The stream has ended, with `left` bytes that scan() did not take. @throws ERR_BAD_TAR */
  finish(left: number): void {
    const offset = this.#base + this.#at
    switch (this.#state) {
      case 'trailer':
        return
      case 'header':
      case 'second zero block': {
        const place = { offset: this.#state === 'header' ? offset : offset - BLOCK }
        if (left > 0) throw badTar('the archive ends inside a header', place)
        return this.#checkNoExtensions(place)
      }
      case 'body': {
        const text = `the archive ends inside a body, ${String(this.#left)} bytes before its end`
        throw badTar(text, this.#place)
      }
      case 'padding':
        throw badTar("the archive ends inside a body's padding", this.#place)
      default:
        throw badTar('the archive ends inside a header', this.#current?.place ?? this.#place)
    }
  }

  /** One step; false when it needs more bytes. */
  #step(): boolean {
    if (this.#end - this.#at < this.wanted) return false
    switch (this.#state) {
      case 'header':
        if (!this.#plainRun()) this.#headerBlock()
        return true
      case 'second zero block':
        if (!isZeroBlock(this.#peek(BLOCK))) {
          const place = { offset: this.#base + this.#at - BLOCK }
          throw badTar('a block of zeros is followed by something else', place)
        }
        this.#segment(BLOCK)
        this.#state = 'trailer'
        return true
      case 'extension':
        this.#extension()
        return true
      case 'sparse map':
        this.#sparseBlock()
        return true
      case 'body':
        this.#body()
        return true
      case 'padding':
        this.#segment(this.#padding)
        this.#state = 'header'
        return true
      case 'trailer':
        this.#trailer()
        return true
    }
  }

  #peek(count: number): Buffer {
    return this.#bytes.subarray(this.#at, this.#at + count)
  }

  /** Takes `count` bytes that are no body. */
  #segment(count: number): void {
    this.#observer.segment(this.#bytes, this.#at, this.#at + count)
    this.#at += count
  }

  /** Reads many members, if they are plain and within the limits. */
  #plainRun(): boolean {
    if (this.#readRun === undefined || this.#extensions !== NO_EXTENSIONS || this.#untilRun-- > 0)
      return false
    this.#untilRun = RUN_PAUSE
    const run = this.#readRun(this.#bytes, this.#at, this.#end, this.#base)
    if (run === undefined) return false
    const { maxEntries, maxBytes } = this.#limits
    const [entries, content] = [this.#entries + run.count, this.#content + run.size]
    // One by one they come to the one that is too many.
    if (entries > maxEntries || content > maxBytes) return false
    this.#entries = entries
    this.#content = content
    this.#sink.run?.(run)
    this.#observer.run?.(run)
    this.#at = run.end
    // What ended the run is not plain, or not all there; after it there may be more.
    this.#untilRun = 1
    return true
  }

  #headerBlock(): void {
    const place: Place = { offset: this.#base + this.#at }
    const block = this.#peek(BLOCK)
    if (this.#extensions === NO_EXTENSIONS) this.#memberAt = place.offset
    if (isZeroBlock(block)) {
      this.#checkNoExtensions(place)
      this.#segment(BLOCK)
      this.#state = 'second zero block'
      return
    }
    const header = located(place, parseHeader, block)
    this.#segment(BLOCK)
    if (EXTENSIONS[header.flag] === undefined) this.#member(block, header)
    else this.#beginExtension({ header, place })
  }

  #checkNoExtensions(place: Place): void {
    if (this.#extensions !== NO_EXTENSIONS) throw badTar('the archive ends after an extension header', place)
  }

  #beginExtension(current: Current): void {
    const { header, place } = current
    const { maxExtensionBytes } = this.#limits
    if (header.size < 0) throw badTar('the size is negative', place)
    if (header.size > maxExtensionBytes) {
      const text = `an extension header has ${String(header.size)} bytes, the limit is ${String(maxExtensionBytes)}`
      throw overLimit(text, place)
    }
    if (this.#extensions === NO_EXTENSIONS) this.#extensions = {}
    this.#current = current
    this.#state = 'extension'
  }

  /** The body of a PAX header or GNU long name. */
  #extension(): void {
    const { header, place } = this.#current as Current
    const extension = EXTENSIONS[header.flag] as ReadExtension
    // A copy: what is read of it lives until the member is.
    const body = Buffer.from(this.#peek(header.size))
    located(place, extension, this.#extensions, body)
    this.#segment(paddedSize(header.size))
    this.#state = 'header'
  }

  #member(block: Buffer, raw: BlockHeader): void {
    const extensions = this.#extensions
    const offset = this.#memberAt
    const header = located({ offset, entry: raw.name }, mergeHeader, raw, extensions)
    const place: Place = { offset, entry: header.name }
    this.#extensions = NO_EXTENSIONS
    this.#countMember(header, place)
    const pax = extensions.pax ?? NO_RECORDS
    const reader = located(place, sparseReaderOf, block, raw, header, pax)
    if (reader === undefined) this.#begin(header, place)
    else {
      this.#sparse = { reader, header, place }
      this.#place = place
      this.#mapBytes = 0
      this.#state = 'sparse map'
      if (reader.isComplete) this.#endSparseMap()
    }
  }

  #countMember(header: TarHeader, place: Place): void {
    const { maxEntries, maxDepth } = this.#limits
    if (++this.#entries > maxEntries) throw overLimit(`more than ${String(maxEntries)} entries`, place)
    if (isDeeper(header.name, maxDepth)) throw overLimit(`a path deeper than ${String(maxDepth)}`, place)
    this.#count(header.size, place)
  }

  #count(bytes: number, place: Place): void {
    this.#content += bytes
    if (this.#content > this.#limits.maxBytes) {
      throw overLimit(`more than ${String(this.#limits.maxBytes)} bytes of content`, place)
    }
  }

  #sparseBlock(): void {
    const { reader, place } = this.#sparse as PendingSparse
    this.#mapBytes += BLOCK
    if (this.#mapBytes > this.#limits.maxExtensionBytes) throw overLimit('a sparse map is too long', place)
    const block = Buffer.from(this.#peek(BLOCK))
    this.#segment(BLOCK)
    located(place, (bytes: Buffer) => reader.add(bytes), block)
    if (reader.isComplete) this.#endSparseMap()
  }

  #endSparseMap(): void {
    const { reader, header, place } = this.#sparse as PendingSparse
    this.#sparse = undefined
    this.#begin(
      located(place, () => reader.headerOf(header)),
      place,
    )
  }

  #begin(header: TarHeader, place: Place): void {
    this.#place = place
    const where = this.#sink.member(header, place.offset)
    this.#toRecord = header.sparse !== undefined || where === 'record'
    this.#observer.entry(header.name, this.#toRecord ? 0 : header.size)
    this.#left = header.size
    this.#padding = paddingOf(header.size)
    this.#state = 'body'
    if (this.#left === 0) this.#endBody()
  }

  #body(): void {
    const start = this.#at
    const end = Math.min(this.#end, start + this.#left)
    if (this.#toRecord) this.#observer.segment(this.#bytes, start, end)
    else this.#observer.body(this.#bytes, start, end)
    this.#sink.body(this.#bytes, start, end)
    this.#at = end
    this.#left -= end - start
    if (this.#left === 0) this.#endBody()
  }

  #endBody(): void {
    this.#sink.end()
    this.#state = this.#padding === 0 ? 'header' : 'padding'
  }

  /** What follows the archive's end: padding to a record, or rubbish that belongs to the stream's digest. */
  #trailer(): void {
    const count = this.#end - this.#at
    this.#count(count, { offset: this.#base + this.#at })
    this.#segment(count)
  }
}

type ReadExtension = (into: Extensions, body: Buffer) => void

/** What each kind of extension header leaves for the member after it. A later one of the same kind replaces it. */
const EXTENSIONS: Readonly<Record<string, ReadExtension>> = {
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

function paddedSize(size: number): number {
  return size + paddingOf(size)
}

/** What `parse` gives of `args`; what is wrong with them is located. */
function located<Args extends unknown[], T>(place: Place, parse: (...args: Args) => T, ...args: Args): T {
  try {
    return parse(...args)
  } catch (error) {
    throw error instanceof TarSyntaxError ? badTar(error.message, place, error) : error
  }
}
