/** A store whose driver is vfs: all that a store does, where no layer is merged. */
import { chmodSync, existsSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import type { Store } from '../../lib/store/store.ts'
import { missing } from '../helpers/gates.ts'
import { collect, streamOf } from '../../lib/driver-suite/streams.ts'
import { buildImage, dockerArchive } from '../helpers/image.ts'
import { watchLeaks } from '../helpers/mounts.ts'
import {
  archiveOf,
  members,
  newRoot,
  nginxImage,
  openStore,
  pythonImage,
  storeFolders,
} from '../helpers/store.ts'
import { dumpTree } from '../../lib/driver-suite/tree.ts'

describe.skipIf(missing('hasBinding', 'canMount', 'canMknod'))('a store on vfs', () => {
  watchLeaks(() => storeFolders)

  /** The store, and what it warned of. */
  const newStore = async (root = newRoot()): Promise<{ store: Store; root: string; warnings: string[] }> => {
    const warnings: string[] = []
    const store = await openStore(root, { driver: 'vfs', onWarning: (message) => warnings.push(message) })
    return { store, root, warnings }
  }

  const expectClean = async (store: Store): Promise<void> => {
    expect(await store.check({ deep: true })).toEqual({ ok: true, problems: [] })
  }

  it('loads, runs, changes, commits and saves: all bytes come back', async () => {
    const { store, root } = await newStore()
    const made = nginxImage()
    const image = await store.images.load(archiveOf(made))
    expect(readdirSync(join(root, 'vfs/dir'))).toHaveLength(3)
    expect(existsSync(join(root, 'image/vfs/layerdb'))).toBe(true)
    await expectClean(store)

    const container = await store.containers.create(image, { name: 'work' })
    {
      await using mount = await container.mount()
      const at = (name: string): string => join(mount.path ?? '', name)
      expect(readFileSync(at('etc/motd'), 'utf8')).toBe('nginx here\n')
      expect(existsSync(at('.dockerenv'))).toBe(true)
      writeFileSync(at('new'), 'written')
      rmSync(at('certs'), { recursive: true })
      await expectClean(store)
    }
    const changes: string[] = []
    for await (const { kind, path } of container.changes()) changes.push(`${kind} ${path.toString()}`)
    expect(changes).toEqual(['D /certs', 'A /new'])
    expect(await container.size()).toBe('written'.length)

    const { id } = await container.commit('work:1')
    const committed = await store.images.get(id)
    expect(committed.diffIDs.slice(0, 3)).toEqual(made.layers.map(({ diffID }) => diffID))
    for (const [at, layer] of (await chainOf(store, id)).entries()) {
      const tar = await collect(store.layers.tar(layer))
      if (at < 3) expect(tar.equals(made.layers[at]?.tar ?? Buffer.alloc(0))).toBe(true)
    }
    const { store: other } = await newStore()
    const again = await other.images.load(streamOf(await collect(store.images.save(['work:1']))))
    expect(again.id).toBe(id)
    expect((await collect(other.images.export(id))).equals(await collect(store.images.export(id)))).toBe(true)
    await expectClean(other)
    await expectClean(store)
  })

  const chainOf = async (store: Store, ref: string) => (await store.images.get(ref)).chainIDs

  it('shows what overlay2 shows', async () => {
    const layers = [
      members({ 'a/': '', 'a/old': 'x', 'gone/': '', 'gone/f': 'x', 'b/f': 'f' }),
      [{ name: 'a/' }, { name: 'a/.wh..wh..opq' }, { name: 'a/new', body: 'n' }, { name: '.wh.gone' }],
      [{ name: 'b/g', type: 'hardlink', linkname: 'b/f' } as const, { name: 'gone', body: 'file' }],
    ]
    const image = buildImage({ layers, names: ['layers:1'] })
    const trees: string[][] = []
    for (const driver of ['overlay2', 'vfs']) {
      const store = await openStore(newRoot(), { driver, onWarning: () => undefined })
      await store.images.load(archiveOf(image))
      await using mount = await store.images.mount('layers:1')
      trees.push(await dumpTree(mount.path ?? '', { root: false }))
    }
    expect(trees[1]).toEqual(trees[0])
  })

  it('says at a load what that takes, once, and nothing when nothing is added', async () => {
    const { store, warnings } = await newStore()
    await store.images.load(archiveOf(nginxImage()))
    expect(warnings).toEqual([
      expect.stringMatching(/^vfs stores every layer.* these 3 layers take about \d+B /),
    ])
    await store.images.load(archiveOf(nginxImage()))
    expect(warnings).toHaveLength(1)
    await store.images.load(archiveOf(pythonImage()))
    expect(warnings[1]).toContain('this layer takes about')
  })

  it('counts whole trees as what is on the disk', async () => {
    const { store } = await newStore()
    const big = 'x'.repeat(1_000_000)
    const layers = [members({ big }), members({ a: 'a' }), members({ b: 'b' })]
    const image = await store.images.load(archiveOf(buildImage({ layers, names: ['big:1'] })))
    expect((await store.layers.list()).map(({ size }) => size).sort((a, b) => a - b)).toEqual([
      1,
      1,
      big.length,
    ])
    const before = await store.df()
    expect(before.layers.bytes).toBeGreaterThan(3 * big.length)
    await store.containers.create(image, { name: 'work' })
    const after = await store.df()
    expect(after.total - before.total).toBeGreaterThan(2 * big.length)
    expect(after.containers.bytes).toBe(after.total - before.total)
  })

  it('removes images, containers and rubbish, and leaves nothing', async () => {
    const { store, root } = await newStore()
    const image = await store.images.load(archiveOf(nginxImage(), pythonImage()))
    const container = await store.containers.create(image, { name: 'work' })
    await container.remove()
    await store.images.remove(['nginx:1'])
    await expectClean(store)
    // The two layers that python:3 has too, and its own.
    expect(readdirSync(join(root, 'vfs/dir'))).toHaveLength(3)
    await store.images.remove(['python:3'])
    await store.gc()
    await store.driver.idle()
    for (const folder of ['dir', 'parents', 'merged', 'staging', 'trash'])
      expect(readdirSync(join(root, 'vfs', folder))).toEqual([])
    await expectClean(store)
  })

  it('finds and replaces a layer that was changed under it', async () => {
    const { store, root } = await newStore()
    const image = nginxImage()
    await store.images.load(archiveOf(image))
    const [base] = (await store.layers.list()).filter(({ parent }) => parent === undefined)
    writeFileSync(join(root, 'vfs/dir', base?.cacheID ?? '', 'etc/os-release'), 'changed')
    const { problems } = await store.check({ deep: true, repair: true })
    expect(problems.map(({ kind }) => kind)).toEqual(['changed-layer'])
    await store.images.load(archiveOf(image))
    await store.gc()
    await expectClean(store)
  })

  it('has the modes that keep others out, and repairs them', async () => {
    const { store, root } = await newStore()
    await store.images.load(archiveOf(nginxImage()))
    const modes = (name: string): string => (statSync(join(root, name)).mode & 0o777).toString(8)
    const folders = ['vfs', 'vfs/dir', 'vfs/parents', 'vfs/merged']
    expect(folders.map(modes)).toEqual(['710', '710', '700', '700'])
    chmodSync(join(root, 'vfs/dir'), 0o755)
    expect((await store.check({ repair: true })).problems).toMatchObject([
      { kind: 'loose-mode', repaired: true },
    ])
    expect(folders.map(modes)).toEqual(['710', '710', '700', '700'])
  })

  it('names what a vanished tree and a stray note are', async () => {
    const { store, root } = await newStore()
    await store.images.load(archiveOf(nginxImage()))
    const [, top] = await store.layers.list()
    rmSync(join(root, 'vfs/dir', top?.cacheID ?? ''), { recursive: true })
    writeFileSync(join(root, 'vfs/parents', 'f'.repeat(64)), '')
    const kinds = (await store.check()).problems.map(({ kind, severity }) => `${severity} ${kind}`)
    expect(kinds.sort()).toEqual(
      expect.arrayContaining(['damage missing-layer-folder', 'rubbish driver-rubbish']),
    )
    await store.images.load(streamOf(dockerArchive([nginxImage()])))
    await store.gc()
    await expectClean(store)
  })
})
