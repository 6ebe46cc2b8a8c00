import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import tarStream from 'tar-stream'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { parseConfig } from '../../lib/oci/config.ts'
import { type DiffID, type Digest, digestOf } from '../../lib/oci/digest.ts'
import { bestEngine, decompressed } from '../../lib/transfer/compression.ts'
import { openImageSource } from '../../lib/transfer/open.ts'
import type { ExportImage } from '../../lib/transfer/source.ts'
import { type ArchiveFormat, writeArchive } from '../../lib/transfer/write.ts'
import { collect, streamOf } from '../../lib/driver-suite/streams.ts'
import { type TestImage, buildImage, sha256 } from '../helpers/image.ts'

let dir: string
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'write-'))
})
afterEach(() => {
  rmSync(dir, { recursive: true })
})

const base = [{ name: 'base', body: 'B'.repeat(100_000) }]
const digestName = `docker.io/library/a@${sha256('x')}`
const one = buildImage({ layers: [base, [{ name: 'one' }]] })
const two = buildImage({ layers: [base, [{ name: 'two' }], base], config: { variant: 'v1' } })

function exported(image: TestImage, names: string[] = []): ExportImage {
  return {
    id: image.id as Digest,
    configBytes: image.configBytes,
    config: parseConfig(image.configBytes),
    names,
    layers: image.layers.map(({ diffID, tar }) => ({
      diffID: diffID as DiffID,
      size: tar.length,
      open: () => streamOf(tar, 10_000),
    })),
  }
}

const images = [exported(one, ['docker.io/library/a:1', 'host:5000/a:2', digestName]), exported(two)]
const write = (list: readonly ExportImage[], format: ArchiveFormat): Promise<Buffer> =>
  collect(writeArchive(list, { format }))

interface Entry {
  readonly header: tarStream.Header
  readonly body: Buffer
}

/** The archive's members, as tar-stream reads them. */
async function entries(tar: Buffer): Promise<Map<string, Entry>> {
  const found = new Map<string, Entry>()
  const extract = tarStream.extract()
  Readable.from([tar]).pipe(extract)
  for await (const entry of extract) {
    const { header } = entry
    expect(found.has(header.name), `${header.name} twice`).toBe(false)
    found.set(header.name, { header, body: await collect(entry as AsyncIterable<Buffer>) })
  }
  return found
}

const json = (entry: Entry | undefined): unknown => JSON.parse(entry!.body.toString())

describe.each(['docker', 'oci'] as const)('writeArchive, %s', (format) => {
  it('is read again as the same images', async () => {
    writeFileSync(join(dir, 'a.tar'), await write(images, format))
    await using source = await openImageSource(join(dir, 'a.tar'), { spoolDir: dir })
    expect(source.images.map(({ names }) => names)).toEqual([['docker.io/library/a:1', 'host:5000/a:2'], []])
    for (const [i, image] of [one, two].entries()) {
      const read = source.images[i]!
      expect(read.configBytes.equals(image.configBytes)).toBe(true)
      const bodies = await Promise.all(read.layers.map((layer) => collect(layer.open())))
      expect(bodies.map(sha256)).toEqual(image.layers.map(({ diffID }) => diffID))
    }
  })

  it('is the same bytes each time, with no times and no owners in it', async () => {
    const tar = await write(images, format)
    expect((await write(images, format)).equals(tar)).toBe(true)
    for (const { header } of (await entries(tar)).values()) {
      expect(header).toMatchObject({ type: 'file', mode: 0o644, uid: 0, gid: 0, mtime: new Date(0) })
    }
  })

  it('holds each layer once, after the documents', async () => {
    const found = await entries(await write(images, format))
    const sizes = [...found.values()].map(({ header }) => header.size)
    const layer = one.layers[0]!.tar.length
    expect(sizes.filter((size) => size === layer)).toHaveLength(1)
    const documents = format === 'docker' ? 3 : 6
    expect(found.size).toBe(documents + 3)
    expect(sizes.indexOf(layer)).toBe(documents)
  })

  it('takes images with one id for one, with all their names', async () => {
    const tar = await write(
      [exported(one, ['docker.io/library/a:1']), exported(one, ['docker.io/library/b:1'])],
      format,
    )
    writeFileSync(join(dir, 'a.tar'), tar)
    await using source = await openImageSource(join(dir, 'a.tar'), { spoolDir: dir })
    expect(source.images.map(({ names }) => names)).toEqual([
      ['docker.io/library/a:1', 'docker.io/library/b:1'],
    ])
  })

  it.each([
    ['shorter', (tar: Buffer) => tar.subarray(1)],
    ['longer', (tar: Buffer) => Buffer.concat([tar, Buffer.alloc(1)])],
  ])('fails when a layer is %s than it should be', async (_what, change) => {
    const [image] = images
    const [layer] = image!.layers
    const broken = { ...image!, layers: [{ ...layer!, open: () => streamOf(change(one.layers[0]!.tar)) }] }
    await expect(write([broken], format)).rejects.toMatchObject({ code: 'ERR_SIZE_MISMATCH' })
  })

  it('opens no layer before it is written, and stops when its signal says so', async () => {
    let opened = 0
    const counted = images.map((image) => ({
      ...image,
      layers: image.layers.map((layer) => ({
        ...layer,
        open: () => {
          opened++
          return layer.open()
        },
      })),
    }))
    const controller = new AbortController()
    const writing = (async () => {
      for await (const _ of writeArchive(counted, { format, signal: controller.signal })) {
        controller.abort(new Error('enough'))
      }
    })()
    await expect(writing).rejects.toThrow('enough')
    expect(opened).toBeLessThanOrEqual(1)
  })
})

