import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import type { Store } from '../../lib/store/store.ts'
import { missing } from '../helpers/gates.ts'
import { collect } from '../../lib/driver-suite/streams.ts'
import { buildImage } from '../helpers/image.ts'
import { watchLeaks } from '../helpers/mounts.ts'
import {
  addDockerContainer,
  archiveOf,
  BASE_LAYER,
  CERT_LAYER,
  diffIDs,
  newStore,
  nginxImage,
  pythonImage,
  storeFolders,
} from '../helpers/store.ts'

watchLeaks(() => storeFolders)

async function bothLoaded(): Promise<Store> {
  const store = await newStore()
  await store.images.loadAll(archiveOf(nginxImage(), pythonImage()))
  return store
}

const names = async (store: Store) => (await store.images.list()).flatMap((image) => image.names).sort()
const layerFolders = (store: Store) =>
  readdirSync(join(store.root, 'overlay2')).filter((name) => name.length === 64).length

describe.skipIf(missing('canMount', 'hasBinding'))('images', () => {
  it('are listed newest first, with the bytes of all their layers', async () => {
    const store = await newStore()
    const old = nginxImage({ config: { created: '2020-01-01T00:00:00Z' } })
    await store.images.loadAll(archiveOf(old, pythonImage()))
    const list = await store.images.list()
    expect(list.map((image) => image.names)).toEqual([['python:3'], ['nginx:1']])
    const bytes = ['#!shell', 'ID=test\n', 'welcome\n', 'PEM', 'nginx', 'nginx here\n'].join('').length
    expect(list[1]).toEqual({
      id: old.id,
      names: ['nginx:1'],
      created: '2020-01-01T00:00:00Z',
      size: bytes,
      layers: diffIDs(old),
    })
  })

  it('are found by every kind of name', async () => {
    const store = await bothLoaded()
    const { id } = await store.images.get('nginx:1')
    for (const ref of ['docker.io/library/nginx:1', id, id.slice(7), id.slice(0, 20), id.slice(7, 15)]) {
      expect((await store.images.get(ref)).id, ref).toBe(id)
    }
  })

  it.each([
    ['nginx', 'ERR_IMAGE_NOT_FOUND'],
    ['nginx:2', 'ERR_IMAGE_NOT_FOUND'],
    [`sha256:${'0'.repeat(64)}`, 'ERR_IMAGE_NOT_FOUND'],
    ['sha256:', 'ERR_INVALID_REFERENCE'],
    ['Nginx:1', 'ERR_INVALID_REFERENCE'],
    ['', 'ERR_INVALID_REFERENCE'],
  ])('are not found by %j: %s', async (ref, code) => {
    const store = await bothLoaded()
    await expect(store.images.get(ref)).rejects.toMatchObject({ code })
  })

  it('with ids that begin alike are told apart by more digits', async () => {
    const store = await newStore()
    const many = Array.from({ length: 17 }, (_, i) =>
      buildImage({ layers: [BASE_LAYER], config: { author: String(i) } }),
    )
    await store.images.loadAll(archiveOf(...many))
    const digits = many.map(({ id }) => id.slice(7, 8))
    const twice = digits.find((digit, index) => digits.indexOf(digit) !== index) ?? ''
    await expect(store.images.get(`sha256:${twice}`)).rejects.toMatchObject({ code: 'ERR_AMBIGUOUS_ID' })
  })

  it('with a damaged config are left out of the list with a warning, and say so when asked for', async () => {
    const warnings: string[] = []
    const store = await newStore({ onWarning: (message) => warnings.push(message) })
    await store.images.loadAll(archiveOf(nginxImage(), pythonImage()))
    const { id } = await store.images.get('nginx:1')
    const path = join(store.root, 'image/overlay2/imagedb/content/sha256', id.slice(7))
    writeFileSync(path, readFileSync(path, 'utf8').replace('linux', 'Linux'))
    expect(await names(store)).toEqual(['python:3'])
    expect(warnings).toEqual([expect.stringContaining(id)])
    await expect(store.images.get('nginx:1')).rejects.toMatchObject({ code: 'ERR_DIGEST_MISMATCH' })
    // Its layers are not taken for unused: two are python's too, the third is on its own.
    await store.images.remove(['python:3'])
    expect(layerFolders(store)).toBe(3)
  })

  it('have a history, newest first', async () => {
    const store = await bothLoaded()
    expect(await store.images.history('nginx:1')).toEqual([
      { created: '2024-05-06T07:08:09Z', createdBy: 'step 2', size: 16, empty: false, comment: '' },
      { created: '2024-05-06T07:08:09Z', createdBy: 'step 1', size: 3, empty: false, comment: '' },
      { created: '2024-05-06T07:08:09Z', createdBy: 'step 0', size: 23, empty: false, comment: '' },
    ])
  })

  it('get further names by tag, and one is moved by it', async () => {
    const store = await bothLoaded()
    await store.images.tag('nginx:1', 'localhost:5000/web')
    expect(await names(store)).toEqual(['localhost:5000/web:latest', 'nginx:1', 'python:3'])
    await store.images.tag('python:3', 'nginx:1')
    expect((await store.images.get('nginx:1')).id).toBe((await store.images.get('python:3')).id)
    await expect(store.images.tag('nginx:1', `x@sha256:${'0'.repeat(64)}`)).rejects.toMatchObject({
      code: 'ERR_INVALID_REFERENCE',
    })
    await expect(store.images.tag('nobody', 'x')).rejects.toMatchObject({ code: 'ERR_IMAGE_NOT_FOUND' })
  })

  it('keep a name given by digest', async () => {
    const store = await newStore()
    const digest = `sha256:${'d'.repeat(64)}`
    await store.images.load(archiveOf(nginxImage({ names: [`nginx@${digest}`] })))
    expect((await store.images.get(`nginx@${digest}`)).names).toEqual([`nginx@${digest}`])
  })
})

