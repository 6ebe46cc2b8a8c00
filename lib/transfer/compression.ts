/**
 * Compressed streams, recognised by their first bytes: media types and file names are often wrong.
 *
 * A stream must be whole: one that is cut off, or followed by something else, is an error. Further members and
 * frames may follow, as pigz, pzstd and estargz write them, and after gzip zeros, as tapes leave them.
 */
import type { Transform } from 'node:stream'
import zlib from 'node:zlib'
import { OverlaidError, hasCode, isOverlaidError } from '../errors.ts'
import { binding } from '../native/binding.ts'
import { byteChunks, type ByteSource, byteSource } from '../tar/byte-source.ts'
import { badCompression, Decoder } from './decoder.ts'
import { FrameScanner, isZstd } from './zstd-frames.ts'
import { fzstdFrame, scan, unzstd } from './zstd.ts'

export type Compression = 'none' | 'gzip' | 'zstd'

/** Enough to recognise all of them. */
export const SNIFF_BYTES = 10
/** node:zlib gives 576 MB/s in pieces of this size, and 239 in its default of 16 KiB. */
const OUTPUT_CHUNK = 1024 * 1024

const GZIP = Buffer.from([0x1f, 0x8b, 0x08])
/** Known, and not read. bzip2's is long enough to be no file's name at the head of a tar. */
const OTHERS: readonly (readonly [string, RegExp])[] = [
  ['xz', /^\xfd7zXZ\0/],
  ['lz4', /^\x04\x22M\x18/],
  ['bzip2', /^BZh[1-9]1AY&SY/],
]

/** node:zlib's zstd, where this Node has it. */
const createZstd = (zlib as { createZstdDecompress?: (options: zlib.ZlibOptions) => Zlib })
  .createZstdDecompress

/** A decompressor of node:zlib. `bytesWritten` counts the input that it took. */
type Zlib = Transform & { readonly bytesWritten: number }

/**
 * How a stream that begins with `head` is compressed.
 * @param what names it in messages
 * @throws ERR_UNSUPPORTED_MEDIA_TYPE for a compression that is not read
 */
export function sniff(head: Buffer, what: string): Compression {
  if (head.subarray(0, GZIP.length).equals(GZIP)) return 'gzip'
  if (isZstd(head)) return 'zstd'
  const text = head.toString('latin1', 0, SNIFF_BYTES)
  const other = OTHERS.find(([, magic]) => magic.test(text))?.[0]
  if (other === undefined) return 'none'
  throw new OverlaidError(
    'ERR_UNSUPPORTED_MEDIA_TYPE',
    `${what} is compressed by ${other}; plain, gzip and zstd are read`,
  )
}

/**
 * What decompresses: `native`, ISA-L and libzstd in the addon, where its build has them; `node`, what there always is:
 * node:zlib for gzip, and for zstd node:zlib from Node 22.15 on, else fzstd. Both make the same of the same stream.
 */
export type Engine = 'native' | 'node'

/** The faster one of those that are there. */
export function bestEngine(): Engine {
  try {
    return binding.hasCodecs() ? 'native' : 'node'
  } catch (error) {
    if (!hasCode(error, 'ERR_NO_BINDING')) throw error
    return 'node'
  }
}

/**
 * The bytes of a stream without their compression, if they have one. The input is read to its end, so that
 * whatever checks it (`verified` in oci/digest.ts) comes to its verdict; its error comes out of this stream.
 * @throws ERR_BAD_COMPRESSION, ERR_UNSUPPORTED_MEDIA_TYPE, and what the input throws
 */
export async function* decompressed(
  input: AsyncIterable<Buffer>,
  what: string,
  engine: Engine = bestEngine(),
): AsyncGenerator<Buffer> {
  const { compression, stream } = await peek(input, what)
  if (compression === 'none') yield* stream
  else if (engine === 'native') yield* byteChunks(openDecoder(compression, byteSource(stream), what))
  else if (compression === 'gzip')
    yield* through(zlib.createGunzip({ chunkSize: OUTPUT_CHUNK }), stream, what)
  else yield* unzstd(stream, what, (frame) => zstdFrame(frame, what))
}

