/** Images that other drivers of Docker's left, taken over. */
import { readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import type { Store } from '../../lib/store/store.ts'
import { missing } from '../helpers/gates.ts'
import { collect } from '../../lib/driver-suite/streams.ts'
import { watchLeaks } from '../helpers/mounts.ts'
import { type OldDriver, writeOldRoot } from '../helpers/old-root.ts'
import {
  archiveOf,
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
    expect(await store.images.list()).toEqual([])
    expect(await store.layers.list()).toEqual([])
  })

  it.each([
    ['devicemapper', 'ERR_UNSUPPORTED_KERNEL'],
    ['overlay2', 'ERR_INVALID_ARGUMENT'],
    ['nonesuch', 'ERR_INVALID_ARGUMENT'],
  ])('does not read %s', async (from, code) => {
    const store = await newStore()
    await expect(store.images.migrate(newRoot(), { from })).rejects.toMatchObject({ code })
  })
})