describe.skipIf(missing('canMount', 'hasBinding'))('rmi', () => {
  it('by the last name removes the image, and the layers that no other has', async () => {
    const store = await bothLoaded()
    const { id, chainIDs } = await store.images.get('nginx:1')
    const report = await store.images.remove(['nginx:1'])
    expect(report).toEqual({ untagged: ['nginx:1'], deleted: [id, chainIDs[2]] })
    expect(layerFolders(store)).toBe(3)
    await store.images.remove(['python:3'])
    expect(layerFolders(store)).toBe(0)
    expect(readdirSync(join(store.root, 'overlay2/l'))).toEqual([])
    await store.close()
    expect(readdirSync(join(store.root, 'overlay2/trash'))).toEqual([])
  })

  it('by one of several names takes that name away', async () => {
    const store = await bothLoaded()
    await store.images.tag('nginx:1', 'web:1')
    expect(await store.images.remove(['nginx:1'])).toEqual({ untagged: ['nginx:1'], deleted: [] })
    expect(await names(store)).toEqual(['python:3', 'web:1'])
  })

  it('by id removes an image of one repository with its names, of several only by force', async () => {
    const store = await bothLoaded()
    const { id } = await store.images.get('nginx:1')
    await store.images.tag('nginx:1', 'web:1')
    await expect(store.images.remove([id])).rejects.toMatchObject({ code: 'ERR_IN_USE' })
    expect(await names(store)).toEqual(['nginx:1', 'python:3', 'web:1'])
    const report = await store.images.remove([id.slice(7, 19)], { force: true })
    expect(report.untagged).toEqual(['nginx:1', 'web:1'])
    expect(report.deleted).toContain(id)
    expect(await names(store)).toEqual(['python:3'])
  })

  it('takes the digests of a repository away with its last tag', async () => {
    const store = await newStore()
    const byDigest = `nginx@sha256:${'d'.repeat(64)}`
    await store.images.load(archiveOf(nginxImage({ names: ['nginx:1', byDigest] })))
    expect((await store.images.remove(['nginx:1'])).untagged).toEqual(['nginx:1', byDigest])
    expect(await store.images.list()).toEqual([])
  })

  it('refuses an image that a container was made from, mounted or not, and yields to force when not', async () => {
    const store = await bothLoaded()
    const { id, chainIDs } = await store.images.get('nginx:1')
    const container = await store.containers.create('nginx:1')
    await expect(store.images.remove(['nginx:1'])).rejects.toMatchObject({ code: 'ERR_IN_USE' })
    await expect(store.images.remove([id])).rejects.toMatchObject({ code: 'ERR_IN_USE' })
    {
      await using _mount = await container.mount()
      await expect(store.images.remove([id], { force: true })).rejects.toMatchObject({ code: 'ERR_IN_USE' })
    }
    expect(await store.images.remove([id], { force: true })).toEqual({ untagged: ['nginx:1'], deleted: [id] })
    expect((await store.layers.list()).map(({ chainID }) => chainID)).toEqual(
      expect.arrayContaining([...chainIDs]),
    )
  })

  it('counts the containers that dockerd made', async () => {
    const store = await bothLoaded()
    const image = await store.images.get('nginx:1')
    await addDockerContainer(store, image, 'theirs')
    await expect(store.images.remove(['nginx:1'])).rejects.toMatchObject({ code: 'ERR_IN_USE' })
    await store.images.remove(['nginx:1'], { force: true })
    expect(layerFolders(store)).toBe(5)
  })

  it('keeps the layers below an entry of layerdb/mounts that is nobody known', async () => {
    const store = await bothLoaded()
    const image = await store.images.get('nginx:1')
    await addDockerContainer(store, image, 'theirs', { foreign: true })
    expect((await store.images.remove(['nginx:1'])).deleted).toEqual([image.id])
    expect(await collect(store.layers.tar(image.chainIDs[2] ?? ''))).toEqual(nginxImage().layers[2]?.tar)
  })

  it('only takes the name of an image that another was committed from, and removes it with that one', async () => {
    const store = await newStore()
    const parent = await store.images.load(archiveOf(nginxImage()))
    const container = await store.containers.create('nginx:1')
    const child = await container.commit('child:1', { changes: ['USER nobody'] })
    await container.remove()
    expect(await store.images.remove(['nginx:1'])).toEqual({ untagged: ['nginx:1'], deleted: [] })
    await expect(store.images.remove([parent.id], { force: true })).rejects.toMatchObject({
      code: 'ERR_IN_USE',
    })
    const { deleted } = await store.images.remove(['child:1'])
    expect(deleted.slice(0, 2)).toEqual([child.id, parent.id])
    expect(await store.layers.list()).toEqual([])
  })

  it('does several, and keeps what it did when one fails', async () => {
    const store = await bothLoaded()
    await expect(store.images.remove(['nginx:1', 'nobody:1', 'python:3'])).rejects.toMatchObject({
      code: 'ERR_IMAGE_NOT_FOUND',
    })
    expect(await names(store)).toEqual(['python:3'])
  })

  it('keeps the layers that a save is reading', async () => {
    const store = await bothLoaded()
    const saving = store.images.save(['nginx:1'])[Symbol.asyncIterator]()
    const first = await saving.next()
    const { deleted } = await store.images.remove(['nginx:1'])
    expect(deleted).toHaveLength(1)
    const chunks = [first.value as Buffer]
    for (let next = await saving.next(); next.done !== true; next = await saving.next())
      chunks.push(next.value)
    const archive = Buffer.concat(chunks)
    const other = await newStore()
    const loaded = await other.images.load(
      (async function* () {
        yield await Promise.resolve(archive)
      })(),
    )
    expect(loaded.diffIDs).toEqual(diffIDs(nginxImage()))
  })
})

