/**
 * tar-split: what is left of an archive when the bodies of its files are on disk, in moby's format
 * (`tar-split.json.gz`), so that the archive can be written out again byte for byte, by moby too.
 *
 * It is a gzip of JSON objects, a line each, in the archive's order:
 *
 *     {"type":2,"payload":"<base64>","position":0}                       bytes as they are: headers, padding
 *     {"type":1,"name":"etc/motd","size":3,"payload":"<CRC-64>","position":1}     here goes the file's content
 *
 * A name that is not UTF-8 is `name_raw`, in base64. Members without a body have entries too, of size 0.
 *
 * @see https://github.com/vbatts/tar-split
 */
import { isUtf8 } from 'node:buffer'
import { createGzip, type Gzip } from 'node:zlib'
import type { OverlaidError } from '../errors.ts'
import { drained } from './drained.ts'
import type { TarObserver } from './entry.ts'
import { AT, type PlainRun } from './plain-run.ts'
import { type ArchiveSums, CRC_BYTES, PortableSums } from './sums.ts'
import { badTar } from './syntax.ts'

/** One line. */
export interface SplitRecord {
  readonly type: 1 | 2
  readonly name?: string
  readonly name_raw?: string
  readonly size?: number
  readonly payload: string | null
  readonly position: number
}

export const FILE_RECORD = 1
export const SEGMENT_RECORD = 2

/** A segment is cut here, as moby cuts what follows an archive, so that no reader needs more memory at once. */
const MAX_SEGMENT = 2 ** 20
/** The compressor gives its output in pieces of this size. */
const OUTPUT_BYTES = 256 * 1024
/** Speed before size: what is repeated are the zeros of headers, which any level finds. */
const LEVEL = 2

/** A member whose body is told. */
interface OpenFile {
  readonly name: Buffer
  readonly size: number
  left: number
}

/** Lines in memory that is used again once it is released. */
export interface Lines {
  readonly bytes: Buffer
  release(): void
}

/** The lines of a run's members from the one at `first` on, made elsewhere: see {@link TarSplitWriter.run}. */
export type SplitLines = (
  run: PlainRun,
  first: number,
  previousEnd: number,
  position: number,
) => Promise<Lines>

/** What the archive's record gets of one piece: text with gaps for the sums of bodies, and lines on their way. */
interface Told {
  readonly text: (string | Promise<Lines>)[]
  /** Index in `text` of a gap, and which range's sum goes there, in turn. */
  readonly gaps: number[]
  readonly ranges: number[]
  /** The first range goes on with a body of the piece before. */
  readonly goesOn: boolean
}

/**
 * Records an archive as it is read: pass it to `apply` as the observer, and consume {@link output} meanwhile, since
 * the reader waits for it.
 */
export class TarSplitWriter implements TarObserver {
  readonly #sums: ArchiveSums
  readonly #gzip: Gzip = createGzip({ chunkSize: OUTPUT_BYTES, level: LEVEL })
  readonly #splitLines: SplitLines | undefined
  /** Cleaned names: the last components by what is before them. */
  readonly #names = new Map<string, Set<string>>()
  #told: Told = { text: [], gaps: [], ranges: [], goesOn: false }
  /** Bytes of a segment in the memory that is being told of, and copies of what came before. */
  #memory: Buffer | undefined
  #start = 0
  #end = 0
  #copies: Buffer[] = []
  #copied = 0
  #file: OpenFile | undefined
  #position = 0
  #offset = 0
  /** The CRCs of the piece before. */
  #summing: Promise<unknown> = Promise.resolve()
  #writing: Promise<void> = Promise.resolve()
  #digest: Buffer | undefined

  /** @param splitLines with it, runs are recorded as such */
  constructor(sums: ArchiveSums = new PortableSums(), splitLines?: SplitLines) {
    this.#sums = sums
    this.#splitLines = splitLines
  }

  /** The gzip'ed records, as a stream. */
  get output(): Gzip {
    return this.#gzip
  }

