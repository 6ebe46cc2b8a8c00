/**
 * Cuts a zstd stream in its frames.
 *
 * Decoders differ in what they make of a stream of several: node:zlib's stops after the first one in a chunk and
 * calls that the end, fzstd's recurses once for each. So whichever there is gets them one by one; skippable ones it
 * does not get at all, and none that asks for memory beyond reason.
 * @see RFC 8878, section 3.1
 */
import { OverlaidError } from '../errors.ts'

/** 0xFD2FB528, little-endian. */
const MAGIC = Buffer.from([0x28, 0xb5, 0x2f, 0xfd])
/** 0x184D2A50 to 0x184D2A5F: all but the low four bits of the first byte. */
const SKIPPABLE = Buffer.from([0x2a, 0x4d, 0x18])

/**
 * Bytes of a window that a decoder must keep: zstd's own tool refuses more unless told otherwise (windowLog 27),
 * so no usual writer asks for it, while a header of ten bytes can ask for terabytes.
 */
const MAX_WINDOW = 2 ** 27
/** Block_Maximum_Size: what one block may expand to. */
const MAX_BLOCK = 128 * 1024
const RUN = 1
const RESERVED = 3

/** Whether a stream that begins so is zstd: a frame, or a skippable one, as pzstd puts first. */
export function isZstd(head: Buffer): boolean {
  return head.subarray(0, MAGIC.length).equals(MAGIC) || isSkippable(head)
}

function isSkippable(head: Buffer): boolean {
  return ((head[0] ?? 0) & 0xf0) === 0x50 && head.subarray(1, 4).equals(SKIPPABLE)
}

/** What comes next in the stream; of the parts that are kept whole, how many bytes. */
type Part = 'magic' | 'skippable' | 'descriptor' | 'header' | 'block' | 'checksum'
const PART_BYTES = { magic: 4, skippable: 4, descriptor: 1, block: 3, checksum: 4 } as const

/** A frame begins, its bytes, it ends. */
export type FrameEvent = 'start' | Buffer | 'end'

/** Follows a stream of frames, given in chunks of any size. */
export class FrameScanner {
  readonly #what: string
  #part: Part = 'magic'
  /** Of the part being read, what earlier chunks had. */
  #held: Buffer = Buffer.alloc(0)
  #descriptor = 0
  #lastBlock = false
  /** Bytes to pass over before the next part. */
  #body = 0
  #inFrame = false
  #events: FrameEvent[] = []
  /** Where in the current chunk the frame's bytes begin that are not in an event yet. */
  #from = 0

  constructor(what: string) {
    this.#what = what
  }

  /**
   * The events of the next chunk; buffers are views of it.
   * @throws ERR_BAD_COMPRESSION
   */
  push(chunk: Buffer): FrameEvent[] {
    this.#events = []
    this.#from = 0
    for (let at = 0; at < chunk.length;) {
      const wanted = this.#body > 0 ? this.#body : this.#partBytes() - this.#held.length
      const bytes = chunk.subarray(at, at + wanted)
      at += bytes.length
      if (this.#body > 0) this.#passOver(bytes.length)
      else this.#hold(bytes, wanted)
      this.#report(chunk, at)
    }
    return this.#events
  }

  /** @throws ERR_BAD_COMPRESSION when the stream ends inside a frame */
  finish(): void {
    if (this.#part === 'magic' && this.#held.length === 0 && this.#body === 0) return
    throw this.#bad('the zstd stream is cut off')
  }

  #partBytes(): number {
    return this.#part === 'header' ? headerBytes(this.#descriptor) : PART_BYTES[this.#part]
  }

  #hold(bytes: Buffer, wanted: number): void {
    const part = this.#held.length === 0 ? bytes : Buffer.concat([this.#held, bytes])
    if (bytes.length < wanted) {
      // A copy: the chunk is the caller's again when push() has returned.
      this.#held = Buffer.from(part)
      return
    }
    this.#held = Buffer.alloc(0)
    this.#take(part)
  }