describe.skipIf(missing('canMount', 'hasBinding'))('layers', () => {
  it('are listed with what needs them', async () => {
    const store = await bothLoaded()
    const nginx = await store.images.get('nginx:1')
    await store.containers.create('nginx:1')
    const list = await store.layers.list()
    const counts = nginx.chainIDs.map((id) => list.find(({ chainID }) => chainID === id))
    expect(counts).toMatchObject([
      { images: 0, children: 1, containers: 0, size: 23 },
      { images: 0, children: 2, containers: 0, size: 3, parent: nginx.chainIDs[0] },
      { images: 1, children: 0, containers: 1, size: 16 },
    ])
    expect(await store.layers.get(nginx.chainIDs[1]?.slice(0, 30) ?? '')).toEqual(counts[1])
    await expect(store.layers.get(`sha256:${'0'.repeat(64)}`)).rejects.toMatchObject({
      code: 'ERR_LAYER_NOT_FOUND',
    })
  })

  it('that lost a file, or have another, are not given out as they were', async () => {
    const store = await newStore()
    const image = await store.images.load(
      archiveOf(buildImage({ layers: [BASE_LAYER, CERT_LAYER], names: ['a:1'] })),
    )
    const { cacheID, chainID } = await store.layers.get(image.chainIDs[1] ?? '')
    writeFileSync(join(store.root, 'overlay2', cacheID, 'diff/certs/ca.pem'), 'pem')
    await expect(collect(store.layers.tar(chainID))).rejects.toMatchObject({ code: 'ERR_DAMAGED' })
  })

  it('whose folder is lost come back by loading them again', async () => {
    const store = await newStore()
    const built = nginxImage()
    const image = await store.images.load(archiveOf(built))
    const { cacheID } = await store.layers.get(image.chainIDs[1] ?? '')
    await store.driver.remove(cacheID)
    expect((await store.images.loadAll(archiveOf(built))).layers).toEqual({ total: 3, added: 1, shared: 2 })
    expect((await store.layers.get(image.chainIDs[1] ?? '')).cacheID).toBe(cacheID)
    for (const [index, chainID] of image.chainIDs.entries()) {
      expect(await collect(store.layers.tar(chainID))).toEqual(built.layers[index]?.tar)
    }
  })
})
