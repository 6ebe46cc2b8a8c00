/** What decompresses and compresses a layer, from memory to memory: each way that lib/transfer has. */
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { Readable } from 'node:stream'
import { constants, createGunzip } from 'node:zlib'
import { describe, it } from 'vitest'
import { byteSource } from '../../lib/tar/byte-source.ts'
import { compressed, type CompressionOptions } from '../../lib/transfer/compress.ts'
import { bestEngine, decompressed, type Engine } from '../../lib/transfer/compression.ts'
import { openTar } from '../../lib/transfer/tar-source.ts'
import { streamOf } from '../../lib/driver-suite/streams.ts'
import { GIB, MIB } from '../helpers/sizes.ts'
import { type Contender, type Name, race } from './support/race.ts'
import { TIME } from './support/run.ts'
import { debianBase } from './support/workloads.ts'

const NS_PER_MS = 1e6
const DISK = 64 * MIB
const IS_NATIVE = bestEngine() === 'native'

type Way = (bytes: Buffer) => AsyncIterable<Buffer>

/** Into one buffer, again and again: what an unpacker does. */
async function* pulled(bytes: Buffer): AsyncGenerator<Buffer> {
  const source = byteSource(await openTar(byteSource(streamOf(bytes, MIB)), 'the layer', 'native'))
  const room = Buffer.alloc(MIB)
  for (let size = await source.readInto(room); size > 0; size = await source.readInto(room)) {
    yield room.subarray(0, size)
  }
}

async function sha256Of(stream: AsyncIterable<Buffer>): Promise<string> {
  const hash = createHash('sha256')
  for await (const chunk of stream) hash.update(chunk)
  return hash.digest('hex')
}

type Undo = (stream: AsyncIterable<Buffer>) => AsyncIterable<Buffer>

/** @param undo gives of what this one makes what must be the same for all */
function contender(name: Name, way: Way, bytes: Buffer, undo: Undo): Contender {
  return {
    name,
    runs: 'in process',
    run: async () => {
      const start = process.hrtime.bigint()
      let written = 0
      for await (const chunk of way(bytes)) written += chunk.length
      const time = Number(process.hrtime.bigint() - start) / NS_PER_MS
      return { values: { time, written: written / MIB }, output: () => sha256Of(undo(way(bytes))) }
    },
  }
}

const METRICS = [TIME, { name: 'written', unit: 'MiB', better: 'less' }] as const

describe('decompress the base layer of a Debian image', () => {
  const decompress = async (
    type: 'gzip' | 'zstd',
    bytes: Buffer,
    ways: Readonly<Record<Name, Way>>,
  ): Promise<void> => {
    const native: Readonly<Record<Name, Way>> = {
      'the addon, durability none': (packed) => decompressed(streamOf(packed, MIB), 'the layer', 'native'),
      'the addon, into one buffer, durability none': pulled,
    }
    const all = Object.entries({ ...ways, ...(IS_NATIVE && native) }) as [Name, Way][]
    await race({
      id: `codec-${type}`,
      title: `Decompressing a ${type} layer`,
      about: 'The base layer of a Debian image, from memory to memory.',
      metrics: METRICS,
      disk: DISK,
      base: (all[0] as [Name, Way])[0],
      contenders: all.map(([name, way]) => contender(name, way, bytes, (stream) => stream)),
    })
  }

  it('gzip', async () => {
    const gzip = execFileSync('gzip', ['-6nc', await debianBase()], { maxBuffer: GIB })
    await decompress('gzip', gzip, {
      'node:zlib, chunks of 16 KiB, durability none': (bytes) =>
        Readable.from(streamOf(bytes, MIB)).pipe(createGunzip({ chunkSize: constants.Z_DEFAULT_CHUNK })),
      'node:zlib, chunks of 1 MiB, durability none': (bytes) =>
        decompressed(streamOf(bytes, MIB), 'the layer', 'node'),
    })
  })

  it.skipIf(!IS_NATIVE)('zstd', async () => {
    const parts: Buffer[] = []
    const tar = readFileSync(await debianBase())
    for await (const part of compressed(streamOf(tar, MIB), { type: 'zstd' })) parts.push(part)
    await decompress('zstd', Buffer.concat(parts), {
      'node:zlib or fzstd, durability none': (bytes) =>
        decompressed(streamOf(bytes, MIB), 'the layer', 'node'),
    })
  })
})

it('compress it', async () => {
  const tar = readFileSync(await debianBase())
  const by = (name: Name, options: CompressionOptions, engine: Engine): Contender =>
    contender(
      name,
      (bytes) => compressed(streamOf(bytes, MIB), options, engine),
      tar,
      (stream) => decompressed(stream, 'the layer'),
    )
  const base: Name = 'gzip 6, node:zlib, durability none'
  await race({
    id: 'codec-compress',
    title: 'Compressing a layer',
    about:
      'The base layer of a Debian image, from memory to memory; what comes out is decompressed and compared.',
    metrics: METRICS,
    disk: DISK,
    base,
    contenders: [
      by(base, { type: 'gzip', level: 6 }, 'node'),
      by('gzip 1, node:zlib, durability none', { type: 'gzip', level: 1 }, 'node'),
      ...(IS_NATIVE
        ? [
            by('gzip 1, the addon, durability none', { type: 'gzip', level: 1 }, 'native'),
            by('gzip 3, the addon, durability none', { type: 'gzip', level: 3 }, 'native'),
            by('zstd 1, durability none', { type: 'zstd', level: 1 }, 'native'),
            by('zstd 3, durability none', { type: 'zstd', level: 3 }, 'native'),
            by('zstd 3, 2 threads, durability none', { type: 'zstd', level: 3, threads: 2 }, 'native'),
            by('zstd 9, durability none', { type: 'zstd', level: 9 }, 'native'),
          ]
        : []),
    ],
  })
})
