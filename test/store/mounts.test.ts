import { spawn } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import type { Store } from '../../lib/store/store.ts'
import { missing } from '../helpers/gates.ts'
import { mountsBelow } from '../../lib/driver-suite/leaks.ts'
import { watchLeaks } from '../helpers/mounts.ts'
import { archiveOf, newRoot, newStore, nginxImage, openStore, storeFolders } from '../helpers/store.ts'

watchLeaks(() => storeFolders)

/** A store with a container `web`. */
async function storeWithContainer(root = newRoot()): Promise<Store> {
  const store = await openStore(root)
  await store.images.load(archiveOf(nginxImage()))
  await store.containers.create('nginx:1', { name: 'web' })
  return store
}

function folderBeside(store: Store, name: string): string {
  const path = join(store.root, '..', name)
  mkdirSync(path)
  return path
}

const read = (dir: string | undefined, path: string) => readFileSync(join(dir ?? '', path), 'utf8')

/** How many overlays there are in `mounts`, counted by their device numbers: clones share one. */
function superBlocks(...paths: string[]): number {
  const table = readFileSync('/proc/self/mountinfo', 'utf8').split('\n')
  const devices = paths.map((path) => table.find((line) => line.split(' ')[4] === path)?.split(' ')[2])
  return new Set(devices).size
}

describe.skipIf(missing('canMount', 'hasBinding'))('a mount', () => {
  it("is at the driver's place until it is undone, and its folder goes with it", async () => {
    const store = await storeWithContainer()
    const container = await store.containers.get('web')
    const mount = await container.mount()
    expect(mount.path).toMatch(/\/overlay2\/[0-9a-f]{64}\/merged$/)
    expect(read(mount.path, 'etc/motd')).toBe('nginx here\n')
    expect(await store.containers.list()).toMatchObject([{ mounted: true, path: mount.path }])
    await mount.unmount()
    await mount.unmount()
    expect(existsSync(mount.path ?? '')).toBe(false)
    expect(await store.containers.list()).toMatchObject([{ mounted: false }])
    expect(readdirSync(join(store.root, 'overlaid/holds'))).toEqual([])
  })

  it('is shared by those who ask again, and ends with the last', async () => {
    const store = await storeWithContainer()
    const container = await store.containers.get('web')
    const first = await container.mount()
    const second = await container.mount()
    expect(second.path).toBe(first.path)
    expect(mountsBelow(store.root)).toHaveLength(1)
    await first.unmount()
    expect(read(second.path, 'etc/motd')).toBe('nginx here\n')
    await second.unmount()
    expect(mountsBelow(store.root)).toEqual([])
  })

  it('at a target is a clone when there is one already: one upper, one overlay', async () => {
    const store = await storeWithContainer()
    const container = await store.containers.get('web')
    await using merged = await container.mount()
    await using target = await container.mount({ target: folderBeside(store, 'target') })
    writeFileSync(join(target.path ?? '', 'new'), 'x')
    expect(read(merged.path, 'new')).toBe('x')
    expect(superBlocks(merged.path ?? '', target.path ?? '')).toBe(1)
  })

  it('at the own place is a clone of one at a target', async () => {
    const store = await storeWithContainer()
    const container = await store.containers.get('web')
    await using target = await container.mount({ target: folderBeside(store, 'target') })
    await using merged = await container.mount()
    expect(superBlocks(merged.path ?? '', target.path ?? '')).toBe(1)
    await target.unmount()
    expect(read(merged.path, 'etc/motd')).toBe('nginx here\n')
  })

  it('is in no mount table when detached, and is read through its descriptor', async () => {
    const store = await storeWithContainer()
    const container = await store.containers.get('web')
    const mount = await container.mount({ detached: true })
    expect(mount.path).toBeUndefined()
    expect(mountsBelow(store.root)).toEqual([])
    expect(readFileSync('/proc/self/mountinfo', 'utf8')).not.toContain(store.root)
    expect(read(`/proc/self/fd/${String(mount.fd)}`, 'etc/motd')).toBe('nginx here\n')
    expect(await store.containers.list()).toMatchObject([{ mounted: true }])
    await using second = await container.mount()
    writeFileSync(join(second.path ?? '', 'new'), 'x')
    expect(read(`/proc/self/fd/${String(mount.fd)}`, 'new')).toBe('x')
    await mount.unmount()
  })

  it('has the options that were asked for, also on a clone', async () => {
    const store = await storeWithContainer()
    const container = await store.containers.get('web')
    await using merged = await container.mount({ nosuid: true })
    await using reader = await container.mount({
      target: folderBeside(store, 'ro'),
      readOnly: true,
      noexec: true,
    })
    const optionsOf = (path: string | undefined) =>
      readFileSync('/proc/self/mountinfo', 'utf8')
        .split('\n')
        .find((line) => line.split(' ')[4] === path)
        ?.split(' ')[5]
        ?.split(',') ?? []
    expect(optionsOf(merged.path)).toEqual(expect.arrayContaining(['rw', 'nosuid']))
    expect(optionsOf(reader.path)).toEqual(expect.arrayContaining(['ro', 'noexec']))
    expect(() => writeFileSync(join(reader.path ?? '', 'x'), '')).toThrow('EROFS')
  })

  it('is refused with other options than the one there', async () => {
    const store = await storeWithContainer()
    const container = await store.containers.get('web')
    await using _mount = await container.mount()
    await expect(container.mount({ readOnly: true })).rejects.toMatchObject({ code: 'ERR_IN_USE' })
    await expect(container.mount({ volatile: true, detached: true })).rejects.toMatchObject({
      code: 'ERR_IN_USE',
    })
  })

  it.each([
    ['a detached one with a target', { detached: true, target: '/mnt' }],
    ['a detached one that persists', { detached: true, persist: true }],
    ['one in a namespace without a target', { pid: process.pid }],
    ['one in a namespace with a relative target', { pid: process.pid, target: 'mnt' }],
    ['one in the namespace of no process', { pid: 2 ** 22 + 1, target: '/mnt' }],
  ])('is refused when it makes no sense: %s', async (_, options) => {
    const store = await storeWithContainer()
    const container = await store.containers.get('web')
    await expect(container.mount(options)).rejects.toMatchObject({ code: 'ERR_INVALID_ARGUMENT' })
  })

  it('leaves nothing when its target is not there', async () => {
    const store = await storeWithContainer()
    const container = await store.containers.get('web')
    await expect(container.mount({ target: join(store.root, 'nowhere') })).rejects.toMatchObject({
      code: 'ENOENT',
    })
    expect(await store.containers.list()).toMatchObject([{ mounted: false }])
  })

  it('in the namespace of another process is seen there and not here', async () => {
    const store = await storeWithContainer()
    const target = folderBeside(store, 'there')
    const child = spawn('unshare', ['-m', '--propagation', 'private', 'sh', '-c', 'echo; exec sleep 600'])
    onTestFinished(() => void child.kill('SIGKILL'))
    await new Promise((resolve) => child.stdout.once('data', resolve))
    const pid = child.pid ?? 0
    const container = await store.containers.get('web')
    const mount = await container.mount({ pid, target })
    expect(readdirSync(target)).toEqual([])
    expect(read(`/proc/${String(pid)}/root${target}`, 'etc/motd')).toBe('nginx here\n')
    await expect(container.mount()).rejects.toMatchObject({ code: 'ERR_IN_USE' })
    await mount.unmount()
    expect(readdirSync(`/proc/${String(pid)}/root${target}`)).toEqual([])
    await using _here = await container.mount()
  })

  it('in a namespace that ended is no hold any more', async () => {
    const store = await storeWithContainer()
    const target = folderBeside(store, 'there')
    const child = spawn('unshare', ['-m', '--propagation', 'private', 'sh', '-c', 'echo; exec sleep 600'])
    await new Promise((resolve) => child.stdout.once('data', resolve))
    const container = await store.containers.get('web')
    const mount = await container.mount({ pid: child.pid ?? 0, target })
    child.kill('SIGKILL')
    await new Promise((resolve) => child.once('close', resolve))
    await using _here = await container.mount()
    await mount.unmount()
  })

  it('is not undone while a process is in it, but by force', async () => {
    const store = await storeWithContainer()
    const container = await store.containers.get('web')
    const mount = await container.mount()
    const child = spawn('sleep', ['600'], { cwd: mount.path })
    onTestFinished(() => void child.kill('SIGKILL'))
    await expect(mount.unmount()).rejects.toMatchObject({ code: 'ERR_IN_USE' })
    expect(mountsBelow(store.root)).toHaveLength(1)
    await mount.unmount({ force: true })
    expect(mountsBelow(store.root)).toEqual([])
  })

  it('is undone by closing the store', async () => {
    const root = newRoot()
    const store = await storeWithContainer(root)
    const container = await store.containers.get('web')
    await container.mount()
    const detached = await container.mount({ detached: true })
    await store.close()
    expect(mountsBelow(root)).toEqual([])
    expect(existsSync(`/proc/self/fd/${String(detached.fd)}`)).toBe(false)
    await expect(container.mount()).rejects.toMatchObject({ code: 'ERR_STORE_CLOSED' })
  })
})

