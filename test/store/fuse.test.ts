/** The store on fuse-overlayfs: what it does differs in nothing but in who serves the mounts. */
import { closeSync, mkdirSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import type { Store } from '../../lib/store/store.ts'
import { killServer, serversBelow, serversEnded } from '../helpers/fuse.ts'
import { missing } from '../helpers/gates.ts'
import { collect } from '../../lib/driver-suite/streams.ts'
import { mountsBelow } from '../../lib/driver-suite/leaks.ts'
import { watchLeaks } from '../helpers/mounts.ts'
import {
  archiveOf,
  newRoot,
  newStore,
  nginxImage,
  openStore,
  pythonImage,
  storeFolders,
} from '../helpers/store.ts'

const DRIVER = { driver: 'fuse-overlayfs' } as const

watchLeaks(() => storeFolders)

async function storeWithContainer(): Promise<Store> {
  const store = await newStore(DRIVER)
  await store.images.load(archiveOf(nginxImage()))
  await store.containers.create('nginx:1', { name: 'web' })
  return store
}

describe.skipIf(missing('canMount', 'hasBinding', 'canFuse'))('a store on fuse-overlayfs', () => {
  afterEach(async () => {
    for (const folder of storeFolders) await serversEnded(folder)
  })

  it('loads, runs, commits and saves, to the byte, as one on overlay2', async () => {
    const saved: Buffer[] = []
    const committed: string[][] = []
    for (const options of [DRIVER, {}]) {
      const store = await newStore(options)
      await store.images.loadAll(archiveOf(nginxImage(), pythonImage()))
      saved.push(await collect(store.images.save(['nginx:1', 'python:3'])))
      const container = await store.containers.create('python:3', { name: 'web' })
      const mount = await container.mount()
      rmSync(join(mount.path ?? '', 'etc/motd'))
      rmSync(join(mount.path ?? '', 'usr'), { recursive: true })
      writeFileSync(join(mount.path ?? '', 'etc/new'), 'written')
      await mount.unmount()
      const lines: string[] = []
      for await (const { kind, path } of container.changes()) lines.push(`${kind} ${path.toString()}`)
      await container.commit('mine:1')
      committed.push(lines)
      const again = await store.containers.create('mine:1')
      await using root = await again.mount({ readOnly: true })
      expect(readFileSync(join(root.path ?? '', 'etc/new'), 'utf8')).toBe('written')
      expect(await store.check({ deep: true })).toEqual({ ok: true, problems: [] })
    }
    expect(saved[0]?.equals(saved[1] ?? Buffer.alloc(0))).toBe(true)
    expect(committed[0]).toEqual(['C /etc', 'D /etc/motd', 'A /etc/new', 'D /usr'])
    expect(committed[1]).toEqual(committed[0])
  })

  it('is found by its state, and says what it stands on', async () => {
    const root = newRoot()
    const store = await openStore(root, DRIVER)
    await store.images.load(archiveOf(nginxImage()))
    const again = await openStore(root)
    expect(again.driver.name).toBe('fuse-overlayfs')
    const { drivers } = await again.info()
    expect(drivers.find(({ name }) => name === 'fuse-overlayfs')).toMatchObject({ usable: true })
  })

  it('shares, clones and detaches mounts of one process', async () => {
    const store = await storeWithContainer()
    const container = await store.containers.get('web')
    const first = await container.mount()
    const second = await container.mount()
    const detached = await container.mount({ detached: true })
    expect(serversBelow(store.root)).toHaveLength(1)
    writeFileSync(`/proc/self/fd/${String(detached.fd)}/new`, 'x')
    expect(readFileSync(join(second.path ?? '', 'new'), 'utf8')).toBe('x')
    await first.unmount()
    await second.unmount()
    expect(serversBelow(store.root)).toHaveLength(1)
    await detached.unmount()
    await serversEnded(store.root)
    await using anew = await container.mount()
    expect(readFileSync(join(anew.path ?? '', 'new'), 'utf8')).toBe('x')
  })

  it('unmounts in another process what one left mounted', async () => {
    const root = newRoot()
    {
      const store = await openStore(root, DRIVER)
      await store.images.load(archiveOf(nginxImage()))
      const container = await store.containers.create('nginx:1', { name: 'web' })
      await container.mount({ persist: true })
      await store.close()
    }
    const store = await openStore(root)
    expect(await store.containers.list()).toMatchObject([{ mounted: true }])
    await store.unmount('web')
    expect(mountsBelow(root)).toEqual([])
    await serversEnded(root)
  })

  describe('whose mount has lost its process', () => {
    const dead = {
      code: 'ERR_DEAD_MOUNT',
      message: expect.stringContaining('the fuse-overlayfs process of container web has died') as string,
      hint: expect.stringContaining('force') as string,
    }

    it('says so, unmounts it and mounts anew', async () => {
      const store = await storeWithContainer()
      const container = await store.containers.get('web')
      const mount = await container.mount()
      writeFileSync(join(mount.path ?? '', 'new'), 'x')
      await killServer(store.root)
      await expect(container.mount()).rejects.toMatchObject(dead)
      await expect(container.mount({ detached: true })).rejects.toMatchObject(dead)
      expect(await store.containers.list()).toMatchObject([{ mounted: true, path: mount.path, dead: true }])
      expect(await container.inspect()).toMatchObject({ mounted: true, dead: true })
      const { ok, problems } = await store.check()
      expect(ok).toBe(false)
      expect(problems).toMatchObject([{ kind: 'dead-mount', path: mount.path }])
      await mount.unmount()
      expect(mountsBelow(store.root)).toEqual([])
      expect((await container.inspect()).dead).toBeUndefined()
      await using anew = await container.mount()
      expect(readFileSync(join(anew.path ?? '', 'new'), 'utf8')).toBe('x')
      expect((await container.inspect()).dead).toBeUndefined()
    })

    it.each([
      ['read-only', { readOnly: true }],
      ['at a target', undefined],
    ])('is told of when it is mounted %s', async (_how, options) => {
      const store = await storeWithContainer()
      const container = await store.containers.get('web')
      const target = join(store.root, 'target')
      mkdirSync(target)
      const mount = await container.mount(options ?? { target })
      expect((await container.inspect()).dead).toBeUndefined()
      await killServer(store.root)
      expect(await store.containers.list()).toMatchObject([{ mounted: true, path: mount.path, dead: true }])
      await mount.unmount()
      expect(await store.containers.list()).toMatchObject([{ mounted: false }])
    })

    it('is not taken for dead, nor waited for, while its process hangs', async () => {
      const store = await storeWithContainer()
      const container = await store.containers.get('web')
      await using mount = await container.mount()
      const [pid = 0] = serversBelow(store.root)
      process.kill(pid, 'SIGSTOP')
      try {
        const [listed] = await store.containers.list()
        expect(listed).toMatchObject({ mounted: true, path: mount.path })
        expect(listed?.dead).toBeUndefined()
      } finally {
        process.kill(pid, 'SIGCONT')
      }
    })

    it('unmounts it by force when something is open in it', async () => {
      const store = await storeWithContainer()
      const container = await store.containers.get('web')
      const mount = await container.mount()
      const fd = openSync(join(mount.path ?? '', 'etc/motd'), 'r')
      await killServer(store.root)
      await expect(mount.unmount()).rejects.toMatchObject({ code: 'ERR_IN_USE' })
      await container.unmount({ force: true })
      expect(mountsBelow(store.root)).toEqual([])
      expect(() => closeSync(fd)).toThrow('ENOTCONN')
      await using anew = await container.mount()
      expect(readFileSync(join(anew.path ?? '', 'etc/motd'), 'utf8')).toBe('nginx here\n')
    })

    it('is mended by check', async () => {
      const store = await storeWithContainer()
      const container = await store.containers.get('web')
      await container.mount({ persist: true })
      await killServer(store.root)
      await store.check({ repair: true })
      expect(mountsBelow(store.root)).toEqual([])
      expect(await store.check()).toMatchObject({ ok: true })
      await container.remove()
    })
  })
})
