import { gzipSync } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import { OverlaidError } from '../../lib/errors.ts'
import { bestEngine, decompressed, type Engine, sniff } from '../../lib/transfer/compression.ts'
import { type ByteSource, byteSource } from '../../lib/tar/byte-source.ts'
import { openTar } from '../../lib/transfer/tar-source.ts'
import { FrameScanner } from '../../lib/transfer/zstd-frames.ts'
import { fzstdFrame, unzstd } from '../../lib/transfer/zstd.ts'
import { NOISE, content, zstdFile } from '../fixtures/zstd/content.ts'
import { collect, streamOf } from '../../lib/driver-suite/streams.ts'
import { zstdFrame } from '../helpers/zstd.ts'

const small = content.subarray(0, 5000)
const zstd = zstdFile('level3')
const gzip = gzipSync(content)
const xz = Buffer.from('fd377a585a000004e6d6b446', 'hex')
/** A skippable frame of five bytes. */
const skippable = Buffer.from('542a4d1805000000' + 'ffffffffff', 'hex')
const zeros = Buffer.alloc(3_000_000)

/** Each way to decompress that there is here; the native one is missing where the addon was built without. */
const ENGINES: readonly Engine[] = bestEngine() === 'native' ? ['native', 'node'] : ['node']

/** All that a source gives, into buffers of an odd size. */
async function* drain(source: ByteSource): AsyncGenerator<Buffer> {
  for (;;) {
    const room = Buffer.alloc(70_001)
    const size = await source.readInto(room)
    if (size === 0) return
    yield room.subarray(0, size)
  }
}

const failure = (code: string): object => ({ code, message: expect.stringContaining('the layer') as string })

describe('sniff', () => {
  it.each([
    ['gzip', gzip, 'gzip'],
    ['zstd', zstd, 'zstd'],
    ['a skippable zstd frame', skippable, 'zstd'],
    ['nothing', Buffer.alloc(0), 'none'],
    ['two bytes of gzip', gzip.subarray(0, 2), 'none'],
    ['a tar', Buffer.from('BZhello/file\0\0'), 'none'],
  ])('knows %s', (_what, bytes, compression) => {
    expect(sniff(bytes, 'x')).toBe(compression)
  })

  it.each([
    ['xz', xz],
    ['bzip2', Buffer.from('425a6839314159265359770b', 'hex')],
    ['lz4', Buffer.from('04224d18', 'hex')],
  ])('names %s, which is not read', (name, bytes) => {
    expect(() => sniff(bytes, 'the layer')).toThrowError(
      expect.objectContaining({
        code: 'ERR_UNSUPPORTED_MEDIA_TYPE',
        message: expect.stringContaining(name) as string,
      }),
    )
  })
})

