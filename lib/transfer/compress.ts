/**
 * Compression of what is written. The same input, options and build make the same bytes, whatever the chunks and however
 * many threads: neither format gets a time or a name. Other bytes may come of another version of the libraries, and of
 * an addon without them: gzip's levels 1 to 3 are ISA-L's where it is built in (ten times as fast as zlib's 6), the
 * others are zlib's everywhere. Who needs the same bytes on every machine takes a level from 4 on, or no compression.
 */
import zlib from 'node:zlib'
import { OverlaidError } from '../errors.ts'
import { drained } from '../tar/drained.ts'
import { binding, type CodecHandle } from '../native/binding.ts'
import { bestEngine, type Engine } from './compression.ts'

export interface CompressionOptions {
  readonly type: 'gzip' | 'zstd'
  /** gzip 1 to 9, zstd 1 to 19; default 3 for both. */
  readonly level?: number
  /** zstd only; default 1. Changes how long it takes, not what comes out. */
  readonly threads?: number
}

const DEFAULT_LEVEL = 3
const MAX_LEVEL = { gzip: 9, zstd: 19 } as const
/** What ISA-L has. */
const MAX_ISAL_LEVEL = 3
const MAX_THREADS = 64
const OUTPUT_CHUNK = 1024 * 1024
/** Changing it changes what ISA-L makes. */
const BLOCK = 1024 * 1024
const NOTHING: Buffer = Buffer.alloc(0)

/**
 * The bytes of `input`, compressed.
 * @throws ERR_INVALID_ARGUMENT at once for a level or number of threads that there is not, and for zstd in an addon
 *   that was built without it
 */
export function compressed(
  input: AsyncIterable<Buffer>,
  options: CompressionOptions,
  engine: Engine = bestEngine(),
): AsyncGenerator<Buffer> {
  const { type, level, threads } = checkCompression(options, engine)
  if (type === 'zstd') return encode(binding.openCodec('zstd', level, threads), input)
  if (engine === 'native' && level <= MAX_ISAL_LEVEL)
    return encode(binding.openCodec('gzip', level, 0), input)
  return deflate(input, level)
}

/** The options with all that they leave open. @throws as {@link compressed} */
export function checkCompression(
  { type, level = DEFAULT_LEVEL, threads = 1 }: CompressionOptions,
  engine: Engine = bestEngine(),
): Required<CompressionOptions> {
  const highest = MAX_LEVEL[type]
  if (!Number.isInteger(level) || level < 1 || level > highest) {
    throw wrong(`the level of ${type} is ${String(level)}`, `it is a number from 1 to ${String(highest)}`)
  }
  if (!Number.isInteger(threads) || threads < 1 || threads > MAX_THREADS) {
    throw wrong(`${String(threads)} threads`, `it is a number from 1 to ${String(MAX_THREADS)}`)
  }
  if (type === 'gzip' && threads > 1) throw wrong('gzip is compressed on one thread', 'zstd has more')
  if (type === 'zstd' && engine !== 'native') {
    throw wrong('this build of the addon has no zstd', 'build it after scripts/codecs.sh, or take gzip')
  }
  return { type, level, threads }
}

function wrong(message: string, hint: string): OverlaidError {
  return new OverlaidError('ERR_INVALID_ARGUMENT', message, { hint })
}

/** By the addon, on the pool. */
async function* encode(codec: CodecHandle, input: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  const output = new Output()
  for await (const chunk of blocks(input)) {
    for (let rest = chunk; rest.length > 0;) {
      const { consumed, produced, problem } = await binding.runCodec(codec, rest, output.room, false)
      expectNone(problem)
      rest = rest.subarray(consumed)
      yield* output.take(produced)
    }
  }
  for (let ended = false; !ended;) {
    const step = await binding.runCodec(codec, NOTHING, output.room, true)
    expectNone(step.problem)
    ended = step.ended
    yield* output.take(step.produced)
  }
  yield* output.flush()
}

/** The input in pieces of one size: ISA-L makes other bytes of the same input when it is cut in another way. */
async function* blocks(input: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  const block = Buffer.allocUnsafeSlow(BLOCK)
  let filled = 0
  for await (const chunk of input) {
    for (let at = 0; at < chunk.length;) {
      const copied = chunk.copy(block, filled, at)
      at += copied
      filled += copied
      if (filled < BLOCK) continue
      yield block
      filled = 0
    }
  }
  if (filled > 0) yield block.subarray(0, filled)
}

/** An encoder takes all bytes there are: it fails for want of memory. */
function expectNone(problem: string | undefined): void {
  if (problem !== undefined) throw new Error(`compression failed: ${problem}`)
}

/** Room that is given out when it is full. */
class Output {
  #chunk: Buffer = Buffer.allocUnsafeSlow(OUTPUT_CHUNK)
  #filled = 0

  get room(): Buffer {
    return this.#chunk.subarray(this.#filled)
  }

  *take(produced: number): Generator<Buffer> {
    this.#filled += produced
    if (this.#filled < this.#chunk.length) return
    yield* this.flush()
    this.#chunk = Buffer.allocUnsafeSlow(OUTPUT_CHUNK)
    this.#filled = 0
  }

  *flush(): Generator<Buffer> {
    if (this.#filled > 0) yield this.#chunk.subarray(0, this.#filled)
    this.#filled = 0
  }
}

/** By node:zlib. */
async function* deflate(input: AsyncIterable<Buffer>, level: number): AsyncGenerator<Buffer> {
  const engine = zlib.createGzip({ level, chunkSize: OUTPUT_CHUNK })
  const feeding = feed(engine, input)
  feeding.catch((error: unknown) => engine.destroy(error as Error))
  engine.on('error', () => undefined)
  try {
    yield* engine as AsyncIterable<Buffer>
    await feeding
  } finally {
    engine.destroy()
    // Whoever stops early closes what the input has open, before this is over.
    await Promise.allSettled([feeding])
  }
}

async function feed(engine: zlib.Gzip, input: AsyncIterable<Buffer>): Promise<void> {
  for await (const chunk of input) {
    if (engine.destroyed) return
    if (!engine.write(chunk)) await drained(engine)
  }
  engine.end()
}
