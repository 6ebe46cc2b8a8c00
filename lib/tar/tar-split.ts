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
import { crc64 as portableCrc64 } from './crc64.ts'
import type { TarObserver } from './entry.ts'
import { badTar } from './syntax.ts'

/** CRC-64/GO-ISO of `data` continued from `state`, the 8-byte big-endian running value, in place. */
export type Crc64 = (state: Uint8Array, data: Uint8Array) => void

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
/** Lines go to the compressor in pieces of this size: one by one they would cost more than their compression. */
const WRITE_BYTES = 64 * 1024

/**
 * Records an archive as it is read: pass it to readTar or `apply` as the observer, and consume {@link output}
 * meanwhile, since the reader waits for it ({@link ready}).
 */
export class TarSplitWriter implements TarObserver {
  readonly #crc64: Crc64
  readonly #gzip: Gzip = createGzip({ chunkSize: WRITE_BYTES })
  readonly #names = new Set<string>()
  #lines: string[] = []
  #lineBytes = 0
  #segment: Buffer[] = []
  #segmentBytes = 0
  #file: { name: Buffer; size: number; sum: Buffer } | undefined
  #position = 0
  #offset = 0

  constructor(options: { readonly crc64?: Crc64 } = {}) {
    this.#crc64 = options.crc64 ?? portableCrc64
  }

  /** The gzip'ed records, as a stream. */
  get output(): Gzip {
    return this.#gzip
  }

  segment(bytes: Buffer): void {
    this.#endFile()
    this.#offset += bytes.length
    for (let at = 0; at < bytes.length;) {
      const part = bytes.subarray(at, at + MAX_SEGMENT - this.#segmentBytes)
      this.#segment.push(part)
      this.#segmentBytes += part.length
      at += part.length
      if (this.#segmentBytes === MAX_SEGMENT) this.#endSegment()
    }
  }

  /** @throws ERR_BAD_TAR when the cleaned name was there before: moby reads no such record */
  entry(name: Buffer, size: number): void {
    this.#endFile()
    this.#endSegment()
    const cleaned = pathClean(name)
    if (this.#names.has(cleaned))
      throw badTar('the name is in the archive twice', { offset: this.#offset, entry: name })
    this.#names.add(cleaned)
    this.#file = { name, size, sum: Buffer.alloc(8) }
    if (size === 0) this.#endFile()
  }

  body(bytes: Buffer): void {
    this.#offset += bytes.length
    if (this.#file !== undefined) this.#crc64(this.#file.sum, bytes)
  }

  /** Undefined, or a promise for the moment when the compressor has caught up. Rejects when `output` failed. */
  ready(): Promise<void> | undefined {
    const gzip = this.#gzip
    if (gzip.destroyed) return Promise.reject(closedError(gzip))
    if (!gzip.writableNeedDrain) return undefined
    return new Promise((resolve, reject) => {
      const settle = (): void => {
        gzip.off('drain', settle)
        gzip.off('close', settle)
        if (gzip.destroyed) reject(closedError(gzip))
        else resolve()
      }
      gzip.on('drain', settle)
      gzip.on('close', settle)
    })
  }

  /** The archive has ended: `output` ends after the last record. */
  end(): void {
    this.#endFile()
    this.#endSegment()
    this.#flush()
    this.#gzip.end()
  }

  /** The archive failed: `output` fails with `error`. */
  destroy(error: unknown): void {
    this.#gzip.destroy(error instanceof Error ? error : new Error(String(error)))
  }

  #endFile(): void {
    if (this.#file === undefined) return
    const { name, size, sum } = this.#file
    this.#file = undefined
    this.#write({
      type: FILE_RECORD,
      ...(isUtf8(name) ? { name: name.toString('utf8') } : { name_raw: name.toString('base64') }),
      ...(size === 0 ? {} : { size }),
      payload: size === 0 ? null : sum.toString('base64'),
      position: this.#position++,
    })
  }

  #endSegment(): void {
    if (this.#segmentBytes === 0) return
    const payload = Buffer.concat(this.#segment, this.#segmentBytes).toString('base64')
    this.#segment = []
    this.#segmentBytes = 0
    this.#write({ type: SEGMENT_RECORD, payload, position: this.#position++ })
  }

  #write(record: SplitRecord): void {
    const line = `${JSON.stringify(record)}\n`
    this.#lines.push(line)
    this.#lineBytes += line.length
    if (this.#lineBytes >= WRITE_BYTES) this.#flush()
  }

  #flush(): void {
    // A failed output is the caller's to report; what comes after it is lost with it.
    if (!this.#gzip.destroyed) this.#gzip.write(this.#lines.join(''))
    this.#lines = []
    this.#lineBytes = 0
  }
}

function closedError(gzip: Gzip): Error {
  return gzip.errored ?? new Error('the tar-split output was closed')
}

/** Go's path.Clean, by which moby tells names apart: `a/`, `./a` and `a` are one, `/a` is another. */
function pathClean(name: Buffer): string {
  const text = name.toString('latin1')
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