describe.each(ENGINES)('decompressed by %s', (engine) => {
  /** The stream, read in both ways. */
  const plain = async (bytes: Buffer, size?: number): Promise<Buffer> => {
    const pull = async (): Promise<Buffer> => {
      const stream = await openTar(byteSource(streamOf(bytes, size)), 'the layer', engine)
      return collect(drain(byteSource(stream)))
    }
    const [chunks, pulled] = await Promise.allSettled([
      collect(decompressed(streamOf(bytes, size), 'the layer', engine)),
      pull(),
    ])
    if (chunks.status === 'rejected') {
      expect(pulled).toMatchObject({
        status: 'rejected',
        reason: { message: String((chunks.reason as Error).message) },
      })
      throw chunks.reason
    }
    if (pulled.status === 'rejected') throw pulled.reason
    expect(pulled.value.equals(chunks.value)).toBe(true)
    return chunks.value
  }

  it.each([
    ['plain', content],
    ['gzip', gzip],
    [
      'gzip in two members',
      Buffer.concat([gzipSync(content.subarray(0, 999)), gzipSync(content.subarray(999))]),
    ],
    ['gzip and a little padding', Buffer.concat([gzip, Buffer.alloc(7)])],
    ['gzip and much padding', Buffer.concat([gzip, zeros])],
    ['gzip at level 9', gzipSync(content, { level: 9 })],
    ['zstd', zstd],
    ['zstd of level 19 and no checksum', zstdFile('level19-nocheck')],
    ['zstd with its size', zstdFile('sized')],
    [
      'zstd in two frames',
      Buffer.concat([zstdFrame(content.subarray(0, 9)), zstdFrame(content.subarray(9))]),
    ],
    ['zstd between skippable frames', Buffer.concat([skippable, zstd, skippable])],
  ])('gives the bytes of %s, however it is cut', async (_what, bytes) => {
    expect((await plain(bytes)).equals(content)).toBe(true)
    expect((await plain(bytes, 4099)).equals(content)).toBe(true)
  })

  it('has room for a window of 128 MiB, the largest that the zstd command reads by itself', async () => {
    const bytes = zstdFile('small-window27')
    expect(bytes[5]).toBe((27 - 10) << 3)
    expect((await plain(bytes)).equals(content.subarray(0, 1000))).toBe(true)
  })

  it('gives the bytes of a stream that comes byte by byte', async () => {
    for (const bytes of [small, gzipSync(small), Buffer.concat([skippable, zstdFile('small')])]) {
      expect(await plain(bytes, 1)).toEqual(small)
    }
  })

  it('is empty for nothing, and for compressed nothing', async () => {
    const nothing = Buffer.alloc(0)
    for (const bytes of [nothing, gzipSync(nothing), zstdFrame(nothing), skippable]) {
      expect(await plain(bytes)).toHaveLength(0)
    }
  })

  it.each([
    ['gzip and something else', Buffer.concat([gzip, Buffer.from('something')])],
    ['gzip, padding and something else', Buffer.concat([gzip, zeros, Buffer.from('x')])],
    ['gzip, padding and more gzip', Buffer.concat([gzip, Buffer.alloc(9), gzip])],
    ['zstd and something else', Buffer.concat([zstd, Buffer.from('something')])],
    ['zstd and zeros', Buffer.concat([zstd, zeros])],
    ['zstd and a byte', Buffer.concat([zstd, Buffer.alloc(1)])],
    ['zstd with a dictionary', frame(1)],
    ['zstd with a reserved bit', frame(8)],
    ['zstd with a window of a terabyte', Buffer.from('28b52ffd00f0010000', 'hex')],
    ['zstd with a content of 2^63 in one segment', Buffer.from('28b52ffde0ffffffffffffff7f010000', 'hex')],
    ['zstd with a reserved block', Buffer.from('28b52ffd0000070000', 'hex')],
    ['zstd with a block of 2 MiB', Buffer.from('28b52ffd00f8ffffff00', 'hex')],
    ['gzip with flags that are reserved', Buffer.from('1f8b08e0000000000003030000000000000000', 'hex')],
    ['a gzip header alone', gzip.subarray(0, 10)],
    ['a zstd magic alone', zstd.subarray(0, 4)],
    ['half a skippable frame', skippable.subarray(0, 10)],
  ])('refuses %s', async (_what, bytes) => {
    await expect(plain(bytes)).rejects.toMatchObject(failure('ERR_BAD_COMPRESSION'))
    await expect(plain(bytes, 331)).rejects.toMatchObject(failure('ERR_BAD_COMPRESSION'))
  })

  it.each([
    ['gzip', gzipSync(content.subarray(0, 3000))],
    ['zstd', zstdFile('small')],
    ['zstd, raw', zstdFile('noise')],
  ])('refuses %s cut off anywhere', async (_what, bytes) => {
    for (let length = SNIFFED; length < bytes.length; length++) {
      await expect(plain(bytes.subarray(0, length)), `${String(length)} bytes`).rejects.toMatchObject(
        failure('ERR_BAD_COMPRESSION'),
      )
    }
  })

  it('never takes corrupt gzip for right', async () => {
    const bytes = gzipSync(content.subarray(0, 2000))
    for (let at = 10; at < bytes.length; at += 3) {
      const corrupt = Buffer.from(bytes)
      corrupt.writeUInt8((corrupt[at] ?? 0) ^ 0x10, at)
      await expect(plain(corrupt), `byte ${String(at)}`).rejects.toMatchObject(failure('ERR_BAD_COMPRESSION'))
    }
  })

  it('ends on corrupt zstd, with other bytes or the one error', async () => {
    const bytes = zstdFile('small')
    for (let at = 4; at < bytes.length; at++) {
      const corrupt = Buffer.from(bytes)
      corrupt.writeUInt8((corrupt[at] ?? 0) ^ 0x21, at)
      await plain(corrupt).catch((error: unknown) => {
        expect(error, `byte ${String(at)}`).toMatchObject(failure('ERR_BAD_COMPRESSION'))
      })
    }
  })

  it("keeps the input's own error, be it at the start, inside or at the very end", async () => {
    for (const bytes of [gzip, zstd, content]) {
      for (const length of [0, 1000, bytes.length]) {
        const mine = new OverlaidError('ERR_DIGEST_MISMATCH', 'mine')
        const failing = async function* (): AsyncGenerator<Buffer> {
          yield* streamOf(bytes.subarray(0, length))
          throw mine
        }
        await expect(collect(decompressed(failing(), 'x', engine))).rejects.toBe(mine)
      }
    }
  })

  it('closes the input that it does not read', async () => {
    let closed = false
    const input = async function* (): AsyncGenerator<Buffer> {
      try {
        yield* streamOf(xz)
      } finally {
        closed = true
      }
    }
    await expect(collect(decompressed(input(), 'x', engine))).rejects.toMatchObject({
      code: 'ERR_UNSUPPORTED_MEDIA_TYPE',
    })
    expect(closed).toBe(true)
  })

  it.each([
    ['plain', content],
    ['gzip', gzip],
    ['zstd', zstd],
  ])('closes the input when the reader of %s has had enough', async (_what, bytes) => {
    let closed = false
    const input = async function* (): AsyncGenerator<Buffer> {
      try {
        for (;;) yield* streamOf(bytes, 1000)
      } finally {
        closed = true
      }
    }
    for await (const chunk of decompressed(input(), 'x', engine)) {
      expect(chunk.length).toBeGreaterThan(0)
      break
    }
    await expect.poll(() => closed).toBe(true)
  })
})

