import { execFileSync, spawn } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import type { Store } from '../../lib/store/store.ts'
import { startChild } from '../helpers/child.ts'
import { missing } from '../helpers/gates.ts'
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

describe.skipIf(missing('canMount', 'hasBinding'))('a persistent mount', () => {
  it('outlives the store object and the process, and is ended by unmount', async () => {
    const root = newRoot()
    const store = await storeWithContainer(root)
    await using child = startChild(
      `
        const store = await Store.open(root, { durability: 'none' })
        const mount = await (await store.containers.get('web')).mount({ persist: true })
        await store.close()
        await say(mount.path)
      `,
      { root },
    )
    const path = (await child.heard()) as string
    expect(await child.ended()).toBe(0)
    expect(read(path, 'etc/motd')).toBe('nginx here\n')
    expect(await store.containers.list()).toMatchObject([{ mounted: true, path }])
    {
      await using second = await (await store.containers.get('web')).mount()
      expect(second.path).toBe(path)
    }
    expect(mountsBelow(root)).toEqual([path])
    await store.unmount('web')
    expect(mountsBelow(root)).toEqual([])
    await expect(store.unmount('web')).rejects.toMatchObject({ code: 'ERR_MOUNT_NOT_FOUND' })
  })

  it('stays when its handle is disposed of, and goes when the handle is told to unmount', async () => {
    const store = await storeWithContainer()
    const container = await store.containers.get('web')
    const mount = await container.mount({ persist: true })
    await mount[Symbol.asyncDispose]()
    expect(mountsBelow(store.root)).toHaveLength(1)
    await mount.unmount()
    expect(mountsBelow(store.root)).toEqual([])
  })

  it('is ended by its path, whoever else is mounted', async () => {
    const store = await storeWithContainer()
    const container = await store.containers.get('web')
    const target = folderBeside(store, 'target')
    await container.mount({ target, persist: true })
    await using merged = await container.mount()
    await store.unmount(target)
    expect(mountsBelow(target)).toEqual([])
    expect(read(merged.path, 'etc/motd')).toBe('nginx here\n')
    await expect(store.unmount(target)).rejects.toMatchObject({ code: 'ERR_MOUNT_NOT_FOUND' })
  })

  it('is ended by rm', async () => {
    const store = await storeWithContainer()
    const container = await store.containers.get('web')
    await container.mount({ persist: true })
    await container.remove()
    expect(mountsBelow(store.root)).toEqual([])
    expect(await store.containers.list()).toEqual([])
  })

  it('of an image is ended by its name', async () => {
    const store = await newStore()
    await store.images.load(archiveOf(nginxImage()))
    const { path } = await store.images.mount('nginx:1', { persist: true })
    await store.unmount('nginx:1')
    expect(mountsBelow(path ?? '')).toEqual([])
    await store.images.remove(['nginx:1'])
  })

  it('that someone else unmounted is no hold any more', async () => {
    const store = await storeWithContainer()
    const container = await store.containers.get('web')
    const { path } = await container.mount({ persist: true })
    execFileSync('umount', [path ?? ''])
    expect(await store.containers.list()).toMatchObject([{ mounted: false }])
    await container.remove()
  })

  it('is left alone when something else was mounted over it', async () => {
    const store = await storeWithContainer()
    const container = await store.containers.get('web')
    const target = folderBeside(store, 'target')
    await container.mount({ target, persist: true })
    execFileSync('mount', ['-t', 'tmpfs', 'over', target])
    await expect(store.unmount(target)).rejects.toMatchObject({ code: 'ERR_IN_USE' })
    execFileSync('umount', [target])
    await store.unmount(target)
    expect(mountsBelow(target)).toEqual([])
  })
})