it('writes a docker archive as docker and skopeo know it', async () => {
  const found = await entries(await write(images, 'docker'))
  const hex = (digest: string): string => digest.slice(7)
  expect([...found.keys()][0]).toBe('manifest.json')
  expect(json(found.get('manifest.json'))).toEqual([
    {
      Config: `${hex(one.id)}.json`,
      RepoTags: ['a:1', 'host:5000/a:2'],
      Layers: one.layers.map(({ diffID }) => `${hex(diffID)}.tar`),
    },
    {
      Config: `${hex(two.id)}.json`,
      RepoTags: null,
      Layers: two.layers.map(({ diffID }) => `${hex(diffID)}.tar`),
    },
  ])
})

it('writes an OCI layout whose blobs are what they are called', async () => {
  const found = await entries(await write(images, 'oci'))
  for (const [path, { body }] of found) {
    if (path.startsWith('blobs/')) expect(path).toBe(`blobs/sha256/${digestOf(body).slice(7)}`)
  }
  expect(json(found.get('oci-layout'))).toEqual({ imageLayoutVersion: '1.0.0' })
  const { manifests } = json(found.get('index.json')) as { manifests: Record<string, unknown>[] }
  expect(manifests.map((entry) => entry['annotations'])).toEqual([
    { 'io.containerd.image.name': 'docker.io/library/a:1', 'org.opencontainers.image.ref.name': '1' },
    { 'io.containerd.image.name': 'host:5000/a:2', 'org.opencontainers.image.ref.name': '2' },
    undefined,
  ])
  expect(manifests[2]).toMatchObject({ platform: { os: 'linux', variant: 'v1' } })
})

describe('writeArchive, compressed', () => {
  const types = bestEngine() === 'native' ? (['gzip', 'zstd'] as const) : (['gzip'] as const)
  const pack = (list: readonly ExportImage[], type: 'gzip' | 'zstd'): Promise<Buffer> =>
    collect(writeArchive(list, { format: 'oci', compression: { type } }))

  it.each(types)('by %s is read again as the same images, and smaller', async (type) => {
    const tar = await pack(images, type)
    expect(tar.length).toBeLessThan((await write(images, 'oci')).length)
    expect((await pack(images, type)).equals(tar)).toBe(true)
    writeFileSync(join(dir, 'a.tar'), tar)
    await using source = await openImageSource(join(dir, 'a.tar'), { spoolDir: dir })
    for (const [i, image] of [one, two].entries()) {
      const layers = source.images[i]!.layers
      const bodies = await Promise.all(layers.map((layer) => collect(decompressed(layer.open(), 'x'))))
      expect(bodies.map(sha256)).toEqual(image.layers.map(({ diffID }) => diffID))
    }
  })

  it.each(types)('by %s names the blobs by what is in them, with their media type', async (type) => {
    const found = await entries(await pack([exported(one)], type))
    const index = json(found.get('index.json')) as { manifests: { digest: string }[] }
    const blob = (digest: string): Entry | undefined => found.get(`blobs/sha256/${digest.slice(7)}`)
    const manifest = json(blob(index.manifests[0]!.digest)) as {
      layers: { mediaType: string; digest: string; size: number }[]
    }
    for (const layer of manifest.layers) {
      expect(layer.mediaType).toBe(`application/vnd.oci.image.layer.v1.tar+${type}`)
      expect(blob(layer.digest)?.header.size).toBe(layer.size)
      expect(sha256(blob(layer.digest)!.body)).toBe(layer.digest)
    }
  })

  it('is refused for a docker-archive', async () => {
    const refused = collect(writeArchive(images, { format: 'docker', compression: { type: 'gzip' } }))
    await expect(refused).rejects.toMatchObject({ code: 'ERR_INVALID_ARGUMENT' })
  })

  it('leaves no descriptor behind, also when it is cut off', async () => {
    const before = readdirSync('/proc/self/fd').length
    for await (const _ of writeArchive(images, { format: 'oci', compression: { type: 'gzip' } })) break
    expect(readdirSync('/proc/self/fd').length).toBe(before)
  })
})
