/** Reading whole archives with lib/tar, for tests. */
import type { TarHeader, TarObserver } from '../../lib/tar/entry.ts'
import { type ReadOptions, readTar } from '../../lib/tar/reader.ts'
import { streamOf } from './image.ts'

export interface ReadMember {
  readonly header: TarHeader
  /** The body's bytes as archived. */
  readonly body: Buffer
}

/** All members of an archive that comes in chunks of `chunkSize` bytes. */
export async function readAll(
  archive: Buffer,
  options: ReadOptions & { readonly chunkSize?: number } = {},
): Promise<ReadMember[]> {
  const { chunkSize = 4096, ...rest } = options
  const members: ReadMember[] = []
  for await (const entry of readTar(streamOf(archive, chunkSize), rest)) {
    const chunks: Buffer[] = []
    for await (const chunk of entry.body()) chunks.push(chunk)
    members.push({ header: entry.header, body: Buffer.concat(chunks) })
  }
  return members
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

  segment(bytes: Buffer): void {
    this.#parts.push(Buffer.from(bytes))
    this.#count('segment', bytes.length)
  }

  entry(name: Buffer, size: number): void {
    this.log.push(`entry ${name.toString()} ${String(size)}`)
  }

  body(bytes: Buffer): void {
    this.#parts.push(Buffer.from(bytes))
    this.#count('body', bytes.length)
  }

  /** Neighbouring calls of one kind are one line: how a stream is cut into chunks is nobody's business. */
  #count(kind: string, bytes: number): void {
    const [last = '', count = '0'] = this.log.at(-1)?.split(' ') ?? []
    if (last === kind) this.log[this.log.length - 1] = `${kind} ${String(Number(count) + bytes)}`
    else if (bytes > 0) this.log.push(`${kind} ${String(bytes)}`)
  }
}
