import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { chainIDs } from '../../lib/oci/chain-id.ts'
import type { Progress } from '../../lib/store/progress.ts'
import type { Store } from '../../lib/store/store.ts'
import type { ImageSource } from '../../lib/transfer/source.ts'
import { startChild } from '../helpers/child.ts'
import { missing } from '../helpers/gates.ts'
import { collect, streamOf } from '../../lib/driver-suite/streams.ts'
import { buildImage, sha256, type TestImage } from '../helpers/image.ts'
import { watchLeaks } from '../helpers/mounts.ts'
import {
  archiveOf,
  BASE_LAYER,
  CERT_LAYER,
  diffIDs,
  members,
  newRoot,
  newStore,
  nginxImage,
  openStore,
  pythonImage,
  storeFolders,
} from '../helpers/store.ts'
import { parseConfig } from '../../lib/oci/config.ts'

watchLeaks(() => storeFolders)

/** The images as a source of their own, whose blobs a test can spoil or watch. */
function sourceOf(
  images: readonly TestImage[],
  open = (image: TestImage, index: number): AsyncIterable<Buffer> =>
    streamOf(image.layers[index]?.tar ?? Buffer.alloc(0)),
): ImageSource {
  return {
    images: images.map((image) => ({
      names: image.names.map((name) => `docker.io/library/${name}`),
      configBytes: image.configBytes,
      config: parseConfig(image.configBytes),
      layers: diffIDs(image).map((diffID, index) => ({ diffID, open: () => open(image, index) })),
    })),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  }
}

async function layerCount(store: Store): Promise<number> {
  return (await store.layers.list()).length
}

/** Everything in the root that a failed load must leave as it was, contents included. */
function snapshot(root: string): Record<string, string> {
  const found: Record<string, string> = {}
  for (const entry of readdirSync(root, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name)
    if (entry.isFile()) found[path] = readFileSync(path, 'latin1')
    else found[path] = entry.isDirectory() ? 'folder' : 'other'
  }
  return found
}

