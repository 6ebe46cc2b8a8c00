/** What decompresses and compresses a layer, in a process that runs already: each way that lib/transfer has. */
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { constants, createGunzip, gunzipSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { compressed, type CompressionOptions } from '../../lib/transfer/compress.ts'
import { bestEngine, decompressed, type Engine } from '../../lib/transfer/compression.ts'
import { byteSource } from '../../lib/tar/byte-source.ts'
import { openTar } from '../../lib/transfer/tar-source.ts'
import { debianImage } from '../fixtures/images/debian.mjs'
import { streamOf } from '../helpers/image.ts'
import { report, ROUNDS, type Row } from './report.ts'

const MIB = 1024 * 1024
const CHUNK = MIB

let scratch: string
let tar: Buffer
beforeAll(async () => {
  scratch = mkdtempSync(join(tmpdir(), 'overlaid-bench-codec-'))
  const path = join(scratch, 'base.tar')
  const image = await debianImage()
  const [name = ''] = execFileSync('tar', ['-tf', image], { encoding: 'utf8' })
    .split('\n')
    .filter((entry) => entry.endsWith('.tar'))
  execFileSync('sh', ['-c', 'tar -xOf "$0" "$1" > "$2"', image, name, path])
  tar = readFileSync(path)
})
afterAll(() => rmSync(scratch, { recursive: true, force: true }))

type Contender = (bytes: Buffer) => AsyncIterable<Buffer>

async function total(stream: AsyncIterable<Buffer>): Promise<number> {
  let size = 0
  for await (const chunk of stream) size += chunk.length
  return size
}

/** Into one buffer, again and again: what an unpacker does. */
async function* pulled(bytes: Buffer, engine: Engine): AsyncGenerator<Buffer> {
  const source = byteSource(await openTar(byteSource(streamOf(bytes, CHUNK)), 'the layer', engine))
  const room = Buffer.alloc(MIB)
  for (let size = await source.read(room); size > 0; size = await source.read(room)) {
    yield room.subarray(0, size)
  }
}

async function sha256Of(stream: AsyncIterable<Buffer>): Promise<string> {
  const hash = createHash('sha256')
  for await (const chunk of stream) hash.update(chunk)
  return hash.digest('hex')
}

/** Rounds of all contenders on `bytes`, in MB of the tar a second, after each has shown that it is right. */
async function race(
  contenders: Readonly<Record<string, Contender>>,
  bytes: Buffer,
  check: (stream: AsyncIterable<Buffer>) => Promise<void>,
): Promise<Row[]> {
  const rows: Row[] = Object.keys(contenders).map((name) => ({ name, values: [] }))
  for (const contender of Object.values(contenders)) await check(contender(bytes))
  for (let round = 0; round < ROUNDS; round++) {
    for (const { name, values } of rows) {
      const start = process.hrtime.bigint()
      await total(contenders[name]?.(bytes) ?? streamOf(bytes))
      ;(values as number[]).push(tar.length / 1e6 / (Number(process.hrtime.bigint() - start) / 1e9))
    }
  }
  return rows
}

const isNative = bestEngine() === 'native'

describe('decompress the base layer of a Debian image', () => {
  const native: Record<string, Contender> = isNative
    ? {
        'the addon': (bytes) => decompressed(streamOf(bytes, CHUNK), 'the layer', 'native'),
        'the addon, into one buffer': (bytes) => pulled(bytes, 'native'),
      }
    : {}
  const check = async (stream: AsyncIterable<Buffer>): Promise<void> =>
    expect(await sha256Of(stream)).toBe(createHash('sha256').update(tar).digest('hex'))

  it('gzip', async () => {
    const path = join(scratch, 'layer')
    writeFileSync(path, tar)
    const gzip = execFileSync('gzip', ['-6nc', path], { maxBuffer: 1 << 30 })
    const contenders: Record<string, Contender> = {
      'node:zlib, chunks of 16 KiB': (bytes) =>
        Readable.from(streamOf(bytes, CHUNK)).pipe(createGunzip({ chunkSize: constants.Z_DEFAULT_CHUNK })),
      'node:zlib, chunks of 1 MiB': (bytes) => decompressed(streamOf(bytes, CHUNK), 'the layer', 'node'),
      ...native,
    }
    const rows = await race(contenders, gzip, check)
    report('codec-gunzip', 'gzip -6 layer, decompressed', 'MB/s', rows, 'node:zlib, chunks of 16 KiB')
  })

  it.skipIf(!isNative)('zstd', async () => {
    const parts: Buffer[] = []
    for await (const part of compressed(streamOf(tar, CHUNK), { type: 'zstd' })) parts.push(part)
    const contenders: Record<string, Contender> = {
      [`node:zlib or fzstd`]: (bytes) => decompressed(streamOf(bytes, CHUNK), 'the layer', 'node'),
      ...native,
    }
    const rows = await race(contenders, Buffer.concat(parts), check)
    report('codec-unzstd', 'zstd -3 layer, decompressed', 'MB/s', rows, 'node:zlib or fzstd')
  })
})

describe('compress it', () => {
  it('gzip and zstd', async () => {
    const sizes = new Map<string, number>()
    const by = (name: string, options: CompressionOptions, engine: Engine): [string, Contender] => [
      name,
      async function* (bytes) {
        let size = 0
        for await (const chunk of compressed(streamOf(bytes, CHUNK), options, engine)) {
          size += chunk.length
          yield chunk
        }
        sizes.set(name, size)
      },
    ]
    const contenders = Object.fromEntries([
      by('gzip 1, node:zlib', { type: 'gzip', level: 1 }, 'node'),
      by('gzip 3, node:zlib', { type: 'gzip', level: 3 }, 'node'),
      by('gzip 6, node:zlib', { type: 'gzip', level: 6 }, 'node'),
      ...(isNative
        ? [
            by('gzip 1, the addon', { type: 'gzip', level: 1 }, 'native'),
            by('gzip 2, the addon', { type: 'gzip', level: 2 }, 'native'),
            by('gzip 3, the addon', { type: 'gzip', level: 3 }, 'native'),
            by('zstd 1', { type: 'zstd', level: 1 }, 'native'),
            by('zstd 3', { type: 'zstd', level: 3 }, 'native'),
            by('zstd 3, 2 threads', { type: 'zstd', level: 3, threads: 2 }, 'native'),
            by('zstd 9', { type: 'zstd', level: 9 }, 'native'),
          ]
        : []),
    ])
    const isRight = async (stream: AsyncIterable<Buffer>): Promise<void> => {
      const parts: Buffer[] = []
      for await (const part of stream) parts.push(part)
      const packed = Buffer.concat(parts)
      const isGzip = packed[0] === 0x1f
      const size = isGzip ? gunzipSync(packed).length : await total(decompressed(streamOf(packed), 'x'))
      expect(size).toBe(tar.length)
    }
    const rows = await race(contenders, tar, isRight)
    const sized = rows.map(({ name, values }) => {
      return { name: `${name}: ${((sizes.get(name) ?? 0) / 1e6).toFixed(1)} MB`, values }
    })
    report('codec-compress', 'a layer, compressed', 'MB/s', sized, sized[0]?.name ?? '')
  })
})
