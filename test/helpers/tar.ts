/** Reading whole archives with lib/tar, for tests. */
import type { TarHeader, TarObserver, TarSink } from '../../lib/tar/entry.ts'
import { AT, type PlainRun } from '../../lib/tar/plain-run.ts'
import { type ScanOptions, TarScanner } from '../../lib/tar/scanner.ts'

export interface ReadMember {
  readonly header: TarHeader
  /** Where its first header block begins. */
  readonly offset: number
  /** The body's bytes as archived. */
  readonly body: Buffer
}

/** Keeps all members. */
export class Members implements TarSink {
  readonly all: ReadMember[] = []
  /** Members that came in runs. */
  inRuns = 0
  readonly run?: (run: PlainRun) => void
  readonly #inline: string | undefined
  #open: { header: TarHeader; offset: number; parts: Buffer[] } | undefined

  /** @param inline the name of a member whose body goes to the record */
  constructor(inline: string | undefined, takesRuns = false) {
    this.#inline = inline
    if (takesRuns) this.run = (run) => this.#addRun(run)
  }

  #addRun(run: PlainRun): void {
    this.inRuns += run.count
    for (let i = 0; i < run.count; i++) {
      const header = run.header(i)
      const start = run.word(i, AT.bodyStart)
      this.member(header, run.base + run.word(i, AT.headerStart))
      if (header.size > 0) this.body(run.bytes, start, start + header.size)
      this.end()
    }
  }

  member(header: TarHeader, offset: number): 'file' | 'record' {
    this.#open = { header, offset, parts: [] }
    return header.name.toString() === this.#inline ? 'record' : 'file'
  }

  body(bytes: Buffer, start: number, end: number): void {
    this.#open?.parts.push(Buffer.from(bytes.subarray(start, end)))
  }

  end(): void {
    if (this.#open === undefined) throw new Error('the end of no member')
    const { header, offset, parts } = this.#open
    this.all.push({ header, offset, body: Buffer.concat(parts) })
    this.#open = undefined
  }
}

/** Feeds an archive to a scanner in pieces of `chunkSize` bytes, each in memory of its own that is spoiled after. */
export async function scanInPieces(
  scanner: TarScanner,
  archive: Buffer,
  chunkSize: number,
  observer?: TarObserver,
): Promise<void> {
  let rest = Buffer.alloc(0)
  for (let at = 0; at < archive.length; at += chunkSize) {
    const piece = Buffer.concat([rest, archive.subarray(at, at + chunkSize)])
    const taken = scanner.scan(piece, 0, piece.length)
    await observer?.told?.(piece, rest.length, piece.length)
    rest = Buffer.from(piece.subarray(taken))
    piece.fill(0xee)
  }
  scanner.finish(rest.length)
}

/** All members of an archive that comes in chunks of `chunkSize` bytes. */
export async function readAll(
  archive: Buffer,
  options: ScanOptions & { readonly chunkSize?: number; readonly inline?: string | undefined } = {},
): Promise<ReadMember[]> {
  const { chunkSize = 4096, inline, ...rest } = options
  const members = new Members(inline)
  await scanInPieces(new TarScanner(members, rest), archive, chunkSize, rest.observer)
  return members.all
}

/** What a sparse member's file holds: its runs, with zeros between. */
export function expand({ header, body }: ReadMember): Buffer {
  if (header.sparse === undefined) return body
  const file = Buffer.alloc(header.sparse.realSize)
  let at = 0
  for (const { offset, length } of header.sparse.runs) {
    body.copy(file, offset, at, at + length)
    at += length
  }
  return file
}

/** An observer that keeps what it sees: `bytes` is the stream again, `log` the calls. */
export class Recorder implements TarObserver {
  readonly #parts: Buffer[] = []
  readonly log: string[] = []

  get bytes(): Buffer {
    return Buffer.concat(this.#parts)
  }

  segment(bytes: Buffer, start: number, end: number): void {
    this.#parts.push(Buffer.from(bytes.subarray(start, end)))
    this.#count('segment', end - start)
  }

  entry(name: Buffer, size: number): void {
    this.log.push(`entry ${name.toString()} ${String(size)}`)
  }

  body(bytes: Buffer, start: number, end: number): void {
    this.#parts.push(Buffer.from(bytes.subarray(start, end)))
    this.#count('body', end - start)
  }

  /** Neighbouring calls of one kind are one line: how a stream is cut into chunks is nobody's business. */
  #count(kind: string, bytes: number): void {
    const [last = '', count = '0'] = this.log.at(-1)?.split(' ') ?? []
    if (last === kind) this.log[this.log.length - 1] = `${kind} ${String(Number(count) + bytes)}`
    else if (bytes > 0) this.log.push(`${kind} ${String(bytes)}`)
  }
}