describe.skipIf(missing('canMount', 'hasBinding'))('holds of other processes', () => {
  const mounter = `
    const store = await Store.open(root, { durability: 'none' })
    const mount = await (await store.containers.get('web')).mount(options)
    await say(mount.path ?? null)
    await told()
    await store.close()
    await say('closed')
  `

  it('share one mount, and the last of them to go unmounts', async () => {
    const root = newRoot()
    const store = await storeWithContainer(root)
    await using child = startChild(mounter, { root, options: {} })
    const path = (await child.heard()) as string
    const mount = await (await store.containers.get('web')).mount()
    expect(mount.path).toBe(path)
    child.tell()
    expect(await child.heard()).toBe('closed')
    expect(mountsBelow(root)).toEqual([path])
    await mount.unmount()
    expect(mountsBelow(root)).toEqual([])
  })

  it('the other way round, too: who made the mount may go first', async () => {
    const root = newRoot()
    const store = await storeWithContainer(root)
    const mount = await (await store.containers.get('web')).mount()
    await using child = startChild(mounter, { root, options: {} })
    expect(await child.heard()).toBe(mount.path)
    await mount.unmount()
    expect(mountsBelow(root)).toEqual([mount.path])
    child.tell()
    expect(await child.heard()).toBe('closed')
    expect(mountsBelow(root)).toEqual([])
    await using again = await (await store.containers.get('web')).mount()
    expect(read(again.path, 'etc/motd')).toBe('nginx here\n')
  })

  it('are respected while they live: rm and unmount refuse, force does it', async () => {
    const root = newRoot()
    const store = await storeWithContainer(root)
    await using child = startChild(mounter, { root, options: {} })
    await child.heard()
    const container = await store.containers.get('web')
    await expect(container.remove()).rejects.toMatchObject({ code: 'ERR_IN_USE' })
    await expect(container.unmount()).rejects.toMatchObject({ code: 'ERR_IN_USE' })
    await container.unmount({ force: true })
    expect(mountsBelow(root)).toEqual([])
    child.tell()
    expect(await child.heard()).toBe('closed')
  })

  it('are released when the process is killed: the mount it left is undone by who comes next', async () => {
    const root = newRoot()
    const store = await storeWithContainer(root)
    await using child = startChild(mounter, { root, options: {} })
    const path = (await child.heard()) as string
    await child.kill()
    expect(mountsBelow(root)).toEqual([path])
    const container = await store.containers.get('web')
    await container.remove()
    expect(mountsBelow(root)).toEqual([])
  })

  it('of a killed process are shared when someone is still in the mount', async () => {
    const root = newRoot()
    const store = await storeWithContainer(root)
    await using child = startChild(mounter, { root, options: {} })
    const path = (await child.heard()) as string
    const inside = spawn('sleep', ['600'], { cwd: path })
    onTestFinished(() => void inside.kill('SIGKILL'))
    await child.kill()
    const container = await store.containers.get('web')
    const mount = await container.mount()
    expect(mount.path).toBe(path)
    expect(mountsBelow(root)).toEqual([path])
    inside.kill('SIGKILL')
    await new Promise((resolve) => inside.once('close', resolve))
    await mount.unmount()
    await container.remove()
    expect(mountsBelow(root)).toEqual([])
  })

  it('that are detached cannot be shared, and end with their process', async () => {
    const root = newRoot()
    const store = await storeWithContainer(root)
    await using child = startChild(mounter, { root, options: { detached: true } })
    expect(await child.heard()).toBeNull()
    const container = await store.containers.get('web')
    await expect(container.mount()).rejects.toMatchObject({ code: 'ERR_IN_USE' })
    await expect(container.unmount({ force: true })).rejects.toMatchObject({ code: 'ERR_IN_USE' })
    await child.kill()
    await using mount = await container.mount()
    expect(read(mount.path, 'etc/motd')).toBe('nginx here\n')
  })

  it('on a read-only mount of an image do not keep others from one of their own', async () => {
    const root = newRoot()
    const store = await openStore(root)
    await store.images.load(archiveOf(pythonImage()))
    await using child = startChild(
      `
        const store = await Store.open(root, { durability: 'none' })
        await store.images.mount('python:3', { detached: true })
        await say('mounted')
        await told()
      `,
      { root },
    )
    await child.heard()
    await using mount = await store.images.mount('python:3')
    expect(read(mount.path, 'usr/python')).toBe('python')
    expect(existsSync(join(mount.path ?? '', 'certs'))).toBe(false)
  })
})
