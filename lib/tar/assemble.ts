/** Writes an archive out again from its tar-split record and the files on disk. */
import { close, read } from 'node:fs'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { promisify } from 'node:util'
import { createGunzip } from 'node:zlib'
import { hasCode, OverlaidError } from '../errors.ts'
import { crc64 as portableCrc64 } from './crc64.ts'
import { Gatherer } from './gatherer.ts'
import { quoteName } from './syntax.ts'
import type { Crc64 } from './sums.ts'
import { FILE_RECORD, SEGMENT_RECORD, type SplitRecord } from './tar-split.ts'

const readFd = promisify(read)
const closeFd = promisify(close)

/** The part of a driver's FileGetter that reassembly needs. */
export interface BodyGetter {
  /** An fd of the member's file, which the caller closes. `name` is as in the archive, not cleaned. */
  open(name: Uint8Array): Promise<number>
}

export interface AssembleOptions {
  readonly crc64?: Crc64
  readonly signal?: AbortSignal
}

/** Bytes read from a file at once; and files up to this size are read ahead. */
const READ_BYTES = 1 << 20
const SMALL_BYTES = 256 * 1024
/** Files opened and read ahead: each costs three turns of the thread pool, which has four threads. */
const AHEAD = 16

/**
 * The archive's bytes again. The whole's digest is for the caller to compare.
 *
 * @throws ERR_DAMAGED naming the file that is missing or not what it was, or when the record does not parse
 */
export async function* assembleTar(
  tarSplit: AsyncIterable<Buffer>,
  files: BodyGetter,
  options: AssembleOptions = {},
): AsyncGenerator<Buffer> {
  const gather = new Gatherer()
  const bodies = new Bodies(files, options)
  for await (const piece of readAhead(readTarSplit(tarSplit), bodies)) {
    options.signal?.throwIfAborted()
    for await (const chunk of piece) {
      gather.add(chunk)
      if (gather.isFull) yield gather.flush()
    }
  }
  yield gather.flush()
}

/** Bytes of the archive that a record describes. @throws ERR_DAMAGED when it does not parse */
export async function measureTarSplit(tarSplit: AsyncIterable<Buffer>): Promise<number> {
  let bytes = 0
  for await (const record of readTarSplit(tarSplit)) {
    bytes +=
      record.type === FILE_RECORD ? (record.size ?? 0) : Buffer.byteLength(record.payload ?? '', 'base64')
  }
  return bytes
}

type Piece = AsyncIterable<Buffer> | Iterable<Buffer>

/** Starts reading the small files of the next records while the first is being consumed. */
async function* readAhead(records: AsyncIterable<SplitRecord>, bodies: Bodies): AsyncGenerator<Piece> {
  const queue: (Piece | Promise<Piece>)[] = []
  try {
    for await (const record of records) {
      queue.push(bodies.of(record))
      while (queue.length > AHEAD) yield await (queue.shift() as Piece | Promise<Piece>)
    }
    while (queue.length > 0) yield await (queue.shift() as Piece | Promise<Piece>)
  } finally {
    // What was started is waited for, so that no file is open after the caller gave up.
    await Promise.allSettled(queue.map((piece) => Promise.resolve(piece)))
  }
}

class Bodies {
  readonly #files: BodyGetter
  readonly #crc64: Crc64

  constructor(files: BodyGetter, options: AssembleOptions) {
    this.#files = files
    this.#crc64 = options.crc64 ?? portableCrc64
  }

  of(record: SplitRecord): Piece | Promise<Piece> {
    if (record.type === SEGMENT_RECORD) return [Buffer.from(record.payload ?? '', 'base64')]
    const size = record.size ?? 0
    if (size === 0) return []
    if (size > SMALL_BYTES) return this.#read(record, size)
    const body = collect(this.#read(record, size))
    // It is awaited when its turn comes; should that never be, its failure is nobody's.
    body.catch(() => undefined)
    return body
  }

  async *#read(record: SplitRecord, size: number): AsyncGenerator<Buffer> {
    const name = nameOf(record)
    const fd = await this.#open(name)
    const sum = Buffer.alloc(8)
    try {
      let left = size
      for (let atEnd = false; !atEnd;) {
        // A byte more than there should be, so that a file that grew is noticed without another call.
        const buffer = Buffer.allocUnsafe(Math.min(left + 1, READ_BYTES))
        const { bytesRead } = await readFd(fd, buffer, 0, buffer.length, null)
        atEnd = bytesRead < buffer.length
        if (bytesRead > left || (atEnd && bytesRead < left)) throw changed(name, 'it has another size')
        const chunk = buffer.subarray(0, bytesRead)
        this.#crc64(sum, chunk)
        left -= bytesRead
        yield chunk
      }
    } finally {
      await closeFd(fd)
    }
    if (sum.toString('base64') !== record.payload) throw changed(name, 'its content is not what was unpacked')
  }

  async #open(name: Buffer): Promise<number> {
    try {
      return await this.#files.open(name)
    } catch (error) {
      if (hasCode(error, 'ENOENT', 'ENOTDIR', 'ELOOP', 'EISDIR', 'ENXIO'))
        throw changed(name, 'it is gone', error)
      throw error
    }
  }
}

async function collect(chunks: AsyncIterable<Buffer>): Promise<Buffer[]> {
  const all: Buffer[] = []
  for await (const chunk of chunks) all.push(chunk)
  return all
}

function nameOf({ name, name_raw: raw }: SplitRecord): Buffer {
  return raw === undefined || raw === '' ? Buffer.from(name ?? '') : Buffer.from(raw, 'base64')
}

function changed(name: Buffer, what: string, cause?: unknown): OverlaidError {
  const message = `the layer's file ${quoteName(name)} was changed below the store: ${what}`
  return new OverlaidError('ERR_DAMAGED', message, { path: name.toString('utf8'), cause })
}

/** The records of a tar-split stream. @throws ERR_DAMAGED */
export async function* readTarSplit(tarSplit: AsyncIterable<Buffer>): AsyncGenerator<SplitRecord> {
  const gunzip = createGunzip({ chunkSize: READ_BYTES })
  const feeding = pipeline(Readable.from(tarSplit), gunzip)
  // Its failure comes out of the loop below too.
  feeding.catch(() => undefined)
  let rest = ''
  try {
    for await (const chunk of gunzip as AsyncIterable<Buffer>) {
      const lines = (rest + chunk.toString('latin1')).split('\n')
      rest = lines.pop() ?? ''
      for (const line of lines) yield parseRecord(line)
    }
  } catch (error) {
    throw hasCode(error, 'Z_DATA_ERROR', 'Z_BUF_ERROR') ? unreadable(error) : error
  } finally {
    gunzip.destroy()
  }
  if (rest !== '') yield parseRecord(rest)
}

function parseRecord(line: string): SplitRecord {
  try {
    const record = JSON.parse(Buffer.from(line, 'latin1').toString('utf8')) as SplitRecord
    if (record.type === FILE_RECORD || record.type === SEGMENT_RECORD) return record
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error
    throw unreadable(error)
  }
  throw unreadable()
}

function unreadable(cause?: unknown): OverlaidError {
  return new OverlaidError('ERR_DAMAGED', "a layer's tar-split record does not parse", { cause })
}