  /** sha256 of the archive: its diffID. @throws {Error} before {@link end} has resolved */
  get digest(): Buffer {
    if (this.#digest === undefined) throw new Error("the archive's digest is known at its end")
    return this.#digest
  }

  segment(bytes: Buffer, start: number, end: number): void {
    this.#offset += end - start
    let at = start
    while (at < end) {
      const stop = Math.min(end, at + MAX_SEGMENT - this.#segmentBytes)
      this.#extend(bytes, at, stop)
      at = stop
      if (this.#segmentBytes === MAX_SEGMENT) this.#endSegment()
    }
  }

  get #segmentBytes(): number {
    return this.#copied + this.#end - this.#start
  }

  #extend(bytes: Buffer, start: number, end: number): void {
    if (this.#memory !== bytes || this.#end !== start) {
      this.#copySegment()
      this.#memory = bytes
      this.#start = start
    }
    this.#end = end
  }

  #copySegment(): void {
    if (this.#memory !== undefined && this.#end > this.#start) {
      this.#copies.push(Buffer.from(this.#memory.subarray(this.#start, this.#end)))
      this.#copied += this.#end - this.#start
    }
    this.#leaveMemory()
  }

  #leaveMemory(): void {
    this.#memory = undefined
    this.#start = this.#end = 0
  }

  /** @throws ERR_BAD_TAR when the cleaned name was there before: moby reads no such record */
  entry(name: Buffer, size: number): void {
    this.#endSegment()
    const cleaned = pathClean(name)
    const slash = cleaned.lastIndexOf('/') + 1
    if (!isNew(this.#namesIn(cleaned.slice(0, slash)), cleaned.slice(slash)))
      throw nameTwice(name, this.#offset)
    this.#file = { name, size, left: size }
    if (size === 0) this.#endFile()
  }

  #namesIn(folder: string): Set<string> {
    let names = this.#names.get(folder)
    if (names === undefined) {
      names = new Set()
      this.#names.set(folder, names)
    }
    return names
  }

  /** The first member ends the segment that is open; the others are alike, and their lines can be made elsewhere. */
  run(run: PlainRun): void {
    const splitLines = this.#splitLines
    const alone = splitLines === undefined ? run.count : 1
    for (let i = 0; i < alone; i++) this.#runMember(run, i)
    if (splitLines !== undefined && run.count > alone) {
      this.#checkNames(run, alone)
      const lines = splitLines(run, alone, bodyEnd(run, alone - 1), this.#position)
      // told() awaits it; a failure of its own before that is no reason to end the process.
      lines.catch(() => undefined)
      this.#told.text.push(lines)
      this.#position += 2 * (run.count - alone)
    }
    const end = bodyEnd(run, run.count - 1)
    this.#leaveMemory()
    this.#offset = run.base + end
    this.segment(run.bytes, end, run.end)
  }

  #runMember(run: PlainRun, index: number): void {
    const start = index === 0 ? run.word(0, AT.headerStart) : bodyEnd(run, index - 1)
    const bodyStart = run.word(index, AT.bodyStart)
    this.segment(run.bytes, start, bodyStart)
    this.entry(run.name(index), run.word(index, AT.size))
    if (run.word(index, AT.size) > 0) this.body(run.bytes, bodyStart, bodyEnd(run, index))
  }

  #checkNames(run: PlainRun, first: number): void {
    let names = this.#namesIn(folderKey(run, first))
    for (let i = first; i < run.count; i++) {
      if (i > first && run.word(i, AT.sameFolder) === 0) names = this.#namesIn(folderKey(run, i))
      if (!isNew(names, run.bases[i] as string)) {
        throw nameTwice(run.name(i), run.base + run.word(i, AT.bodyStart))
      }
    }
  }

  body(_bytes: Buffer, start: number, end: number): void {
    const file = this.#file
    if (file === undefined) throw new RangeError('a body without a member')
    this.#offset += end - start
    this.#told.ranges.push(start, end)
    file.left -= end - start
    if (file.left === 0) this.#endFile()
  }

  #endFile(): void {
    const { name, size } = this.#file as OpenFile
    this.#file = undefined
    const { text, gaps, ranges } = this.#told
    const head = `{"type":1,${jsonName(name)}`
    const tail = `,"position":${String(this.#position++)}}\n`
    if (size === 0) text.push(`${head},"payload":null${tail}`)
    else {
      gaps.push(text.length + 1, ranges.length / 2 - 1)
      text.push(`${head},"size":${String(size)},"payload":"`, '', `"${tail}`)
    }
  }

  #endSegment(): void {
    const bytes = this.#segmentBytes
    if (bytes === 0) return
    let payload: string
    if (this.#copied === 0 && this.#memory !== undefined) {
      payload = this.#memory.toString('base64', this.#start, this.#end)
    } else {
      this.#copySegment()
      payload = Buffer.concat(this.#copies, bytes).toString('base64')
    }
    this.#copies = []
    this.#copied = 0
    this.#leaveMemory()
    this.#told.text.push(`{"type":2,"payload":"${payload}","position":${String(this.#position++)}}\n`)
  }

  told(bytes: Buffer, start: number, end: number): Promise<void> {
    this.#copySegment()
    const told = this.#told
    const file = this.#file
    this.#told = { text: [], gaps: [], ranges: [], goesOn: file !== undefined && file.left < file.size }
    const ranges = Uint32Array.from(told.ranges)
    const summing = this.#summing.then(() =>
      this.#sums.update(bytes.subarray(0, end), start, ranges, told.goesOn),
    )
    // The next piece's sums need not wait for what this one's lines are compressed to.
    this.#summing = summing
    this.#writing = Promise.all([summing, this.#writing]).then(([crcs]) => this.#write(told, crcs))
    return this.#writing
  }

  async #write({ text, gaps }: Told, crcs: Buffer): Promise<void> {
    for (let i = 0; i < gaps.length; i += 2) {
      const at = (gaps[i + 1] as number) * CRC_BYTES
      text[gaps[i] as number] = crcs.toString('base64', at, at + CRC_BYTES)
    }
    let line = ''
    for (const part of text) {
      if (typeof part === 'string') line += part
      else {
        await writeTo(this.#gzip, Buffer.from(line))
        const lines = await part
        await writeTo(this.#gzip, lines.bytes, () => {
          lines.release()
        })
        line = ''
      }
    }
    await writeTo(this.#gzip, Buffer.from(line))
  }

  /** The archive has ended: `output` ends after the last record. */
  async end(): Promise<void> {
    await this.#writing
    this.#endSegment()
    await this.#write(this.#told, Buffer.alloc(0))
    this.#digest = this.#sums.digest()
    this.#gzip.end()
  }

  /** The archive failed: `output` fails with `error`. */
  destroy(error: unknown): void {
    this.#gzip.destroy(error instanceof Error ? error : new Error(String(error)))
  }
}

