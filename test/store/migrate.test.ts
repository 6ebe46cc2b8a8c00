/** Images that other drivers of Docker's left, taken over. */
import { mkdirSync, readdirSync, renameSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { collect } from '../../lib/driver-suite/streams.ts'
import { Store } from '../../lib/store/store.ts'
import { startChild } from '../helpers/child.ts'
import { closedBecause, missing } from '../helpers/gates.ts'
import { buildImage } from '../helpers/image.ts'
import { loopFileSystem } from '../helpers/loopfs.ts'
import { watchLeaks } from '../helpers/mounts.ts'
import { type OldDriver, writeOldRoot } from '../helpers/old-root.ts'
import { MIB } from '../helpers/sizes.ts'
import {
  archiveOf,
  members,
  newRoot,
  newStore,
  nginxImage,
  openStore,
  pythonImage,
  storeFolders,
} from '../helpers/store.ts'
import { dumpTree } from '../../lib/driver-suite/tree.ts'

watchLeaks(() => storeFolders)

const DRIVERS: readonly OldDriver[] = ['aufs', 'overlay', 'vfs', 'fuse-overlayfs']
const TAR_SPLIT = 'tar-split.json.gz'

async function oldRoot(driver: OldDriver): Promise<{ root: string; original: Store }> {
  const original = await newStore()
  await original.images.loadAll(archiveOf(nginxImage(), pythonImage()))
  const root = newRoot()
  await writeOldRoot(original, root, driver)
  return { root, original }
}

/** Ids, names and layers of all images. */
async function imagesOf(store: Store): Promise<unknown> {
  return store.images.list()
}

async function treeOf(store: Store, ref: string): Promise<string[]> {
  await using root = await store.images.mount(ref)
  return await dumpTree(root.path ?? '')
}

/** No image, no layer, nothing half. */
async function expectNothing(store: Store): Promise<void> {
  expect(await store.images.list()).toEqual([])
  expect(await store.layers.list()).toEqual([])
  expect(await store.check({ deep: true })).toEqual({ ok: true, problems: [] })
}

function dropRecords(root: string, driver: OldDriver): void {
  const layers = join(root, 'image', driver, 'layerdb/sha256')
  for (const name of readdirSync(layers)) rmSync(join(layers, name, TAR_SPLIT))
}

describe.skipIf(missing('canMount', 'hasBinding'))('migrate', () => {
  it.each(DRIVERS)('takes over the images of %s: same ids, names, diffIDs and files', async (driver) => {
    const { root, original } = await oldRoot(driver)
    const store = await newStore()
    const report = await store.images.migrate(root, { from: driver })
    expect(report.images.map(({ id, was }) => id === was)).toEqual([true, true])
    expect(report.layers).toEqual({ total: 4, added: 4, shared: 2 })
    expect(await imagesOf(store)).toEqual(await imagesOf(original))
    for (const ref of ['nginx:1', 'python:3']) {
      expect(await treeOf(store, ref)).toEqual(await treeOf(original, ref))
    }
    expect((await store.check({ deep: true })).problems).toEqual([])
  })

  /** Folders that an archive only implies have the time at which the old root was written. */
  const withoutFolderTimes = (lines: readonly string[]): string[] =>
    lines.map((line) => line.replace(/^(\S+ dir \d+ \d+:\d+) .*/, '$1'))

  it.each(DRIVERS)('makes layers of %s anew that have lost their record', async (driver) => {
    const { root, original } = await oldRoot(driver)
    dropRecords(root, driver)
    const store = await newStore()
    const report = await store.images.migrate(root, { from: driver })
    expect(report.images.map(({ names }) => names).sort()).toEqual([['nginx:1'], ['python:3']])
    for (const ref of ['nginx:1', 'python:3']) {
      const [tree, expected] = [await treeOf(store, ref), await treeOf(original, ref)]
      expect(withoutFolderTimes(tree)).toEqual(withoutFolderTimes(expected))
      const [was, now] = [await original.images.get(ref), await store.images.get(ref)]
      expect({ ...now.config, rootfs: undefined }).toEqual({ ...was.config, rootfs: undefined })
      expect(report.images.find(({ names }) => names.includes(ref))).toMatchObject({
        was: was.id,
        id: now.id,
      })
    }
    expect((await store.check({ deep: true })).problems).toEqual([])
  })

  it('finds the driver by what is there', async () => {
    const { root } = await oldRoot('aufs')
    const store = await newStore()
    expect((await store.images.migrate(root)).images).toHaveLength(2)
    await expect(store.images.migrate(newRoot())).rejects.toMatchObject({ code: 'ERR_INVALID_ARGUMENT' })
  })

  it('works inside one root, whose old part stays as it is', async () => {
    const { root } = await oldRoot('vfs')
    const before = await dumpTree(join(root, 'vfs'))
    const store = await openStore(root, { driver: 'overlay2' })
    await store.images.migrate(root, { from: 'vfs' })
    expect(await dumpTree(join(root, 'vfs'))).toEqual(before)
    expect(await collect(store.images.save(['nginx:1']))).not.toHaveLength(0)
  })

  it('changes nothing when a file of a layer is not what its record says', async () => {
    const { root } = await oldRoot('vfs')
    const home = join(root, 'vfs/dir')
    const damaged = readdirSync(home).find((id) => readdirSync(join(home, id)).includes('usr')) ?? ''
    writeFileSync(join(home, damaged, 'usr/python'), 'PYTHON')
    const store = await newStore()
    await expect(store.images.migrate(root)).rejects.toMatchObject({ code: 'ERR_DAMAGED' })
    await expectNothing(store)
  })

  it('changes nothing when the folder of a layer is missing, and says which', async () => {
    const { root } = await oldRoot('vfs')
    const home = join(root, 'vfs/dir')
    const lost = readdirSync(home).find((id) => readdirSync(join(home, id)).includes('usr')) ?? ''
    rmSync(join(home, lost), { recursive: true })
    const store = await newStore()
    await expect(store.images.migrate(root)).rejects.toMatchObject({
      code: 'ERR_DAMAGED',
      path: join(home, lost),
    })
    await expectNothing(store)
  })

  it('changes nothing when the record of a layer is cut off', async () => {
    const { root } = await oldRoot('vfs')
    const layers = join(root, 'image/vfs/layerdb/sha256')
    const record = join(layers, readdirSync(layers)[0] ?? '', TAR_SPLIT)
    truncateSync(record, statSync(record).size >> 1)
    const store = await newStore()
    await expect(store.images.migrate(root)).rejects.toMatchObject({ code: 'ERR_DAMAGED' })
    await expectNothing(store)
  })

  it('does nothing the second time', async () => {
    const { root } = await oldRoot('vfs')
    const store = await newStore()
    const first = await store.images.migrate(root)
    const before = await dumpTree(store.driver.home)
    const second = await store.images.migrate(root)
    expect(second).toEqual({ images: first.images, layers: { total: 4, added: 0, shared: 4 } })
    expect(await dumpTree(store.driver.home)).toEqual(before)
  })

  it('takes back what it did when it is cancelled, and can be begun again', async () => {
    const { root, original } = await oldRoot('vfs')
    const store = await newStore()
    const controller = new AbortController()
    let done = 0
    const onProgress = ({ state }: { state: string }): void => {
      if (state === 'done' && ++done === 2) controller.abort()
    }
    const cancelled = store.images.migrate(root, { signal: controller.signal, onProgress })
    await expect(cancelled).rejects.toMatchObject({ name: 'AbortError' })
    await expectNothing(store)
    await store.images.migrate(root)
    expect(await imagesOf(store)).toEqual(await imagesOf(original))
  })

  it.each(['layer.unpack.done', 'layer.commit.before-record', 'driver.commit.before-rename'])(
    'that is killed at %s leaves what gc removes or the next one uses',
    async (point) => {
      const { root, original } = await oldRoot('vfs')
      const target = newRoot()
      const code = 'const store = await Store.open(target); await store.images.migrate(root)'
      await using child = startChild(code, { root, target }, { OVERLAID_FAILPOINT: `${point}=kill` })
      expect(await child.ended()).toBe('SIGKILL')
      const store = await openStore(target)
      expect(await store.images.list()).toEqual([])
      const { problems } = await store.check()
      expect(problems.filter(({ severity }) => severity === 'damage')).toEqual([])
      await store.images.migrate(root)
      expect(await imagesOf(store)).toEqual(await imagesOf(original))
      await store.gc()
      expect(await store.check({ deep: true })).toEqual({ ok: true, problems: [] })
    },
  )

  it.skipIf(missing('canLoop'))('changes nothing where there is not enough space', async () => {
    const original = await newStore()
    const big = [{ name: 'big', body: 'x'.repeat(3 * MIB) }]
    const image = buildImage({ layers: [members({ small: 'first' }), big], names: ['big:1'] })
    await original.images.load(archiveOf(image))
    const root = newRoot()
    await writeOldRoot(original, root, 'vfs')
    const disk = loopFileSystem('tmpfs', 2 * MIB)
    try {
      await using store = await Store.open(join(disk.dir, 'root'), { durability: 'none' })
      await expect(store.images.migrate(root)).rejects.toMatchObject({ code: 'ENOSPC' })
      await expectNothing(store)
      disk.remount(`size=${String(16 * MIB)}`)
      expect((await store.images.migrate(root)).layers).toEqual({ total: 2, added: 2, shared: 0 })
      expect(await store.check({ deep: true })).toEqual({ ok: true, problems: [] })
      await store.close()
    } finally {
      disk.dispose()
    }
  })

  it.each([
    ['overlay2', 'ERR_INVALID_ARGUMENT'],
    ['nonesuch', 'ERR_INVALID_ARGUMENT'],
  ])('does not read %s', async (from, code) => {
    const store = await newStore()
    await expect(store.images.migrate(newRoot(), { from })).rejects.toMatchObject({ code })
  })
  /** With the images of another driver's, which are looked for first. */
  async function devicemapperRoot(): Promise<string> {
    const { root } = await oldRoot('vfs')
    renameSync(join(root, 'image/vfs'), join(root, 'image/devicemapper'))
    mkdirSync(join(root, 'devicemapper/devicemapper'), { recursive: true })
    return root
  }

  it('says that a pool of LVM’s is none of devicemapper’s it reads', async () => {
    const store = await newStore()
    await expect(store.images.migrate(await devicemapperRoot())).rejects.toMatchObject({
      code: 'ERR_INVALID_ARGUMENT',
      message: expect.stringContaining('direct-lvm') as string,
      hint: expect.stringContaining('`docker save`') as string,
    })
  })

  // Where it has: test/thin.
  it.runIf(closedBecause('hasThinPools'))('says what a kernel without thin pools lacks', async () => {
    const root = await devicemapperRoot()
    for (const name of ['data', 'metadata']) writeFileSync(join(root, 'devicemapper/devicemapper', name), '')
    const store = await newStore()
    await expect(store.images.migrate(root)).rejects.toMatchObject({
      code: 'ERR_UNSUPPORTED_KERNEL',
      hint: expect.stringMatching(/^modprobe dm-thin-pool,.* `docker save`/) as string,
    })
  })
})