describe.skipIf(missing('canMount', 'hasBinding'))('load', () => {
  it('makes the root, with the modes that dockerd gives it', async () => {
    const root = newRoot()
    await using store = await openStore(root)
    await store.images.load(archiveOf(nginxImage()))
    const mode = (path: string) => (statSync(join(root, path)).mode & 0o777).toString(8)
    expect(mode('.')).toBe('710')
    expect(mode('overlay2')).toBe('710')
    expect(mode('image')).toBe('700')
    expect(mode('image/overlay2/imagedb/content/sha256')).toBe('700')
    expect(mode('overlaid')).toBe('700')
    expect(readFileSync(join(root, 'overlaid/version'), 'utf8')).toBe('1\n')
    expect(readdirSync(join(root, 'overlay2/staging'))).toEqual([])
    expect(readdirSync(join(root, 'overlaid/leases'))).toEqual([])
  })

  it('gives the image with its names, config bytes and layers', async () => {
    const store = await newStore()
    const built = nginxImage()
    const image = await store.images.load(archiveOf(built))
    expect(image.id).toBe(built.id)
    expect(image.names).toEqual(['nginx:1'])
    expect(image.configBytes).toEqual(built.configBytes)
    expect(image.diffIDs).toEqual(diffIDs(built))
    expect(image.chainIDs).toEqual(chainIDs(diffIDs(built)))
  })

  it('keeps layers that images share once', async () => {
    const store = await newStore()
    const report = await store.images.loadAll(archiveOf(nginxImage(), pythonImage()))
    expect(report.images.map(({ names }) => names)).toEqual([['nginx:1'], ['python:3']])
    expect(report.layers).toEqual({ total: 4, added: 4, shared: 2 })
    expect(readdirSync(join(store.root, 'overlay2')).filter((name) => name.length === 64)).toHaveLength(4)
  })

  it('unpacks nothing that is there already', async () => {
    const store = await newStore()
    await store.images.load(archiveOf(nginxImage()))
    const opened: number[] = []
    const source = sourceOf([pythonImage()], (image, index) => {
      opened.push(index)
      return streamOf(image.layers[index]?.tar ?? Buffer.alloc(0))
    })
    const report = await store.images.loadAll(source)
    expect(opened).toEqual([2])
    expect(report.layers).toEqual({ total: 3, added: 1, shared: 2 })
    const again = await store.images.loadAll(archiveOf(pythonImage()))
    expect(again.layers).toEqual({ total: 3, added: 0, shared: 3 })
  })

  it('makes two layers of one diff at two places in a chain', async () => {
    const store = await newStore()
    const image = buildImage({ layers: [BASE_LAYER, CERT_LAYER, BASE_LAYER], names: ['twice:1'] })
    const report = await store.images.loadAll(archiveOf(image))
    expect(report.layers).toEqual({ total: 3, added: 3, shared: 0 })
    const layers = await store.layers.list()
    expect(new Set(layers.map(({ diffID }) => diffID)).size).toBe(2)
    expect(new Set(layers.map(({ cacheID }) => cacheID)).size).toBe(3)
  })

  it('writes each layer out again byte for byte', async () => {
    const store = await newStore()
    const built = nginxImage()
    const image = await store.images.load(archiveOf(built))
    for (const [index, chainID] of image.chainIDs.entries()) {
      expect(await collect(store.layers.tar(chainID))).toEqual(built.layers[index]?.tar)
    }
  })

  it('moves a name to the new image, and leaves the old one without', async () => {
    const store = await newStore()
    const old = await store.images.load(archiveOf(nginxImage()))
    const newer = await store.images.load(archiveOf(pythonImage({ names: ['nginx:1'] })))
    expect((await store.images.get('nginx:1')).id).toBe(newer.id)
    expect((await store.images.get(old.id)).names).toEqual([])
  })

  it('tells of each layer as it goes', async () => {
    const store = await newStore()
    await store.images.load(archiveOf(nginxImage()))
    const events: Progress[] = []
    await store.images.load(archiveOf(pythonImage()), { onProgress: (event) => events.push(event) })
    const [base, certs, python] = diffIDs(pythonImage())
    const states = (id: string | undefined) => [
      ...new Set(events.filter((e) => e.id === id).map((e) => e.state)),
    ]
    expect(states(base)).toEqual(['exists'])
    expect(states(certs)).toEqual(['exists'])
    expect(states(python)).toEqual(['waiting', 'unpacking', 'done'])
    const last = events.findLast(({ state }) => state === 'unpacking')
    expect(last?.done).toBe(pythonImage().layers[2]?.tar.length)
  })

  it('loads an image without layers', async () => {
    const store = await newStore()
    const image = await store.images.load(archiveOf(buildImage({ layers: [], names: ['scratch:1'] })))
    expect(image.diffIDs).toEqual([])
    expect(await store.images.list()).toMatchObject([{ names: ['scratch:1'], size: 0, layers: [] }])
  })

  it('takes layers one at a time when asked to', async () => {
    const store = await newStore()
    let open = 0
    let most = 0
    async function* watched(image: TestImage, index: number): AsyncGenerator<Buffer> {
      most = Math.max(most, ++open)
      yield* streamOf(image.layers[index]?.tar ?? Buffer.alloc(0), 512)
      open--
    }
    await store.images.loadAll(sourceOf([nginxImage()], watched), { concurrency: 1 })
    expect(most).toBe(1)
  })
})