describe('fzstd', () => {
  it('keeps little in memory, whatever the input expands to', async () => {
    // Runs of 128 KiB in four bytes each: 8 GiB in 256 KiB.
    const blocks = Buffer.concat(Array.from({ length: 65_536 }, () => Buffer.from('02001000', 'hex')))
    const bomb = Buffer.concat([Buffer.from('28b52ffd0038', 'hex'), blocks])
    let largest = 0
    let total = 0
    for await (const chunk of unzstd(streamOf(bomb, bomb.length), 'x', fzstdFrame)) {
      largest = Math.max(largest, chunk.length)
      total += chunk.length
      if (total > 2 ** 26) break
    }
    expect(largest).toBeLessThanOrEqual(128 * 1024)
  })

  it('decodes what the zstd command makes', async () => {
    expect(await collect(unzstd(streamOf(zstdFile('noise')), 'x', fzstdFrame))).toEqual(NOISE)
    expect(await collect(unzstd(streamOf(zstdFile('small')), 'x', fzstdFrame))).toEqual(small)
    expect((await collect(unzstd(streamOf(zstd), 'x', fzstdFrame))).equals(content)).toBe(true)
  })
})

describe('FrameScanner', () => {
  it('gives the bytes of each frame, without the skippable ones', () => {
    const scanner = new FrameScanner('x')
    const bytes = Buffer.concat([skippable, zstd, zstd, skippable])
    const frames: Buffer[][] = []
    for (let at = 0; at < bytes.length; at += 1013) {
      for (const event of scanner.push(bytes.subarray(at, at + 1013))) {
        if (event === 'start') frames.push([])
        else if (event !== 'end') frames.at(-1)?.push(event)
      }
    }
    scanner.finish()
    expect(frames.map((parts) => Buffer.concat(parts).equals(zstd))).toEqual([true, true])
  })
})

/** A frame whose header has the descriptor bits `bits`. */
function frame(bits: number): Buffer {
  return Buffer.from([0x28, 0xb5, 0x2f, 0xfd, bits, 0x58, 1, 0, 0, 0])
}

const SNIFFED = 4
