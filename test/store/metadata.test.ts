import { mkdirSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { chainID } from '../../lib/oci/chain-id.ts'
import {
  type CacheID,
  type ChainID,
  type DiffID,
  digestOf,
  hexOf,
  type Digest,
} from '../../lib/oci/digest.ts'
import { parseReference } from '../../lib/oci/reference.ts'
import { setReference } from '../../lib/oci/repositories.ts'
import {
  deleteContainer,
  findMount,
  readContainerRecord,
  readMounts,
  writeContainer,
} from '../../lib/store/container-db.ts'
import {
  childImages,
  deleteImage,
  listImageIDs,
  readImage,
  readImages,
  readNote,
} from '../../lib/store/image-db.ts'
import { writeImage, writeNote } from '../../lib/store/image-db.ts'
import {
  buryLayer,
  findLayer,
  type LayerRecord,
  listTombstones,
  prepareRecord,
  publishRecord,
  readLayer,
  readLayers,
} from '../../lib/store/layer-db.ts'
import { storeFolders, type StorePaths, storePaths } from '../../lib/store/paths.ts'
import { fullNamesOf, readReferences, writeReferences } from '../../lib/store/references.ts'
import { tempDir } from '../helpers/temp-dir.ts'

function emptyRoot(): StorePaths {
  const dir = tempDir('metadata')
  onTestFinished(() => dir[Symbol.dispose]())
  const paths = storePaths(join(dir.path, 'root'), 'overlay2')
  for (const [path, mode] of storeFolders(paths)) mkdirSync(path, { mode })
  return paths
}

function mode(path: string): string {
  return (statSync(path).mode & 0o7777).toString(8)
}

const DIFF_A = `sha256:${'a'.repeat(64)}` as DiffID
const DIFF_B = `sha256:${'b'.repeat(64)}` as DiffID
const BASE: LayerRecord = {
  chainID: chainID(undefined, DIFF_A),
  diffID: DIFF_A,
  parent: undefined,
  cacheID: 'c'.repeat(64) as CacheID,
  size: 4096,
}
const CHILD: LayerRecord = {
  chainID: chainID(BASE.chainID, DIFF_B),
  diffID: DIFF_B,
  parent: BASE.chainID,
  cacheID: 'd'.repeat(64) as CacheID,
  size: 0,
}

async function addLayer(
  paths: StorePaths,
  record: LayerRecord,
  commit = () => Promise.resolve(),
): Promise<void> {
  const tarSplit = join(paths.root, 'tar-split')
  writeFileSync(tarSplit, 'split')
  const prepared = join(paths.root, `prepared-${hexOf(record.chainID)}`)
  await prepareRecord(prepared, record, tarSplit, 'full')
  await publishRecord(paths, record.chainID, prepared, commit, 'full')
}

describe('layerdb', () => {
  it("has moby's files, without newlines, in moby's modes", async () => {
    const paths = emptyRoot()
    await addLayer(paths, BASE)
    await addLayer(paths, CHILD)
    const dir = join(paths.layers, hexOf(CHILD.chainID))
    expect(readdirSync(dir).sort()).toEqual(['cache-id', 'diff', 'parent', 'size', 'tar-split.json.gz'])
    const text = (name: string) => readFileSync(join(dir, name), 'utf8')
    expect(text('diff')).toBe(DIFF_B)
    expect(text('size')).toBe('0')
    expect(text('cache-id')).toBe('d'.repeat(64))
    expect(text('parent')).toBe(BASE.chainID)
    expect(mode(dir)).toBe('700')
    expect(readdirSync(dir).map((name) => mode(join(dir, name)))).toEqual(Array(5).fill('644'))
    expect(readdirSync(join(paths.layers, hexOf(BASE.chainID)))).not.toContain('parent')
    expect(readdirSync(paths.layerTmp)).toEqual([])
  })

  it('reads back what it wrote', async () => {
    const paths = emptyRoot()
    await addLayer(paths, BASE)
    await addLayer(paths, CHILD)
    expect(await readLayer(paths, BASE.chainID)).toEqual(BASE)
    expect([...(await readLayers(paths)).values()]).toEqual(expect.arrayContaining([BASE, CHILD]))
    expect(await findLayer(paths, `sha256:${'0'.repeat(64)}` as ChainID)).toBeUndefined()
    await expect(readLayer(paths, `sha256:${'0'.repeat(64)}` as ChainID)).rejects.toMatchObject({
      code: 'ERR_LAYER_NOT_FOUND',
    })
  })

  it('shows nothing of a layer whose folder could not be committed', async () => {
    const paths = emptyRoot()
    const failing = addLayer(paths, BASE, () => Promise.reject(new Error('disk full')))
    await expect(failing).rejects.toThrow('disk full')
    expect(readdirSync(paths.layers)).toEqual([])
    expect(readdirSync(paths.layerTmp)).toEqual([])
  })

  it('buries a layer as moby does, and lists the tombstone', async () => {
    const paths = emptyRoot()
    await addLayer(paths, BASE)
    const tombstone = await buryLayer(paths, BASE.chainID)
    expect(tombstone).toMatch(/\/a{64}-[0-9a-f]{64}-removing$/)
    expect(await listTombstones(paths)).toEqual([tombstone])
    expect((await readLayers(paths)).size).toBe(0)
    expect(readFileSync(join(tombstone, 'cache-id'), 'utf8')).toBe(BASE.cacheID)
  })

  it.each([
    ['size', '12\n', 'a newline that moby would not parse'],
    ['size', 'many', 'no number'],
    ['diff', 'sha256:short', 'no digest'],
    ['cache-id', '../../etc', 'a path'],
    ['parent', 'sha512:00', 'no sha256'],
  ])('calls it damage when %s is %j: %s', async (name, text) => {
    const paths = emptyRoot()
    await addLayer(paths, CHILD)
    writeFileSync(join(paths.layers, hexOf(CHILD.chainID), name), text)
    await expect(readLayer(paths, CHILD.chainID)).rejects.toMatchObject({ code: 'ERR_DAMAGED' })
    const damaged: ChainID[] = []
    expect((await readLayers(paths, (id) => damaged.push(id))).size).toBe(0)
    expect(damaged).toEqual([CHILD.chainID])
  })

  it.each(['diff', 'size', 'cache-id'])('calls it damage when %s is missing', async (name) => {
    const paths = emptyRoot()
    await addLayer(paths, CHILD)
    rmSync(join(paths.layers, hexOf(CHILD.chainID), name))
    await expect(readLayer(paths, CHILD.chainID)).rejects.toMatchObject({ code: 'ERR_DAMAGED' })
  })

  it('takes white space around ids, as moby does', async () => {
    const paths = emptyRoot()
    await addLayer(paths, CHILD)
    const dir = join(paths.layers, hexOf(CHILD.chainID))
    writeFileSync(join(dir, 'parent'), `${BASE.chainID}\n`)
    writeFileSync(join(dir, 'cache-id'), `${CHILD.cacheID} \n`)
    expect(await readLayer(paths, CHILD.chainID)).toEqual(CHILD)
  })
})

const CONFIG = Buffer.from(
  JSON.stringify({ architecture: 'amd64', os: 'linux', rootfs: { type: 'layers', diff_ids: [DIFF_A] } }),
)

describe('imagedb', () => {
  it('keeps a config byte for byte, under its digest, private', async () => {
    const paths = emptyRoot()
    const id = await writeImage(paths, CONFIG, 'full')
    expect(id).toBe(digestOf(CONFIG))
    const path = join(paths.imageContent, hexOf(id))
    expect(readFileSync(path)).toEqual(CONFIG)
    expect(mode(path)).toBe('600')
    const image = await readImage(paths, id)
    expect(image.configBytes).toEqual(CONFIG)
    expect(image.config.rootfs.diff_ids).toEqual([DIFF_A])
  })

  it('verifies the bytes at every read', async () => {
    const paths = emptyRoot()
    const id = await writeImage(paths, CONFIG, 'full')
    writeFileSync(join(paths.imageContent, hexOf(id)), CONFIG.toString().replace('linux', 'linuz'))
    await expect(readImage(paths, id)).rejects.toMatchObject({ code: 'ERR_DIGEST_MISMATCH' })
    const damaged: Digest[] = []
    expect(await readImages(paths, (found) => damaged.push(found))).toEqual([])
    expect(damaged).toEqual([id])
  })

  it('notes parents, and forgets an image with its notes', async () => {
    const paths = emptyRoot()
    const id = await writeImage(paths, CONFIG, 'full')
    const parent = `sha256:${'e'.repeat(64)}` as Digest
    await writeNote(paths, id, 'parent', parent, 'full')
    expect(await readNote(paths, id, 'parent')).toBe(parent)
    expect(await readNote(paths, id, 'lastUpdated')).toBeUndefined()
    expect(await childImages(paths, parent)).toEqual([id])
    await deleteImage(paths, id, 'full')
    expect(await listImageIDs(paths)).toEqual([])
    expect(readdirSync(paths.imageMetadata)).toEqual([])
    await expect(readImage(paths, id)).rejects.toMatchObject({ code: 'ERR_IMAGE_NOT_FOUND' })
  })
})

describe('repositories.json', () => {
  it("is written in moby's form, and read back", async () => {
    const paths = emptyRoot()
    expect(await readReferences(paths)).toEqual(new Map())
    const repositories = await readReferences(paths)
    const id = `sha256:${'1'.repeat(64)}` as Digest
    setReference(repositories, parseReference('me/tool:2'), id)
    setReference(repositories, parseReference('alpine'), id)
    await writeReferences(paths, repositories, 'full')
    expect(readFileSync(paths.repositories, 'utf8')).toBe(
      `{"Repositories":{"alpine":{"alpine:latest":"${id}"},"me/tool":{"me/tool:2":"${id}"}}}`,
    )
    expect(mode(paths.repositories)).toBe('600')
    const read = await readReferences(paths)
    expect(fullNamesOf(read, id)).toEqual(['docker.io/library/alpine:latest', 'docker.io/me/tool:2'])
  })

  it('is damage when it does not parse', async () => {
    const paths = emptyRoot()
    writeFileSync(paths.repositories, '{"Repositories":')
    await expect(readReferences(paths)).rejects.toMatchObject({ code: 'ERR_DAMAGED' })
  })
})

const ID = '9'.repeat(64)
const RECORD = {
  version: 1,
  id: ID,
  name: 'web',
  image: `sha256:${'2'.repeat(64)}` as Digest,
  imageName: 'nginx:1',
  created: '2026-01-02T03:04:05Z',
  config: CONFIG.toString(),
} as const
const MOUNT = { name: ID, mountID: '8'.repeat(64), initID: `${'8'.repeat(64)}-init`, parent: CHILD.chainID }

describe('containers', () => {
  it("are an entry of moby's and a record of ours", async () => {
    const paths = emptyRoot()
    await writeContainer(paths, RECORD, MOUNT, 'full')
    const dir = join(paths.mounts, ID)
    expect(readdirSync(dir).sort()).toEqual(['init-id', 'mount-id', 'parent'])
    expect(readFileSync(join(dir, 'mount-id'), 'utf8')).toBe(MOUNT.mountID)
    expect(readFileSync(join(dir, 'init-id'), 'utf8')).toBe(MOUNT.initID)
    expect(readFileSync(join(dir, 'parent'), 'utf8')).toBe(CHILD.chainID)
    expect(mode(dir)).toBe('755')
    expect(mode(join(dir, 'mount-id'))).toBe('644')
    expect(mode(join(paths.containers, `${ID}.json`))).toBe('600')
    expect(await findMount(paths, ID)).toEqual(MOUNT)
    expect(await readContainerRecord(paths, ID)).toEqual(RECORD)
  })

  it('are gone, entry and record, when deleted', async () => {
    const paths = emptyRoot()
    await writeContainer(paths, RECORD, MOUNT, 'none')
    await deleteContainer(paths, ID, 'none')
    expect(await findMount(paths, ID)).toBeUndefined()
    expect(await readContainerRecord(paths, ID)).toBeUndefined()
    expect(readdirSync(paths.layerTmp)).toEqual([])
  })

  it('leave no record when the entry cannot be made', async () => {
    const paths = emptyRoot()
    rmSync(paths.mounts, { recursive: true })
    await expect(writeContainer(paths, RECORD, MOUNT, 'none')).rejects.toMatchObject({ code: 'ENOENT' })
    expect(readdirSync(paths.containers)).toEqual([])
    expect(readdirSync(paths.layerTmp)).toEqual([])
  })

  it('of others are read too, and a damaged mount-id is none', async () => {
    const paths = emptyRoot()
    mkdirSync(join(paths.mounts, 'someone'))
    writeFileSync(join(paths.mounts, 'someone/mount-id'), '../../../etc')
    writeFileSync(join(paths.mounts, 'someone/parent'), `${BASE.chainID}\n`)
    expect(await readMounts(paths)).toEqual(
      new Map([
        ['someone', { name: 'someone', mountID: undefined, initID: undefined, parent: BASE.chainID }],
      ]),
    )
  })

  it('with a record that was cut off are damage', async () => {
    const paths = emptyRoot()
    writeFileSync(join(paths.containers, `${ID}.json`), '{"version":1,')
    await expect(readContainerRecord(paths, ID)).rejects.toMatchObject({ code: 'ERR_DAMAGED' })
  })
})
