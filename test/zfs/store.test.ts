/** A store whose driver is zfs, from load to gc. */
import { randomBytes } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { constants } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { probeDrivers } from '../../lib/store/probe.ts'
import type { Store } from '../../lib/store/store.ts'
import { missing } from '../helpers/gates.ts'
import { collect, streamOf } from '../../lib/driver-suite/streams.ts'
import { watchLeaks } from '../helpers/mounts.ts'
import { MIB } from '../helpers/sizes.ts'
import { archiveOf, nginxImage, openStore, pythonImage } from '../helpers/store.ts'
import { command, datasetsBelow, makePool, type Pool } from '../helpers/zpool.ts'
import { expectCommit, expectImages } from '../suites/store-whole-trees.ts'

describe.skipIf(missing('hasBinding', 'canMount', 'hasZfs'))('a store on zfs', () => {
  let pool: Pool
  let root: string
  let dataset: string
  let count = 0
  beforeAll(() => {
    pool = makePool()
  })
  afterAll(() => {
    pool[Symbol.dispose]()
  })
  watchLeaks(() => [root])
  beforeEach(() => {
    const name = `root-${String(count++)}`
    root = pool.dataset(name)
    dataset = `${pool.name}/${name}`
  })
  afterEach(() => {
    command('zfs', 'destroy', '-r', dataset)
  })

  const open = (): Promise<Store> => openStore(root, { driver: 'zfs', durability: 'full' })
  const datasets = (): number => datasetsBelow(dataset).filter((name) => !name.includes('@')).length

  async function expectSound(store: Store): Promise<void> {
    expect(await store.check({ deep: true })).toEqual({ ok: true, problems: [] })
  }

  it('saves what it loaded byte for byte, layers shared, and gives all back', async () => {
    await using store = await open()
    await store.images.loadAll(archiveOf(nginxImage(), pythonImage()))
    expect(await store.layers.list()).toHaveLength(4)
    expect(datasets()).toBe(4)
    await expectSound(store)
    await expectImages(store, nginxImage(), pythonImage())
    await store.images.remove(['nginx:1'])
    await store.gc()
    expect(datasets()).toBe(3)
    await store.images.remove(['python:3'])
    await store.gc()
    expect(datasets()).toBe(0)
    await expectSound(store)
  })

  it('runs a container, lists what it changed, and commits that', async () => {
    await using store = await open()
    await store.images.load(archiveOf(nginxImage()))
    const container = await store.containers.create('nginx:1', {
      name: 'web',
      storageOptions: { size: '32m' },
    })
    const { again } = await expectCommit(store, container)
    {
      await using mount = await container.mount()
      const noise = randomBytes(48 * MIB)
      expect(() => writeFileSync(join(mount.path ?? '', 'big'), noise)).toThrow(
        expect.objectContaining({ errno: -constants.errno.EDQUOT }) as Error,
      )
    }
    command('zpool', 'sync', pool.name)
    const listing = (await store.containers.list()).find(({ name }) => name === 'web')
    expect(listing?.quota?.limit).toBe(32 * MIB)
    expect(listing?.quota?.used).toBeGreaterThan(24 * MIB)
    await expectSound(store)
    for (const made of [container, again]) await made.remove()
    await store.images.remove(['mine:1', 'nginx:1'])
    await store.gc()
    expect(datasets()).toBe(0)
  })

  it('is found again by what is in the root, and its images are read by another store', async () => {
    {
      await using store = await open()
      await store.images.load(archiveOf(nginxImage()))
    }
    await using store = await openStore(root)
    expect(store.driver.name).toBe('zfs')
    expect((await store.info()).driver).toBe('zfs')
    const saved = await collect(store.images.save(['nginx:1']))
    await using other = await openStore(join(root, 'other'), { driver: 'overlay2' })
    expect((await other.images.load(streamOf(saved))).id).toBe(nginxImage().id)
    await using third = await openStore(join(root, 'third'), { driver: 'overlay2' })
    const { images } = await third.images.migrate(root, { from: 'zfs' })
    expect(images).toMatchObject([{ id: nginxImage().id, was: nginxImage().id }])
  })

  it('is what the probe finds usable there, with nothing left of it', async () => {
    const { drivers } = await probeDrivers(root)
    expect(drivers.find(({ name }) => name === 'zfs')).toMatchObject({ usable: true })
    expect(datasetsBelow(dataset)).toEqual([])
  })
})