describe.skipIf(missing('canMount', 'hasBinding'))('a load that fails', () => {
  const spoiled = (bytes: Buffer) => Buffer.concat([bytes, Buffer.alloc(512)])

  it('leaves the store as it was, when the last layer has another digest', async () => {
    const store = await newStore()
    await store.images.load(archiveOf(nginxImage()))
    const before = snapshot(store.root)
    const other = buildImage({ layers: [members({ new: 'x' }), CERT_LAYER, BASE_LAYER], names: ['nginx:1'] })
    const source = sourceOf([other], (image, index) => {
      const tar = image.layers[index]?.tar ?? Buffer.alloc(0)
      return streamOf(index === 2 ? spoiled(tar) : tar)
    })
    await expect(store.images.loadAll(source)).rejects.toMatchObject({ code: 'ERR_DIGEST_MISMATCH' })
    expect(snapshot(store.root)).toEqual(before)
  })

  it('leaves nothing of the first image, when the second is wrong', async () => {
    const store = await newStore()
    const source = sourceOf([nginxImage(), pythonImage()], (image, index) => {
      const tar = image.layers[index]?.tar ?? Buffer.alloc(0)
      return streamOf(image.names[0] === 'python:3' && index === 2 ? spoiled(tar) : tar)
    })
    await expect(store.images.loadAll(source)).rejects.toMatchObject({ code: 'ERR_DIGEST_MISMATCH' })
    expect(await store.images.list()).toEqual([])
    expect(await layerCount(store)).toBe(0)
    expect(readdirSync(join(store.root, 'overlay2')).sort()).toEqual(['l', 'staging', 'trash'])
    expect(readdirSync(join(store.root, 'overlay2/l'))).toEqual([])
  })

  it('reports the first error, not the aborts that it led to', async () => {
    const store = await newStore()
    const broken = new Error('the disk with the archive is gone')
    const source = sourceOf([nginxImage()], (image, index) => {
      if (index === 1) throw broken
      return streamOf(image.layers[index]?.tar ?? Buffer.alloc(0))
    })
    await expect(store.images.loadAll(source)).rejects.toBe(broken)
    expect(await layerCount(store)).toBe(0)
  })

  it('can be aborted while layers unpack, with nothing left', async () => {
    const store = await newStore()
    const abort = new AbortController()
    const reason = new Error('enough')
    async function* slow(image: TestImage, index: number): AsyncGenerator<Buffer> {
      const tar = image.layers[index]?.tar ?? Buffer.alloc(0)
      yield tar.subarray(0, 512)
      if (index === 2) abort.abort(reason)
      yield tar.subarray(512)
    }
    const loading = store.images.loadAll(sourceOf([nginxImage()], slow), {
      signal: abort.signal,
      concurrency: 3,
    })
    await expect(loading).rejects.toBe(reason)
    expect(await layerCount(store)).toBe(0)
    expect(readdirSync(join(store.root, 'overlay2')).sort()).toEqual(['l', 'staging', 'trash'])
    expect(readdirSync(join(store.root, 'overlaid/leases'))).toEqual([])
  })

  it('loses nothing that another load has made meanwhile', async () => {
    const store = await newStore()
    let release!: () => void
    const released = new Promise<void>((resolve) => (release = resolve))
    async function* failing(image: TestImage, index: number): AsyncGenerator<Buffer> {
      const tar = image.layers[index]?.tar ?? Buffer.alloc(0)
      if (index < 2) return yield* streamOf(tar)
      await released
      yield spoiled(tar)
    }
    const first = store.images.loadAll(sourceOf([nginxImage()], failing))
    const failed = expect(first).rejects.toMatchObject({ code: 'ERR_DIGEST_MISMATCH' })
    const second = await store.images.load(archiveOf(pythonImage()))
    release()
    await failed
    expect((await store.images.list()).map(({ id }) => id)).toEqual([second.id])
    expect(await layerCount(store)).toBe(3)
    for (const chainID of second.chainIDs) await collect(store.layers.tar(chainID))
  })
})

describe.skipIf(missing('canMount', 'hasBinding'))('two processes', () => {
  const loader = `
    const store = await Store.open(root, { durability: 'none' })
    await say('ready')
    await told()
    await say(await store.images.loadAll(archive))
    await store.close()
  `

  it('load one image at the same time, and both have it', async () => {
    const root = newRoot()
    const store = await openStore(root)
    const built = nginxImage()
    const archive = join(root, '../image.tar')
    writeFileSync(archive, await collect(archiveOf(built)))
    await using one = startChild(loader, { root, archive })
    await using two = startChild(loader, { root, archive })
    await Promise.all([one.heard(), two.heard()])
    one.tell()
    two.tell()
    const reports = (await Promise.all([one.heard(), two.heard()])) as {
      images: { id: string }[]
      layers: { added: number }
    }[]
    expect(reports.map(({ images }) => images[0]?.id)).toEqual([built.id, built.id])
    expect(reports.reduce((sum, { layers }) => sum + layers.added, 0)).toBe(3)
    expect(await layerCount(store)).toBe(3)
    expect(readdirSync(join(root, 'overlay2')).filter((name) => name.length === 64)).toHaveLength(3)
    const image = await store.images.get('nginx:1')
    for (const [index, chainID] of image.chainIDs.entries()) {
      expect(sha256(await collect(store.layers.tar(chainID)))).toBe(built.layers[index]?.diffID)
    }
  })
})
