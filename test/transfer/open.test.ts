import { execFileSync } from 'node:child_process'
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Measured } from '../../lib/oci/digest.ts'
import { decompressed } from '../../lib/transfer/compression.ts'
import { type OpenOptions, openImageSource } from '../../lib/transfer/open.ts'
import type { ImageSource, SourceImage } from '../../lib/transfer/source.ts'
import { collect, streamOf } from '../../lib/driver-suite/streams.ts'
import {
  type Files,
  type TestImage,
  archive,
  buildImage,
  dockerArchive,
  dockerFiles,
  ociArchive,
  ociFiles,
  writeFiles,
} from '../helpers/image.ts'
import { rawTar } from '../helpers/rawtar.ts'
import { zstdFrame } from '../helpers/zstd.ts'

let dir: string
let fds: number
const openFds = (): number => readdirSync('/proc/self/fd').length

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'open-'))
  fds = openFds()
})
afterEach(() => {
  rmSync(dir, { recursive: true })
  expect(openFds()).toBe(fds)
})

const base = [{ name: 'etc/os-release', body: 'ID=test\n' }]
const one = buildImage({ layers: [base, [{ name: 'one', body: '1' }]], names: ['one:1', 'host:5000/one:x'] })
const two = buildImage({ layers: [base, [{ name: 'two', body: '2' }]] })

const open = (
  from: string | AsyncIterable<Buffer>,
  options: Partial<OpenOptions> = {},
): Promise<ImageSource> => openImageSource(from, { spoolDir: join(dir, 'spool'), ...options })

/** Writes `bytes` to a file and opens it. */
function opened(bytes: Buffer, options: Partial<OpenOptions> = {}): Promise<ImageSource> {
  writeFileSync(join(dir, 'image.tar'), bytes)
  return open(join(dir, 'image.tar'), options)
}

async function failing(opening: Promise<ImageSource>): Promise<unknown> {
  return opening.then(
    async (source) => {
      await source[Symbol.asyncDispose]()
      return new Error('it was opened')
    },
    (error: unknown) => error,
  )
}

/** The layer tars of an image, each checked against its diffID as the store does. */
async function tars(image: SourceImage): Promise<Buffer[]> {
  const bodies: Buffer[] = []
  for (const layer of image.layers) {
    const measured = new Measured(decompressed(layer.open(), 'the layer'))
    bodies.push(await collect(measured))
    expect(measured.digest).toBe(layer.diffID)
  }
  return bodies
}

async function expectImage(image: SourceImage | undefined, expected: TestImage): Promise<void> {
  expect(image?.configBytes.equals(expected.configBytes)).toBe(true)
  expect(image?.layers.map((layer) => layer.diffID)).toEqual(expected.layers.map((layer) => layer.diffID))
  const bodies = await tars(image!)
  expect(bodies.map((body, i) => body.equals(expected.layers[i]!.tar))).toEqual(bodies.map(() => true))
}

const NAMES = ['docker.io/library/one:1', 'host:5000/one:x']

describe('openImageSource', () => {
  const archives: readonly (readonly [string, Buffer])[] = [
    ['docker 20.10', dockerArchive([one, two])],
    ['docker 25', dockerArchive([one, two], { style: 'blobs' })],
    ['skopeo', dockerArchive([one, two], { style: 'flat' })],
    ['docker with gzipped layers', dockerArchive([one, two], { gzipLayers: true })],
    ['docker with gzipped blobs', dockerArchive([one, two], { style: 'blobs', gzipLayers: true })],
    ['an OCI archive', ociArchive([one, two])],
    ['an OCI archive with gzipped layers', ociArchive([one, two], { gzipLayers: true })],
  ]

  describe.each(archives)('on an archive as of %s', (_what, bytes) => {
    it.each([
      ['a file', (tar: Buffer) => opened(tar)],
      ['a gzipped file', (tar: Buffer) => opened(gzipSync(tar))],
      ['a zstd file', (tar: Buffer) => opened(zstdFrame(tar))],
      ['a stream', (tar: Buffer) => open(streamOf(tar, 1000))],
      ['a gzipped stream', (tar: Buffer) => open(streamOf(gzipSync(tar), 77))],
    ])('reads the images of %s', async (_form, opening) => {
      await using source = await opening(bytes)
      expect(source.images).toHaveLength(2)
      await expectImage(source.images[0], one)
      await expectImage(source.images[1], two)
      expect(source.images.map((image) => image.names)).toEqual([NAMES, []])
    })
  })

  it('reads an OCI layout in a folder', async () => {
    writeFiles(join(dir, 'layout'), ociFiles([one, two]))
    await using source = await open(join(dir, 'layout'))
    await expectImage(source.images[0], one)
    await expectImage(source.images[1], two)
    expect(source.images.map((image) => image.names)).toEqual([NAMES, []])
  })

  it("reads an archive that is both as docker's", async () => {
    const both: Files = new Map([...ociFiles([one]), ...dockerFiles([two], { style: 'blobs' })])
    await using source = await opened(archive(both))
    expect(source.images).toHaveLength(1)
    await expectImage(source.images[0], two)
  })

  it('reads a fifo', async () => {
    execFileSync('mkfifo', [join(dir, 'fifo')])
    const writing = import('node:fs/promises').then((fs) => fs.writeFile(join(dir, 'fifo'), archives[0]![1]))
    await using source = await open(join(dir, 'fifo'))
    await writing
    await expectImage(source.images[0], one)
  })

  it('leaves nothing in the spool folder, not even while it is read', async () => {
    await using source = await open(streamOf(gzipSync(dockerArchive([one]))))
    expect(readdirSync(join(dir, 'spool'))).toEqual([])
    await expectImage(source.images[0], one)
  })

  it('writes nothing for a plain file', async () => {
    await using source = await opened(dockerArchive([one]))
    await expectImage(source.images[0], one)
    expect(readdirSync(dir)).toEqual(['image.tar'])
  })

  it('gives a layer as often as asked for, and several at a time', async () => {
    await using source = await opened(dockerArchive([one, two], { gzipLayers: true }))
    await Promise.all([...source.images, ...source.images].map(tars))
  })

  it('can be disposed of twice', async () => {
    const source = await opened(dockerArchive([one]))
    await source[Symbol.asyncDispose]()
    await source[Symbol.asyncDispose]()
  })

  it('stops when its signal says so', async () => {
    const reason = new Error('enough')
    const signal = AbortSignal.abort(reason)
    expect(await failing(open(streamOf(dockerArchive([one])), { signal }))).toBe(reason)
    expect(await failing(opened(dockerArchive([one]), { signal }))).toBe(reason)
  })
})