  /** Turns progress into events: the frame has just begun, goes on or has just ended at `at`. */
  #report(chunk: Buffer, at: number): void {
    const isInFrame = this.#part !== 'magic' && this.#part !== 'skippable'
    if (isInFrame && !this.#inFrame) {
      // The magic may lie across chunks: given anew rather than looked for.
      this.#events.push('start', MAGIC)
      this.#from = at
    }
    if (this.#inFrame && (!isInFrame || at === chunk.length) && at > this.#from) {
      this.#events.push(chunk.subarray(this.#from, at))
      this.#from = at
    }
    if (this.#inFrame && !isInFrame) this.#events.push('end')
    this.#inFrame = isInFrame
  }

  #take(part: Buffer): void {
    switch (this.#part) {
      case 'magic':
        this.#part = this.#afterMagic(part)
        return
      case 'skippable':
        this.#body = part.readUInt32LE()
        this.#part = 'magic'
        return
      case 'descriptor':
        this.#takeDescriptor(part[0] ?? 0)
        return
      case 'header':
        if (windowSize(this.#descriptor, part) <= MAX_WINDOW) this.#part = 'block'
        else throw this.#bad('a zstd frame needs a window of more than 128 MiB')
        return
      case 'block':
        this.#takeBlockHeader(part)
        return
      case 'checksum':
        this.#part = 'magic'
    }
  }

  #afterMagic(magic: Buffer): Part {
    if (isSkippable(magic)) return 'skippable'
    if (magic.equals(MAGIC)) return 'descriptor'
    throw this.#bad('after a zstd frame comes something that is none')
  }

  #takeDescriptor(descriptor: number): void {
    if ((descriptor & 8) !== 0) throw this.#bad('a zstd frame has a reserved bit set')
    if ((descriptor & 3) !== 0) throw this.#bad('a zstd frame needs a dictionary')
    this.#descriptor = descriptor
    this.#part = 'header'
  }

  #takeBlockHeader(header: Buffer): void {
    const bits = header.readUIntLE(0, PART_BYTES.block)
    const type = (bits >> 1) & 3
    const size = bits >> 3
    if (type === RESERVED) throw this.#bad('a zstd block has a reserved type')
    if (size > MAX_BLOCK) throw this.#bad('a zstd block is too large')
    this.#lastBlock = (bits & 1) !== 0
    // Of a run only the byte that repeats is stored.
    this.#body = type === RUN ? 1 : size
    if (this.#body === 0) this.#passOver(0)
  }

  #passOver(count: number): void {
    this.#body -= count
    if (this.#body > 0 || !this.#lastBlock) return
    this.#lastBlock = false
    this.#part = (this.#descriptor & 4) === 0 ? 'magic' : 'checksum'
  }

  #bad(message: string): OverlaidError {
    return new OverlaidError('ERR_BAD_COMPRESSION', `${this.#what}: ${message}`)
  }
}

const isSingleSegment = (descriptor: number): boolean => (descriptor & 0x20) !== 0

/** Bytes of a frame header after its descriptor, at least one: a window's descriptor or a content size. */
function headerBytes(descriptor: number): number {
  const flag = descriptor >> 6
  const single = isSingleSegment(descriptor)
  const content = flag === 0 ? Number(single) : 1 << flag
  return Number(!single) + content
}

/** Bytes that the decoder must keep. The window of a single-segment frame is its content. */
function windowSize(descriptor: number, header: Buffer): number {
  if (!isSingleSegment(descriptor)) {
    const byte = header[0] ?? 0
    const base = 2 ** (10 + (byte >> 3))
    return base + (base / 8) * (byte & 7)
  }
  switch (header.length) {
    case 1:
      return header.readUInt8()
    case 2:
      return header.readUInt16LE() + 256
    case 4:
      return header.readUInt32LE()
    default:
      return Number(header.readBigUInt64LE())
  }
}
