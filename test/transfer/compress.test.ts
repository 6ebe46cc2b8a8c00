import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { gunzipSync } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import { compressed, type CompressionOptions } from '../../lib/transfer/compress.ts'
import { bestEngine, decompressed, type Engine } from '../../lib/transfer/compression.ts'
import { hasCommand } from '../../scripts/debian-packages.mjs'
import { content, NOISE } from '../fixtures/zstd/content.ts'
import { collect, streamOf } from '../../lib/driver-suite/streams.ts'

const isNative = bestEngine() === 'native'
const large = Buffer.concat([content, NOISE, Buffer.alloc(5_000_000), content])

const pack = (bytes: Buffer, options: CompressionOptions, engine?: Engine, size = 65_536): Promise<Buffer> =>
  collect(compressed(streamOf(bytes, size), options, engine))

describe('gzip', () => {
  const engines: Engine[] = isNative ? ['native', 'node'] : ['node']
  it.each(engines.flatMap((engine) => [1, 2, 3, 6, 9].map((level) => [engine, level] as const)))(
    'by %s at level %i is what zlib reads, and shorter',
    async (engine, level) => {
      for (const bytes of [large, Buffer.alloc(0), Buffer.from('x')]) {
        const packed = await pack(bytes, { type: 'gzip', level }, engine)
        expect(gunzipSync(packed).equals(bytes)).toBe(true)
      }
      expect((await pack(large, { type: 'gzip', level }, engine)).length).toBeLessThan(large.length / 2)
    },
  )

  it.each(engines)('by %s is the same bytes for the same input, however it is cut', async (engine) => {
    for (const level of [1, 3, 6]) {
      const once = await pack(large, { type: 'gzip', level }, engine)
      const again = await pack(large, { type: 'gzip', level }, engine, 10_007)
      expect(again.equals(once)).toBe(true)
    }
  })

  it('names no time', async () => {
    for (const level of [3, 6]) {
      expect((await pack(content, { type: 'gzip', level })).readUInt32LE(4)).toBe(0)
    }
  })
})

describe.skipIf(!isNative)('zstd', () => {
  it.each([1, 3, 12, 19])('at level %i comes back, and is shorter', async (level) => {
    for (const bytes of [large, Buffer.alloc(0), Buffer.from('x')]) {
      const packed = await pack(bytes, { type: 'zstd', level })
      expect((await collect(decompressed(streamOf(packed), 'x', 'node'))).equals(bytes)).toBe(true)
      expect((await collect(decompressed(streamOf(packed), 'x', 'native'))).equals(bytes)).toBe(true)
    }
    expect((await pack(large, { type: 'zstd', level })).length).toBeLessThan(large.length / 2)
  })

  it('is the same bytes on any number of threads, however the input is cut', async () => {
    const once = await pack(large, { type: 'zstd' })
    expect((await pack(large, { type: 'zstd', threads: 4 })).equals(once)).toBe(true)
    expect((await pack(large, { type: 'zstd', threads: 2 }, undefined, 1_000_003)).equals(once)).toBe(true)
  })

  it.skipIf(!hasCommand('zstd'))('is what the zstd command reads', async () => {
    const packed = await pack(large, { type: 'zstd', threads: 2 })
    expect(execFileSync('zstd', ['-dcq'], { input: packed, maxBuffer: 1 << 28 }).equals(large)).toBe(true)
  })
})

describe('compressed', () => {
  it.each([
    [{ type: 'gzip', level: 10 }],
    [{ type: 'gzip', level: 0 }],
    [{ type: 'gzip', level: 1.5 }],
    [{ type: 'gzip', threads: 2 }],
    [{ type: 'zstd', level: 20 }],
    [{ type: 'zstd', threads: 0 }],
  ] as const)('refuses %j', (options) => {
    expect(() => compressed(streamOf(content), options)).toThrowError(
      expect.objectContaining({ code: 'ERR_INVALID_ARGUMENT' }),
    )
  })

  it('refuses zstd where the addon has none', () => {
    expect(() => compressed(streamOf(content), { type: 'zstd' }, 'node')).toThrowError(/has no zstd/)
  })

  it.each([
    { type: 'gzip', level: 1 },
    { type: 'gzip', level: 6 },
    ...(isNative ? [{ type: 'zstd' } as const] : []),
  ] as const)(
    "keeps the input's error and closes it when the reader of %j has had enough",
    async (options) => {
      const mine = new Error('mine')
      const failing = async function* (): AsyncGenerator<Buffer> {
        yield* streamOf(NOISE)
        throw mine
      }
      await expect(collect(compressed(failing(), options))).rejects.toBe(mine)
      let isClosed = false
      const endless = async function* (): AsyncGenerator<Buffer> {
        try {
          for (;;) yield randomBytes(1_000_000)
        } finally {
          isClosed = true
        }
      }
      for await (const chunk of compressed(endless(), options)) {
        expect(chunk.length).toBeGreaterThan(0)
        break
      }
      await expect.poll(() => isClosed).toBe(true)
    },
  )
})