describe('openImageSource refuses', () => {
  const tar = dockerArchive([one])
  it.each([
    ['an empty file', Buffer.alloc(0), 'ERR_BAD_MANIFEST', 'holds no image'],
    ['text', Buffer.from('hello '.repeat(1000)), 'ERR_BAD_TAR', 'byte 0'],
    [
      'the tar of a root file system',
      rawTar(base),
      'ERR_BAD_MANIFEST',
      'neither manifest.json nor oci-layout',
    ],
    [
      'an archive of Docker before 1.10',
      rawTar([{ name: 'repositories', body: '{}' }]),
      'ERR_BAD_MANIFEST',
      '1.10',
    ],
    ['an xz file', Buffer.from('fd377a585a000004e6d6b446', 'hex'), 'ERR_UNSUPPORTED_MEDIA_TYPE', 'xz'],
    ['half a gzip', gzipSync(tar).subarray(0, 300), 'ERR_BAD_COMPRESSION', 'cannot be decompressed'],
    ['a gzip of text', gzipSync(Buffer.from('hello '.repeat(1000))), 'ERR_BAD_TAR', 'byte 0'],
    ['an image for Windows', dockerArchive([windows()]), 'ERR_UNSUPPORTED_PLATFORM', 'windows/amd64'],
  ])('%s', async (_what, bytes, code, words) => {
    for (const opening of [() => opened(bytes), () => open(streamOf(bytes))]) {
      expect(await failing(opening())).toMatchObject({
        code,
        message: expect.stringContaining(words) as string,
      })
    }
  })

  it('a path that is not there, and a folder that is no layout', async () => {
    expect(await failing(open(join(dir, 'missing')))).toMatchObject({ code: 'ENOENT' })
    expect(await failing(open(dir))).toMatchObject({
      code: 'ERR_BAD_MANIFEST',
      message: expect.stringContaining('no oci-layout') as string,
      hint: expect.any(String) as string,
    })
  })

  it('more than its limits', async () => {
    const limits = { maxBytes: 1000 }
    expect(await failing(open(streamOf(tar), { limits }))).toMatchObject({ code: 'ERR_LIMIT_EXCEEDED' })
    expect(await failing(opened(gzipSync(tar), { limits }))).toMatchObject({ code: 'ERR_LIMIT_EXCEEDED' })
    expect(await failing(opened(tar, { limits: { maxEntries: 2 } }))).toMatchObject({
      code: 'ERR_LIMIT_EXCEEDED',
    })
  })

  it('an archive cut off anywhere: it does not open, or a layer does not read', async () => {
    const cuttable = dockerArchive([one], { style: 'flat' })
    // The last two blocks only close the archive.
    for (let length = 0; length < cuttable.length - 1024; length += 256) {
      const error = await failing(opened(cuttable.subarray(0, length)))
      expect(error, `${String(length)} bytes`).toMatchObject({
        code: expect.stringMatching(/^ERR_BAD_(TAR|MANIFEST)$/) as string,
      })
    }
  })
})

function windows(): TestImage {
  return buildImage({ layers: [base], config: { os: 'windows', architecture: 'amd64' } })
}