describe.skipIf(missing('canMount', 'hasBinding'))('a mount of an image', () => {
  it('is read-only, shared, and undone with the last holder', async () => {
    const store = await newStore()
    await store.images.load(archiveOf(nginxImage()))
    const first = await store.images.mount('nginx:1')
    const second = await store.images.mount('nginx:1')
    expect(second.path).toBe(first.path)
    expect(read(first.path, 'etc/motd')).toBe('nginx here\n')
    expect(() => writeFileSync(join(first.path ?? '', 'x'), '')).toThrow('EROFS')
    await first.unmount()
    expect(read(second.path, 'srv/nginx')).toBe('nginx')
    await second.unmount()
    expect(mountsBelow(store.root)).toEqual([])
    expect(readdirSync(join(store.root, 'overlaid/locks'))).toEqual([])
  })

  it('can be at a target, detached, and of a single layer', async () => {
    const store = await newStore()
    await store.images.load(
      archiveOf(nginxImage({ layers: [nginxImage().layers[0]?.tar ?? Buffer.alloc(0)] })),
    )
    await using target = await store.images.mount('nginx:1', { target: folderBeside(store, 'target') })
    await using detached = await store.images.mount('nginx:1', { detached: true })
    expect(read(target.path, 'etc/motd')).toBe('welcome\n')
    expect(read(`/proc/self/fd/${String(detached.fd)}`, 'etc/motd')).toBe('welcome\n')
    expect(() => writeFileSync(join(target.path ?? '', 'x'), '')).toThrow('EROFS')
  })

  it('keeps rmi from removing the image, also by force', async () => {
    const store = await newStore()
    await store.images.load(archiveOf(nginxImage()))
    const mount = await store.images.mount('nginx:1')
    await expect(store.images.remove(['nginx:1'])).rejects.toMatchObject({ code: 'ERR_IN_USE' })
    expect(await store.images.remove(['nginx:1'], { force: true })).toEqual({
      untagged: ['nginx:1'],
      deleted: [],
    })
    expect(await store.layers.list()).toHaveLength(3)
    await mount.unmount()
  })
})
