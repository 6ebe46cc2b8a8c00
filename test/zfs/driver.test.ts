/** What the zfs driver does that no other can: datasets by moby's names, clones that keep their origin, limits. */
import { randomBytes } from 'node:crypto'
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { constants } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { Driver } from '../../lib/driver/driver.ts'
import { openZfs } from '../../lib/driver/zfs/driver.ts'
import { fill } from '../helpers/fill.ts'
import { missing } from '../helpers/gates.ts'
import { ID } from '../../lib/driver-suite/cases.ts'
import { listed, streamOf } from '../../lib/driver-suite/streams.ts'
import { watchLeaks } from '../helpers/mounts.ts'
import { rawTar } from '../helpers/rawtar.ts'
import { MIB } from '../helpers/sizes.ts'
import { command, datasetsBelow, makePool, type Pool, property } from '../helpers/zpool.ts'

const BASE = rawTar([
  { name: 'etc/', mode: 0o755 },
  { name: 'etc/motd', body: 'welcome' },
  { name: 'bin/', mode: 0o755 },
  { name: 'bin/sh', body: 'shell', mode: 0o4755 },
])

describe.skipIf(missing('hasBinding', 'canMount', 'hasZfs'))('the zfs driver', () => {
  let pool: Pool
  let count = 0
  let root: string
  let dataset: string
  let driver: Driver
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
    driver = openZfs(join(root, 'zfs'), { durability: 'none' })
  })
  afterEach(async () => {
    await driver.cleanup()
    command('zfs', 'destroy', '-r', dataset)
  })

  async function commit(id: string, parent: string | undefined, tar: Buffer): Promise<void> {
    await using staged = await driver.stage()
    await staged.apply(streamOf(tar))
    await staged.commit(id, parent)
  }

  async function replace(id: string, parent: string | undefined, tar: Buffer): Promise<void> {
    await using staged = await driver.stage()
    await staged.apply(streamOf(tar))
    await staged.replace(id, parent)
  }

  async function inside<T>(id: string, work: (root: string) => T): Promise<T> {
    const path = await driver.get(id)
    try {
      return work(path)
    } finally {
      await driver.put(id)
    }
  }

  it("has moby's names: a dataset for each id, mounted by nobody else, clones of snapshots that are to go", async () => {
    await commit(ID('a'), undefined, BASE)
    await commit(ID('b'), ID('a'), rawTar([{ name: 'etc/motd', body: 'other' }]))
    await driver.createReadWrite(`${ID('c')}-init`, ID('b'))
    const names = [ID('a'), ID('b'), `${ID('c')}-init`]
    expect(datasetsBelow(dataset).filter((name) => !name.includes('@'))).toEqual(names)
    for (const name of names) expect(property(`${dataset}/${name}`, 'mountpoint')).toBe('legacy')
    for (const [name, parent] of [
      [names[1] ?? '', names[0] ?? ''] as const,
      [names[2] ?? '', names[1] ?? ''] as const,
    ]) {
      const origin = property(`${dataset}/${name}`, 'origin')
      expect(origin.startsWith(`${dataset}/${parent}@`)).toBe(true)
      expect(property(origin, 'defer_destroy')).toBe('on')
    }
    expect(driver.mergedPath(ID('a'))).toBe(join(root, 'zfs/graph', ID('a')))
    expect(await inside(ID('b'), (path) => readFileSync(join(path, 'etc/motd'), 'utf8'))).toBe('other')
    expect(await inside(ID('b'), (path) => readFileSync(join(path, 'bin/sh'), 'utf8'))).toBe('shell')
    expect(statSync(join(root, 'zfs')).mode & 0o7777).toBe(0o710)
  })

  it("reads and mounts what moby's driver made, and removes it", async () => {
    await driver.create(ID('f'), undefined)
    command('zfs', 'create', '-o', 'mountpoint=legacy', `${dataset}/${ID('a')}`)
    command('zfs', 'snapshot', `${dataset}/${ID('a')}@123456789`)
    command(
      'zfs',
      'clone',
      '-o',
      'mountpoint=legacy',
      `${dataset}/${ID('a')}@123456789`,
      `${dataset}/${ID('b')}`,
    )
    command('zfs', 'destroy', '-d', `${dataset}/${ID('a')}@123456789`)
    command('zfs', 'set', `quota=${String(8 * MIB)}`, `${dataset}/${ID('b')}`)
    expect((await driver.list()).sort()).toEqual([ID('a'), ID('b'), ID('f')])
    await inside(ID('b'), (path) => writeFileSync(join(path, 'new'), 'new'))
    expect(await listed(driver.changes(ID('b'), ID('a')))).toEqual(['A /new'])
    expect(await driver.quota(ID('b'))).toMatchObject({ limit: 8 * MIB })
    await driver.remove(ID('b'))
    await driver.remove(ID('a'))
    await driver.emptyTrash()
    expect(datasetsBelow(dataset)).toEqual([ID('f')])
  })

  it('keeps a layer that was replaced below others until they are gone', async () => {
    await commit(ID('a'), undefined, BASE)
    await driver.createReadWrite(ID('b'), ID('a'))
    await replace(ID('a'), undefined, rawTar([{ name: 'new', body: 'new' }]))
    const show = (id: string): Promise<string[]> => inside(id, (path) => readdirSync(path).sort())
    expect(await show(ID('a'))).toEqual(['new'])
    expect(await show(ID('b'))).toEqual(['bin', 'etc'])
    const known = new Map([
      [ID('a'), undefined],
      [ID('b'), ID('a')],
    ])
    await driver.emptyTrash()
    expect(datasetsBelow(dataset).filter((name) => name.includes(':trash:'))).toHaveLength(2)
    expect(await driver.check(known)).toEqual([])
    await driver.remove(ID('b'))
    await driver.emptyTrash()
    expect(datasetsBelow(dataset)).toEqual([ID('a')])
  })

  it('removes a layer below others at once, and its bytes after theirs', async () => {
    await commit(ID('a'), undefined, BASE)
    await driver.createReadWrite(ID('b'), ID('a'))
    await driver.remove(ID('a'))
    expect(await driver.exists(ID('a'))).toBe(false)
    driver.emptyTrashSoon()
    await driver.idle()
    expect(await inside(ID('b'), (path) => readdirSync(path).sort())).toEqual(['bin', 'etc'])
    await driver.create(ID('a'), undefined)
    await driver.remove(ID('b'))
    await driver.emptyTrash()
    expect(datasetsBelow(dataset)).toEqual([ID('a')])
  })

  it('leaves what is mounted elsewhere for the next time', async () => {
    await commit(ID('a'), undefined, BASE)
    const held = await driver.open(ID('a'), { readOnly: true })
    await driver.remove(ID('a'))
    expect(await driver.emptyTrash()).toBe(0)
    const problems = await driver.check(new Map())
    expect(problems).toMatchObject([{ kind: 'trash', severity: 'rubbish' }])
    await held[Symbol.asyncDispose]()
    for (const { repair } of problems) await repair?.()
    expect(await driver.check(new Map())).toEqual([])
    expect(datasetsBelow(dataset)).toEqual([])
  })

  it('takes no layer of another root on the same dataset for its own', async () => {
    const other = openZfs(join(root, 'below/zfs'), { durability: 'none' })
    const one = openZfs(join(root, 'beside/zfs'), { durability: 'none' })
    await other.create(ID('a'), undefined)
    await using staged = await other.stage()
    await one.create(ID('b'), undefined)
    expect(await one.check(new Map([[ID('b'), undefined]]))).toEqual([])
    expect(await one.check(new Map())).toMatchObject([{ kind: 'orphan-layer', id: ID('b') }])
    await staged.apply(streamOf(BASE))
    await staged.commit(ID('c'), ID('a'))
    expect((await one.list()).sort()).toEqual([ID('a'), ID('b'), ID('c')])
  })

  it('tells of the pool as moby', async () => {
    await driver.create(ID('a'), undefined)
    const status = new Map(await driver.status())
    expect([...status.keys()]).toEqual([
      'Zpool',
      'Zpool Health',
      'Parent Dataset',
      'Space Used By Parent',
      'Space Available',
      'Parent Quota',
      'Compression',
      'Backing Filesystem',
    ])
    expect(status.get('Zpool')).toBe(pool.name)
    expect(status.get('Zpool Health')).toBe('ONLINE')
    expect(status.get('Parent Dataset')).toBe(dataset)
    expect(Number(status.get('Space Available'))).toBeGreaterThan(MIB)
  })

  describe('a size', () => {
    /** Used bytes are counted when the pool commits. */
    const sync = (): void => void command('zpool', 'sync', pool.name)

    it('stops a container at what it writes itself, whatever its image has', async () => {
      await driver.create(ID('a'), undefined)
      await inside(ID('a'), (path) => writeFileSync(join(path, 'image'), randomBytes(24 * MIB)))
      await driver.createReadWrite(ID('b'), ID('a'), { size: 16 * MIB })
      const { written, errno } = await inside(ID('b'), (path) => fill(join(path, 'file')))
      expect(errno).toBe(constants.errno.EDQUOT)
      expect(written).toBeGreaterThan(12 * MIB)
      expect(written).toBeLessThan(20 * MIB)
      sync()
      const { used = 0, limit } = (await driver.quota(ID('b'))) ?? {}
      expect(limit).toBe(16 * MIB)
      expect(used).toBeGreaterThan(12 * MIB)
      expect(used).toBeLessThan(20 * MIB)
      expect(await driver.diskUsage(ID('b'))).toBe(used)
      expect(await driver.diskUsage(ID('a'))).toBeGreaterThan(24 * MIB)
      expect(await driver.quota(ID('a'))).toBeUndefined()
    })

    it('that an administrator set with refquota is shown as it is', async () => {
      await driver.create(ID('a'), undefined)
      command('zfs', 'set', `refquota=${String(4 * MIB)}`, `${dataset}/${ID('a')}`)
      const { errno } = await inside(ID('a'), (path) => fill(join(path, 'file')))
      expect(errno).toBe(constants.errno.EDQUOT)
      sync()
      const { used = 0, limit } = (await driver.quota(ID('a'))) ?? {}
      expect(limit).toBe(4 * MIB)
      expect(used).toBeGreaterThan(3 * MIB)
    })

    it('could not be given by refquota, which counts the image', async () => {
      await driver.create(ID('a'), undefined)
      await inside(ID('a'), (path) => writeFileSync(join(path, 'image'), randomBytes(8 * MIB)))
      await driver.createReadWrite(ID('b'), ID('a'))
      const set = (): string => command('zfs', 'set', `refquota=${String(4 * MIB)}`, `${dataset}/${ID('b')}`)
      expect(set).toThrow('size is less than current used')
    })
  })
})
