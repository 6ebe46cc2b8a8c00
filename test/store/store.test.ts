import {
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { Store } from '../../lib/store/store.ts'
import { startChild } from '../helpers/child.ts'
import { missing } from '../helpers/gates.ts'
import { collect } from '../../lib/driver-suite/streams.ts'
import { loopFileSystem } from '../helpers/loopfs.ts'
import { watchLeaks } from '../helpers/mounts.ts'
import {
  addDockerContainer,
  archiveOf,
  newRoot,
  newStore,
  nginxImage,
  openStore,
  pythonImage,
  storeFolders,
} from '../helpers/store.ts'

watchLeaks(() => storeFolders)

/** Names, types, modes, owners, sizes and times of all that is in a root: what a reader must not change. */
function stateOf(root: string): string[] {
  return readdirSync(root, { recursive: true, encoding: 'utf8' }).map((name) => {
    const { mode, uid, size, mtimeMs, ctimeMs } = statSync(join(root, name), { throwIfNoEntry: false }) ?? {}
    return [name, mode, uid, size, mtimeMs, ctimeMs].join(' ')
  })
}

describe.skipIf(missing('canMount', 'hasBinding'))('opening a store', () => {
  it('makes nothing before something is written', async () => {
    const root = newRoot()
    const store = await openStore(root)
    expect(await store.images.list()).toEqual([])
    expect(await store.containers.list()).toEqual([])
    expect(await store.layers.list()).toEqual([])
    expect((await store.info()).images).toBe(0)
    const notFound = { code: 'ERR_IMAGE_NOT_FOUND' }
    await expect(store.images.remove(['nginx'])).rejects.toMatchObject(notFound)
    await expect(store.images.tag('nginx', 'other')).rejects.toMatchObject(notFound)
    expect(existsSync(root)).toBe(false)
  })

  it('to read needs a root that is there', async () => {
    await expect(Store.open(newRoot(), { readOnly: true })).rejects.toMatchObject({
      code: 'ERR_INVALID_ARGUMENT',
    })
  })

  it('with a driver, or of one’s root, is refused by that where it cannot work, and never another’s', async () => {
    const root = newRoot()
    mkdirSync(join(root, 'zfs/graph'), { recursive: true })
    for (const options of [{}, { driver: 'zfs' }]) {
      await using store = await Store.open(root, options)
      expect(store.driver.name).toBe('zfs')
      await expect(store.images.load(archiveOf(nginxImage()))).rejects.toMatchObject({
        code: 'ERR_UNSUPPORTED_FS',
        message: expect.stringContaining('the driver zfs needs ZFS') as string,
      })
    }
  })

  it('of a driver that Docker has no more is refused with what to do', async () => {
    const root = newRoot()
    mkdirSync(join(root, 'aufs/diff'), { recursive: true })
    await expect(Store.open(root, { readOnly: true })).rejects.toMatchObject({
      code: 'ERR_DRIVER_MISMATCH',
      message: expect.stringContaining('removed in 24.0') as string,
      hint: expect.stringContaining('new data root') as string,
    })
  })

  it('that holds nothing takes the first of the order that works, at the first change', async () => {
    const root = newRoot()
    const store = await openStore(root, { driverOrder: '20.10' })
    expect((await store.info()).drivers.map(({ name }) => name).join()).toBe(
      'btrfs,zfs,overlay2,fuse-overlayfs,aufs,overlay,devicemapper,vfs',
    )
    await store.images.load(archiveOf(nginxImage()))
    expect((await openStore(root)).driver.name).toBe(store.driver.name)
    await expect(Store.open(root, { driverOrder: '1.0' })).rejects.toMatchObject({
      code: 'ERR_INVALID_ARGUMENT',
    })
  })

  it('that somebody filled meanwhile goes on with their driver', async () => {
    const root = newRoot()
    const quiet = { onWarning: () => {} }
    const late = await openStore(root, quiet)
    const first = await openStore(root, { ...quiet, driver: 'vfs' })
    const image = await first.images.load(archiveOf(nginxImage()))
    await late.images.load(archiveOf(nginxImage()))
    expect(late.driver.name).toBe('vfs')
    expect((await late.images.list()).map(({ id }) => id)).toEqual([image.id])
    expect(existsSync(join(root, 'overlay2'))).toBe(false)
  })

  it.skipIf(missing('othersMayRead'))(
    'that holds nothing is tried by nobody who may not write it',
    async () => {
      const dir = dirname(newRoot())
      chownSync(dir, 65534, 65534)
      await using child = startChild(
        `
        process.setgid(65534)
        process.setuid(65534)
        const store = await Store.open(root)
        const loading = await store.images.import([Buffer.alloc(1024)], 'x').catch((error) => error.code)
        const { drivers, because } = await overlaid.probeDrivers(root)
        await say({ loading, because, codes: drivers.map(({ code }) => code) })
      `,
        { root: join(dir, 'root') },
      )
      const none = Array.from({ length: 5 }, () => 'ERR_NO_PRIVILEGE')
      expect(await child.heard()).toEqual({ loading: none[0], because: 'nothing works here', codes: none })
      expect(readdirSync(dir)).toEqual([])
    },
  )

  it('that a newer overlaid wrote is refused, also to read', async () => {
    const root = newRoot()
    const store = await openStore(root)
    await store.images.load(archiveOf(nginxImage()))
    writeFileSync(join(root, 'overlaid/version'), '2\n')
    for (const readOnly of [true, false]) {
      await expect(Store.open(root, { readOnly })).rejects.toMatchObject({ code: 'ERR_STORE_VERSION' })
    }
  })

  it('ends with close: then every use says so, and closing again does nothing', async () => {
    const store = await newStore()
    await store.close()
    await store.close()
    const uses = [
      () => store.images.list(),
      () => store.images.load(archiveOf(nginxImage())),
      () => store.containers.list(),
      () => store.layers.list(),
      async () => store.info(),
      async () => store.df(),
    ]
    for (const use of uses) await expect(use()).rejects.toMatchObject({ code: 'ERR_STORE_CLOSED' })
  })
})

describe.skipIf(missing('canMount', 'hasBinding'))('a store opened read-only', () => {
  it('reads everything and changes nothing', async () => {
    const root = newRoot()
    const writer = await openStore(root)
    await writer.images.load(archiveOf(nginxImage()))
    await writer.containers.create('nginx:1', { name: 'web' })
    const before = stateOf(root)
    const store = await openStore(root, { readOnly: true })
    const image = await store.images.get('nginx:1')
    await store.images.history('nginx:1')
    await store.layers.list()
    await store.df()
    const container = await store.containers.get('web')
    await container.inspect()
    for await (const _ of container.changes());
    await collect(store.images.save(['nginx:1']))
    await collect(store.images.export('nginx:1'))
    await collect(container.export())
    await collect(store.layers.tar(image.chainIDs[0] ?? ''))
    expect(stateOf(root)).toEqual(before)
  })

  it('refuses to write', async () => {
    const root = newRoot()
    await (await openStore(root)).images.load(archiveOf(nginxImage()))
    const store = await openStore(root, { readOnly: true })
    const writes = [
      () => store.images.load(archiveOf(pythonImage())),
      () => store.images.tag('nginx:1', 'x'),
      () => store.images.remove(['nginx:1']),
      () => store.images.mount('nginx:1'),
      () => store.containers.create('nginx:1'),
    ]
    for (const write of writes) await expect(write()).rejects.toMatchObject({ code: 'ERR_INVALID_ARGUMENT' })
  })

  it.skipIf(missing('othersMayRead'))('serves a user who may read the root, without privileges', async () => {
    const root = newRoot()
    const writer = await openStore(root)
    const image = await writer.images.load(archiveOf(nginxImage()))
    await writer.containers.create('nginx:1', { name: 'web' })
    for (const name of ['', ...readdirSync(root, { recursive: true, encoding: 'utf8' })])
      chownSync(join(root, name), 65534, 65534)
    await using child = startChild(
      `
        process.setgid(65534)
        process.setuid(65534)
        const store = await Store.open(root, { readOnly: true })
        const image = await store.images.get('nginx:1')
        await store.images.history('nginx:1')
        await (await store.containers.get('web')).paths()
        let size = 0
        for await (const chunk of store.images.save(['nginx:1'])) size += chunk.length
        const writing = await Store.open(root)
        const refused = await writing.images.tag('nginx:1', 'x').catch((error) => [error.code, error.message])
        await say({ list: await store.images.list(), id: image.id, size, refused })
      `,
      { root },
    )
    expect(await child.heard()).toMatchObject({
      list: [{ id: image.id, names: ['nginx:1'] }],
      id: image.id,
      size: expect.any(Number) as number,
      refused: ['ERR_NO_PRIVILEGE', expect.stringContaining('CAP_SYS_ADMIN')],
    })
  })

  it.skipIf(missing('othersMayRead'))(
    'tells a user who may not read the root so, and calls nothing empty',
    async () => {
      const root = newRoot()
      await (await openStore(root)).images.load(archiveOf(nginxImage()))
      await using child = startChild(
        `
        process.setgid(65534)
        process.setuid(65534)
        const said = await Store.open(root, { readOnly: true })
          .then((store) => store.images.list())
          .catch((error) => error.code)
        await say(said)
      `,
        { root },
      )
      expect(await child.heard()).toBe('ERR_NO_PRIVILEGE')
    },
  )
})

/** Holds flock(2) on dockerd's database as a running dockerd does. */
async function pretendDockerd(root: string) {
  mkdirSync(join(root, 'volumes'), { recursive: true })
  writeFileSync(join(root, 'volumes/metadata.db'), '')
  const child = startChild(
    `
      const { binding } = await lib('native/binding.js')
      const { openSync } = await import('node:fs')
      await binding.flock(openSync(root + '/volumes/metadata.db', 'r+'), 'write')
      await say('up')
      await told()
    `,
    { root },
  )
  onTestFinished(() => child[Symbol.asyncDispose]())
  await child.heard()
  return child
}

describe.skipIf(missing('canMount', 'hasBinding'))('beside a running dockerd', () => {
  it('reading works with a warning, writing is refused, and works again when it is gone', async () => {
    const root = newRoot()
    const writer = await openStore(root)
    await writer.images.load(archiveOf(nginxImage()))
    const container = await writer.containers.create('nginx:1', { name: 'web' })
    const mount = await container.mount()
    const dockerd = await pretendDockerd(root)

    const warnings: string[] = []
    const store = await openStore(root, { onWarning: (message) => warnings.push(message) })
    expect(warnings).toEqual([expect.stringContaining('dockerd runs')])
    expect(await store.images.list()).toHaveLength(1)
    await collect(store.images.save(['nginx:1']))
    await collect(store.images.export('nginx:1'))
    const writes = [
      () => store.images.load(archiveOf(pythonImage())),
      () => store.images.tag('nginx:1', 'x'),
      () => store.images.remove(['nginx:1']),
      () => store.images.mount('nginx:1'),
      () => store.containers.create('nginx:1'),
      () => writer.images.tag('nginx:1', 'x'),
      () => container.mount(),
      () => container.commit(),
      () => container.remove(),
    ]
    for (const write of writes)
      await expect(write(), String(write)).rejects.toMatchObject({ code: 'ERR_STORE_LOCKED' })
    await mount.unmount()

    await dockerd.kill()
    await writer.images.tag('nginx:1', 'x')
  })
})

describe.skipIf(missing('canMount', 'hasBinding'))('containers that dockerd made', () => {
  it('are listed, mounted, diffed, exported and committed, and not removed', async () => {
    const store = await newStore()
    const image = await store.images.load(archiveOf(nginxImage()))
    const id = await addDockerContainer(store, image, 'theirs')
    const container = await store.containers.get('theirs')
    expect(container).toMatchObject({ id, name: 'theirs', owner: 'docker', imageID: image.id })
    {
      await using mount = await container.mount()
      writeFileSync(join(mount.path ?? '', 'new'), 'x')
    }
    const kinds: string[] = []
    for await (const { kind, path } of container.changes()) kinds.push(`${kind} ${path.toString()}`)
    expect(kinds).toEqual(['A /new'])
    expect((await collect(container.export())).length).toBeGreaterThan(0)
    const committed = await container.commit('from-docker:1')
    expect(committed.config.config?.Cmd).toEqual(['theirs'])
    expect(committed.diffIDs.slice(0, 3)).toEqual(image.diffIDs)
    await expect(container.remove()).rejects.toMatchObject({ code: 'ERR_IN_USE' })
  })

  it('take their names: ours get others', async () => {
    const store = await newStore()
    const image = await store.images.load(archiveOf(nginxImage()))
    await addDockerContainer(store, image, 'web')
    await expect(store.containers.create(image, { name: 'web' })).rejects.toMatchObject({
      code: 'ERR_ALREADY_EXISTS',
    })
  })

  it('that nobody knows are left alone, and not listed', async () => {
    const store = await newStore()
    const image = await store.images.load(archiveOf(nginxImage()))
    const id = await addDockerContainer(store, image, 'x', { foreign: true })
    expect(await store.containers.list()).toEqual([])
    await expect(store.containers.get(id)).rejects.toMatchObject({ code: 'ERR_CONTAINER_NOT_FOUND' })
  })
})

describe.skipIf(missing('canMount', 'hasBinding'))('df', () => {
  it('says what is shared, what an image has alone, and what could go', async () => {
    const store = await newStore()
    await store.images.loadAll(archiveOf(nginxImage(), pythonImage()))
    const container = await store.containers.create('nginx:1', { name: 'web' })
    const usage = await store.df()
    const [nginx, python] = ['nginx:1', 'python:3'].map((name) =>
      usage.images.find(({ names }) => names[0] === name),
    )
    expect(nginx?.shared).toBe(python?.shared)
    expect(nginx?.bytes).toBe((nginx?.shared ?? 0) + (nginx?.unique ?? 0))
    expect(usage.layers.bytes).toBe((nginx?.bytes ?? 0) + (python?.unique ?? 0))
    expect(usage.total).toBe(usage.layers.bytes + usage.containers.bytes)
    expect(usage.layers.reclaimable).toBe(0)
    expect(usage.containers.reclaimable).toBe(usage.containers.bytes)
    expect(usage.reclaimable).toBe(usage.total)
    await using _mount = await container.mount()
    const mounted = await store.df()
    expect(mounted.containers.reclaimable).toBe(0)
    expect(mounted.reclaimable).toBe(python?.unique)
  })
})

describe.skipIf(missing('canMount', 'hasBinding'))('info', () => {
  it('tells of the driver, the file system, the kernel, and counts', async () => {
    const store = await newStore()
    await store.images.load(archiveOf(nginxImage()))
    await store.containers.create('nginx:1')
    const info = await store.info()
    expect(info).toMatchObject({ driver: 'overlay2', images: 1, layers: 3, containers: 1, root: store.root })
    expect(info.backingFs.dType).toBe(true)
    expect(info.capabilities['overlay']).toBe(true)
    expect(info.drivers[0]).toEqual({ name: 'overlay2', usable: true })
    // Kept for the boot.
    const path = join(store.root, 'overlaid/capabilities.json')
    const kept = JSON.parse(readFileSync(path, 'utf8')) as { capabilities: Record<string, boolean> }
    kept.capabilities['overlay'] = false
    writeFileSync(path, JSON.stringify(kept))
    expect((await store.info()).capabilities['overlay']).toBe(false)
    rmSync(path)
  })
})

describe.skipIf(missing('canMount', 'hasBinding', 'canLoop'))('on a file system', () => {
  it('without d_type overlay2 writes nothing, and the error says what to do', async () => {
    using fs = loopFileSystem('ext4-no-dtype')
    const root = join(fs.dir, 'deep/root')
    const store = await openStore(root, { driver: 'overlay2' })
    await expect(store.images.load(archiveOf(nginxImage()))).rejects.toMatchObject({
      code: 'ERR_UNSUPPORTED_FS',
      hint: expect.stringContaining('tune2fs') as string,
    })
    expect(readdirSync(fs.dir)).toEqual(['lost+found'])
  })

  it('without d_type the first change falls back to what works there, and warns; reading writes nothing', async () => {
    using fs = loopFileSystem('ext4-no-dtype')
    const root = join(fs.dir, 'deep/root')
    const warnings: string[] = []
    // What a driver tells of its own cost is another matter.
    const onWarning = (message: string): void => {
      if (message.includes('gets the storage driver')) warnings.push(message)
    }
    const store = await openStore(root, { onWarning })
    expect(await store.images.list()).toEqual([])
    const { driver, drivers } = await store.info()
    expect(drivers.find(({ name }) => name === driver)).toMatchObject({ usable: true })
    expect(drivers[0]).toMatchObject({
      name: 'overlay2',
      reason: expect.stringContaining('d_type') as string,
    })
    expect([readdirSync(fs.dir), warnings]).toEqual([['lost+found'], []])

    const image = await store.images.load(archiveOf(nginxImage()))
    expect(store.driver.name).toBe(driver)
    expect(existsSync(join(root, 'image', driver))).toBe(true)
    expect(existsSync(join(root, 'image/overlay2'))).toBe(false)
    expect(warnings).toEqual([
      expect.stringMatching(/overlay2 is refused: .*d_type.*cure: unmount it, tune2fs/),
    ])
    await store.images.tag('nginx:1', 'again')
    expect(warnings).toHaveLength(1)
    await store.close()

    const next = await openStore(root)
    expect(next.driver.name).toBe(driver)
    expect((await next.images.list()).map(({ id }) => id)).toEqual([image.id])
    await next.images.remove(['nginx:1', 'again'])
    await next.close()
  })

  it('that is full a load fails with ENOSPC, and the store is as it was', async () => {
    using fs = loopFileSystem('ext4', 24 * 1024 * 1024)
    const root = join(fs.dir, 'root')
    const store = await openStore(root, { durability: 'full' })
    const kept = await store.images.load(archiveOf(nginxImage()))
    const big = pythonImage({
      layers: [
        pythonImage().layers[0]?.tar ?? Buffer.alloc(0),
        [{ name: 'big', body: Buffer.alloc(30 * 1024 * 1024, 1) }],
      ],
    })
    await expect(store.images.load(archiveOf(big))).rejects.toMatchObject({ code: 'ENOSPC' })
    expect((await store.images.list()).map(({ id }) => id)).toEqual([kept.id])
    expect(await store.layers.list()).toHaveLength(3)
    expect(readdirSync(join(root, 'overlay2/staging'))).toEqual([])
    for (const chainID of kept.chainIDs) await collect(store.layers.tar(chainID))
    await store.close()
  })
})