/** Resolves when the compressor takes more; calls `done` when it has no use for `bytes`. @throws when its output failed */
async function writeTo(gzip: Gzip, bytes: Buffer, done?: () => void): Promise<void> {
  if (gzip.destroyed) throw closedError(gzip)
  if (bytes.length === 0 || gzip.write(bytes, done)) return
  await drained(gzip)
  if (gzip.destroyed) throw closedError(gzip)
}

function closedError(gzip: Gzip): Error {
  return gzip.errored ?? new Error('the tar-split output was closed')
}

function bodyEnd(run: PlainRun, index: number): number {
  return run.word(index, AT.bodyStart) + run.word(index, AT.size)
}

/** What pathClean leaves before the last component. */
function folderKey(run: PlainRun, index: number): string {
  const folder = run.folder(index)
  return folder === '' ? '' : `${folder}/`
}

/** Whether the name was not there before; it is then. */
function isNew(names: Set<string>, base: string): boolean {
  const before = names.size
  return names.add(base).size > before
}

function nameTwice(entry: Buffer, offset: number): OverlaidError {
  return badTar('the name is in the archive twice', { offset, entry })
}

function jsonName(name: Buffer): string {
  return isUtf8(name)
    ? `"name":${JSON.stringify(name.toString('utf8'))}`
    : `"name_raw":"${name.toString('base64')}"`
}

/** Nothing that path.Clean would change, but for slashes at the end. */
const CLEAN = /^(?!\.)[^/]+(?:\/(?!\.)[^/]+)*$/

/** Go's path.Clean, by which moby tells names apart: `a/`, `./a` and `a` are one, `/a` is another. */
function pathClean(name: Buffer): string {
  const text = name.toString('latin1')
  if (CLEAN.test(text)) return text
  const rooted = text.startsWith('/')
  const parts: string[] = []
  for (const part of text.split('/')) {
    if (part === '' || part === '.') continue
    if (part !== '..') parts.push(part)
    else if (parts.length > 0 && parts.at(-1) !== '..') parts.pop()
    else if (!rooted) parts.push(part)
  }
  return (rooted ? '/' : '') + parts.join('/')
}
