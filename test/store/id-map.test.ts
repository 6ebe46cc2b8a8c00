/** Containers with an id map: made, mounted, committed and exported. */
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { lstatSync, mkdtempSync, readdirSync, rmdirSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { openUserNamespace } from '../../lib/driver/id-map.ts'
import type { Container } from '../../lib/store/container.ts'
import type { CreateOptions } from '../../lib/store/container-store.ts'
import { Store } from '../../lib/store/store.ts'
import { missing } from '../helpers/gates.ts'
import { collect } from '../../lib/driver-suite/streams.ts'
import { MAP, RANGES } from '../helpers/mapped.ts'
import { watchLeaks } from '../helpers/mounts.ts'
import { archiveOf, newStore, nginxImage, openStore, storeFolders } from '../helpers/store.ts'
import { readAll } from '../helpers/tar.ts'

watchLeaks(() => storeFolders)

/** A container in which the owner that root has there made a file, in a second that is always the same. */
async function written(store: Store, options: CreateOptions): Promise<Container> {
  const container = await store.containers.create('nginx:1', options)
  const owner = options.idMap === undefined ? '0:0' : '100000:100000'
  {
    await using mount = await container.mount()
    const script = `echo new >srv/new && chown ${owner} srv/new && echo more >>etc/motd && rm bin/sh`
    execFileSync('sh', ['-c', script], { cwd: mount.path })
  }
  // Whiteouts have times as well, which no one can set in the merged view.
  const { upperdir } = await container.paths()
  execFileSync('find', [upperdir, '-exec', 'touch', '-h', '-d', '@1700000000', '{}', '+'])
  return container
}

const usage = (store: Store): string =>
  execFileSync('du', ['-s', '--block-size=1', join(store.root, 'overlay2')], { encoding: 'utf8' })

describe.skipIf(missing('hasBinding', 'canMount', 'canUserNamespace'))('a container with an id map', () => {
  it('shows the image as its own, shares its layers and keeps the map in its record', async () => {
    const store = await newStore()
    await store.images.load(archiveOf(nginxImage()))
    await (await store.containers.create('nginx:1')).remove()
    await store.driver.idle()
    const before = Number(usage(store).split('\t')[0])
    const container = await store.containers.create('nginx:1', { name: 'web', idMap: MAP })
    {
      await using mount = await container.mount()
      const { uid, gid } = lstatSync(join(mount.path ?? '', 'etc/motd'))
      expect([uid, gid]).toEqual([100_000, 100_000])
    }
    // Folders and small files of the container and its init layer, nothing of the image.
    expect(Number(usage(store).split('\t')[0]) - before).toBeLessThan(200_000)
    expect((await container.inspect()).idMap).toEqual(MAP)
    const again = await openStore(store.root)
    expect((await (await again.containers.get('web')).inspect()).idMap).toEqual(MAP)
  })

  it('commits to the layer that it would be without', async () => {
    const store = await newStore()
    await store.images.load(archiveOf(nginxImage()))
    const mapped = await (await written(store, { idMap: MAP })).commit('mapped:1')
    const plain = await (await written(store, {})).commit('plain:1')
    expect(mapped.chainIDs).toEqual(plain.chainIDs)
    expect(mapped.chainIDs).toHaveLength(4)
  })

  it('exports what it sees, mounted or not', async () => {
    const store = await newStore()
    await store.images.load(archiveOf(nginxImage()))
    const container = await written(store, { idMap: MAP })
    const owners = async () =>
      (await readAll(await collect(container.export()))).map(({ header }) => [header.uid, header.gid])
    const unmounted = await owners()
    expect(new Set(unmounted.flat())).toEqual(new Set([0]))
    await using mount = await container.mount()
    expect(mount.path).toBeDefined()
    expect(await owners()).toEqual(unmounted)
  })

  it('has the map of a process that may end', async () => {
    const store = await newStore()
    await store.images.load(archiveOf(nginxImage()))
    const others = {
      uid: [{ container: 0, host: 200_000, size: 10 }],
      gid: [{ container: 0, host: 300_000, size: 10 }],
    }
    using userns = await openUserNamespace(others)
    const enter = [`--user=/proc/${String(process.pid)}/fd/${String(userns.fd)}`, '--setuid=0', '--setgid=0']
    const child = spawn('nsenter', [...enter, 'cat'])
    child.stdin.write('there\n')
    await once(child.stdout, 'data')
    const container = await store.containers.create('nginx:1', { idMap: { pid: child.pid ?? 0 } })
    child.stdin.end()
    await once(child, 'close')
    expect((await container.inspect()).idMap).toEqual(others)
    await using mount = await container.mount()
    const { uid, gid } = lstatSync(join(mount.path ?? '', 'etc/motd'))
    expect([uid, gid]).toEqual([200_000, 300_000])
    await expect(
      store.containers.create('nginx:1', { idMap: { pid: child.pid ?? 0 } }),
    ).rejects.toMatchObject({
      code: 'ERR_INVALID_ARGUMENT',
    })
  })

  it('is refused with a map that is none, and nothing is left of it', async () => {
    const store = await newStore()
    await store.images.load(archiveOf(nginxImage()))
    const before = await store.driver.list()
    const idMap = { uid: [{ container: 5, host: 100_000, size: 1 }], gid: RANGES }
    await expect(store.containers.create('nginx:1', { idMap })).rejects.toMatchObject({
      code: 'ERR_INVALID_ARGUMENT',
      hint: expect.stringContaining('map 0') as string,
    })
    expect(await store.driver.list()).toEqual(before)
  })
})

describe.skipIf(missing('hasBinding', 'canMount', 'canUserNamespace'))(
  'a container with an id map on vfs',
  () => {
    const vfs = () => newStore({ driver: 'vfs', onWarning: () => undefined })

    it('shows the image as its own, and keeps the map in its record', async () => {
      const store = await vfs()
      await store.images.load(archiveOf(nginxImage()))
      const container = await store.containers.create('nginx:1', { name: 'web', idMap: MAP })
      {
        await using mount = await container.mount()
        const { uid, gid } = lstatSync(join(mount.path ?? '', 'etc/motd'))
        expect([uid, gid]).toEqual([100_000, 100_000])
      }
      const again = await openStore(store.root)
      expect((await (await again.containers.get('web')).inspect()).idMap).toEqual(MAP)
      expect(await again.check()).toEqual({ ok: true, problems: [] })
      await container.remove()
      expect(readdirSync(join(store.root, 'vfs/idmaps'))).toEqual([])
    })

    it('commits and exports what it would be without, while it is mounted too', async () => {
      const store = await vfs()
      await store.images.load(archiveOf(nginxImage()))
      const make = async (options: CreateOptions): Promise<Container> => {
        const container = await store.containers.create('nginx:1', options)
        const { upperdir } = await container.paths()
        // In the tree itself, where root may: it is mapped only as it is mounted.
        execFileSync('sh', ['-c', 'echo new >srv/new && echo more >>etc/motd && rm bin/sh'], {
          cwd: upperdir,
        })
        execFileSync('find', [upperdir, '-exec', 'touch', '-h', '-d', '@1700000000', '{}', '+'])
        return container
      }
      const [mapped, plain] = [await make({ idMap: MAP }), await make({})]
      await using mount = await mapped.mount()
      expect(lstatSync(join(mount.path ?? '', 'srv/new')).uid).toBe(100_000)
      expect((await mapped.commit('mapped:1')).chainIDs).toEqual((await plain.commit('plain:1')).chainIDs)
      const owners = (await readAll(await collect(mapped.export()))).map(({ header }) => [
        header.uid,
        header.gid,
      ])
      expect(new Set(owners.flat())).toEqual(new Set([0]))
    })

    it('is refused on what cannot be mapped, and nothing is left of it', async () => {
      const root = mkdtempSync(join(tmpdir(), 'overlaid-ramfs-'))
      execFileSync('mount', ['-t', 'ramfs', 'ramfs', root])
      try {
        const quiet = { onWarning: () => undefined }
        await using store = await Store.open(root, { driver: 'vfs', durability: 'none', ...quiet })
        await store.images.load(archiveOf(nginxImage()))
        const before = await store.driver.list()
        await expect(store.containers.create('nginx:1', { idMap: MAP })).rejects.toMatchObject({
          code: 'ERR_UNSUPPORTED_FS',
          hint: expect.stringContaining('leave the id map out') as string,
        })
        expect(await store.driver.list()).toEqual(before)
        expect(readdirSync(join(root, 'vfs/trash'))).toEqual([])
        expect(await store.check()).toEqual({ ok: true, problems: [] })
      } finally {
        execFileSync('umount', [root])
        rmdirSync(root)
      }
    })
  },
)
