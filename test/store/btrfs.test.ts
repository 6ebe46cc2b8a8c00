/** A store whose driver is btrfs, from load to gc. */
import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { constants } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Store } from '../../lib/store/store.ts'
import { missing } from '../helpers/gates.ts'
import { collect, streamOf } from '../../lib/driver-suite/streams.ts'
import { type LoopFileSystem, loopFileSystem } from '../helpers/loopfs.ts'
import { watchLeaks } from '../helpers/mounts.ts'
import { MIB } from '../helpers/sizes.ts'
import { archiveOf, nginxImage, openStore, pythonImage } from '../helpers/store.ts'
import { expectCommit, expectImages } from '../suites/store-whole-trees.ts'

let fs: LoopFileSystem
let root: string

const open = (): Promise<Store> => openStore(root, { driver: 'btrfs', durability: 'full' })

/** How many subvolumes there are, by btrfs' own tool. */
const subvolumes = (): number =>
  execFileSync('btrfs', ['subvolume', 'list', fs.dir], { encoding: 'utf8' }).split('\n').length - 1

async function expectSound(store: Store): Promise<void> {
  expect(await store.check({ deep: true })).toEqual({ ok: true, problems: [] })
}

describe.skipIf(missing('hasBinding', 'canMount', 'canLoop', 'hasBtrfs'))('a store on btrfs', () => {
  watchLeaks(() => [fs.dir])
  beforeEach(() => {
    fs = loopFileSystem('btrfs')
    root = join(fs.dir, 'root')
  })
  afterEach(() => {
    fs.dispose()
  })

  it('saves what it loaded byte for byte, layers shared', async () => {
    await using store = await open()
    await store.images.loadAll(archiveOf(nginxImage(), pythonImage()))
    expect(await store.layers.list()).toHaveLength(4)
    expect(subvolumes()).toBe(4)
    await expectSound(store)
    await expectImages(store, nginxImage(), pythonImage())
  })

  it('runs a container, lists what it changed, and commits that', async () => {
    await using store = await open()
    await store.images.load(archiveOf(nginxImage()))
    const container = await store.containers.create('nginx:1', { name: 'web' })
    const { image } = await expectCommit(store, container)
    await expectSound(store)
    const archive = await collect(store.images.save(['mine:1']))
    await using other = await openStore(join(fs.dir, 'other'), { driver: 'btrfs' })
    expect((await other.images.load(streamOf(archive))).diffIDs).toEqual(image.diffIDs)
  })

  it('stops a container at its size, and says how much it used', async () => {
    await using store = await open()
    await store.images.load(archiveOf(nginxImage()))
    const container = await store.containers.create('nginx:1', {
      name: 'web',
      storageOptions: { size: '64m' },
    })
    {
      await using mount = await container.mount()
      const write = (): void => writeFileSync(join(mount.path ?? '', 'big'), Buffer.alloc(100 * MIB, 1))
      expect(write).toThrow(expect.objectContaining({ errno: -constants.errno.EDQUOT }) as Error)
      execFileSync('sync', ['-f', root])
    }
    const [listing] = await store.containers.list()
    expect(listing?.quota?.limit).toBe(64 * MIB)
    expect(listing?.quota?.used).toBeGreaterThan(60 * MIB)
    await expectSound(store)
    await container.remove()
    await expectSound(store)
  })

  it('gives all back that rm, rmi and gc remove', async () => {
    await using store = await open()
    await store.images.loadAll(archiveOf(nginxImage(), pythonImage()))
    const container = await store.containers.create('nginx:1', { name: 'web' })
    {
      await using mount = await container.mount()
      execFileSync('btrfs', ['subvolume', 'create', join(mount.path ?? '', 'srv/sub')], { stdio: 'pipe' })
    }
    expect(subvolumes()).toBe(4 + 2 + 1)
    await container.remove()
    await store.images.remove(['nginx:1'])
    await store.gc()
    expect(subvolumes()).toBe(3)
    await expectSound(store)
    await store.images.remove(['python:3'])
    await store.gc()
    expect(subvolumes()).toBe(0)
    await expectSound(store)
  })

  it('is found again by what is in the root', async () => {
    {
      await using store = await open()
      await store.images.load(archiveOf(nginxImage()))
    }
    await using store = await openStore(root)
    expect(store.driver.name).toBe('btrfs')
    expect((await store.images.list()).flatMap(({ names }) => names)).toEqual(['nginx:1'])
    expect((await store.info()).driver).toBe('btrfs')
  })
})