/** What decompresses a source of that compression by the addon, straight into its reader's memory. */
export function openDecoder(compression: 'gzip' | 'zstd', input: ByteSource, what: string): ByteSource {
  if (compression === 'gzip') return new Decoder('gunzip', input, what)
  const frames = new FrameScanner(what)
  const look = { push: (chunk: Buffer) => scan(frames, chunk), finish: () => frames.finish() }
  return new Decoder('unzstd', input, what, look)
}

/** How a stream is compressed, and the stream with its first bytes still in it. */
async function peek(
  input: AsyncIterable<Buffer>,
  what: string,
): Promise<{ compression: Compression; stream: AsyncIterable<Buffer> }> {
  const source = input[Symbol.asyncIterator]()
  const chunks: Buffer[] = []
  let length = 0
  while (length < SNIFF_BYTES) {
    const next = await source.next()
    if (next.done === true) break
    chunks.push(next.value)
    length += next.value.length
  }
  async function* whole(): AsyncGenerator<Buffer> {
    try {
      yield* chunks
      yield* { [Symbol.asyncIterator]: () => source }
    } finally {
      await source.return?.()
    }
  }
  try {
    return { compression: sniff(Buffer.concat(chunks), what), stream: whole() }
  } catch (error) {
    await source.return?.()
    throw error
  }
}

async function* zstdFrame(frame: AsyncIterable<Buffer>, what: string): AsyncGenerator<Buffer> {
  if (createZstd !== undefined) {
    yield* through(createZstd({ chunkSize: OUTPUT_CHUNK }), frame, what)
    return
  }
  try {
    yield* fzstdFrame(frame)
  } catch (error) {
    throw isOverlaidError(error) ? error : badCompression(error, what)
  }
}

async function* through(engine: Zlib, input: AsyncIterable<Buffer>, what: string): AsyncGenerator<Buffer> {
  const feeding = feed(engine, input, what)
  // Its failure ends the loop below, and is thrown there or by the await after it.
  feeding.catch((error: unknown) => engine.destroy(error as Error))
  engine.on('error', () => undefined)
  try {
    // Left alone at its end: feed() may still have padding to look through, and the input's verdict to wait for.
    yield* engine.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>
    await feeding
  } catch (error) {
    throw isZlibError(error) ? badCompression(error, what) : error
  } finally {
    engine.destroy()
  }
}

/**
 * Writes the whole input to the engine. Not by stream.pipeline: the engine's output ends with the compressed data,
 * and a pipeline that sees one end before the other calls that an abort.
 */
async function feed(engine: Zlib, input: AsyncIterable<Buffer>, what: string): Promise<void> {
  let fed = 0
  let atEnd = false
  for await (const chunk of input) {
    if (!atEnd) await write(engine, chunk)
    fed += atEnd ? 0 : chunk.length
    // What the engine leaves untaken comes after the end of the compressed data.
    const left: number = atEnd ? chunk.length : fed - engine.bytesWritten
    atEnd = left > 0
    checkPadding(chunk.subarray(chunk.length - left), what)
  }
  if (!atEnd) engine.end()
}

/** Resolves when the engine has taken the chunk; an engine that is destroyed before never does, and never says. */
function write(engine: Zlib, chunk: Buffer): Promise<void> {
  return new Promise((resolve, reject) => {
    const onClose = (): void => {
      reject(engine.errored ?? new Error('the decompressor was closed'))
    }
    engine.once('close', onClose)
    engine.write(chunk, (error) => {
      engine.off('close', onClose)
      if (error === null || error === undefined) resolve()
      else reject(error)
    })
  })
}

function checkPadding(bytes: Buffer, what: string): void {
  if (bytes.every((byte) => byte === 0)) return
  throw new OverlaidError('ERR_BAD_COMPRESSION', `${what}: something follows the compressed data`)
}

/** Any other error comes from the input, and is its own. */
function isZlibError(error: unknown): boolean {
  const code = (error as { code?: unknown }).code
  return typeof code === 'string' && /^(Z_|ZSTD_)/.test(code)
}
