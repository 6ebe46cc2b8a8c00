/** What goes on of a container's mount after unmount(), where nothing is to be synced; who waits for it, and who need not. */
import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, describe, expect, it, onTestFinished } from 'vitest'
import { mountsBelow } from '../../lib/driver-suite/leaks.ts'
import type { Container } from '../../lib/store/container.ts'
import { tryWithLock } from '../../lib/store/lock.ts'
import type { Store } from '../../lib/store/store.ts'
import { startChild } from '../helpers/child.ts'
import { missing } from '../helpers/gates.ts'
import { watchLeaks } from '../helpers/mounts.ts'
import { archiveOf, newRoot, nginxImage, openStore, storeFolders } from '../helpers/store.ts'
import { tempDir } from '../helpers/temp-dir.ts'

watchLeaks(() => storeFolders)

/** As many as Node's thread pool has by default. */
const POOL = 4

/** What lets the pool go on: a test that failed before has not. */
let release = async (): Promise<void> => {}
afterEach(() => release())

/** Keeps all threads of the pool waiting, so that nothing ends there, until the function that is returned is called. */
function stopPool(): () => Promise<void> {
  const dir = tempDir('fifos')
  onTestFinished(() => dir[Symbol.dispose]())
  const paths = Array.from({ length: POOL }, (_, i) => join(dir.path, String(i)))
  execFileSync('mkfifo', paths)
  const waiting = paths.map((path) => open(path, 'r'))
  release = async () => {
    for (const path of paths.splice(0)) execFileSync('sh', ['-c', ': >"$0"', path])
    for (const file of await Promise.all(waiting.splice(0))) await file.close()
  }
  return release
}

/** What a store does first it may need the pool for: loading modules, and looking at its file system. */
async function useOnce(store: Store): Promise<void> {
  const container = await store.containers.create('nginx:1')
  await (await container.mount()).unmount()
  await container.remove()
  await store.driver.idle()
}

/** A store with a container, which was mounted, written to and unmounted while the pool stood still. */
async function unmounted(root = newRoot()): Promise<{
  readonly store: Store
  readonly container: Container
  readonly goOn: () => Promise<void>
}> {
  const store = await openStore(root)
  await store.images.load(archiveOf(nginxImage()))
  await useOnce(store)
  const container = await store.containers.create('nginx:1')
  const mount = await container.mount()
  writeFileSync(join(mount.path ?? '', 'new'), 'content')
  const goOn = stopPool()
  await mount.unmount()
  return { store, container, goOn }
}

const settled = (work: Promise<unknown>): Promise<boolean> =>
  Promise.race([work.then(() => true), new Promise<boolean>((resolve) => setTimeout(resolve, 50, false))])

describe.skipIf(missing('canMount', 'hasBinding'))('the end of a mount', () => {
  it('is not waited for by unmount(), nor by rm', async () => {
    const { store, container, goOn } = await unmounted()
    expect(mountsBelow(store.root)).toEqual([])
    expect(readdirSync(join(store.root, 'overlaid/holds'))).toEqual([])
    await container.remove()
    expect(readdirSync(join(store.root, 'overlaid/containers'))).toEqual([])
    await goOn()
    await store.driver.idle()
    expect(readdirSync(join(store.root, 'overlaid/locks'))).toEqual([])
  })

  it('is waited for by who mounts again, through whichever store', async () => {
    const root = newRoot()
    const other = await openStore(root)
    await other.images.load(archiveOf(nginxImage()))
    await useOnce(other)
    const { store, container, goOn } = await unmounted(root)
    const lock = join(root, 'overlaid/locks', container.id)
    expect(await tryWithLock(lock, () => true)).toBeUndefined()
    const same = await other.containers.get(container.id)
    const mounting = [same.mount(), container.mount()]
    expect(await settled(Promise.race(mounting))).toBe(false)
    expect(mountsBelow(root)).toEqual([])
    await goOn()
    for (const mount of await Promise.all(mounting)) {
      expect(readFileSync(join(mount.path ?? '', 'new'), 'utf8')).toBe('content')
      await mount.unmount()
    }
    await store.driver.idle()
  })

  it('is not waited for any longer than a signal allows', async () => {
    const { container, goOn } = await unmounted()
    const abort = new AbortController()
    const mounting = container.mount({ signal: abort.signal })
    abort.abort(new Error('enough'))
    await expect(mounting).rejects.toThrow('enough')
    await goOn()
  })

  it('is waited for by another process', async () => {
    const { store, container, goOn } = await unmounted()
    await using child = startChild(
      `const store = await Store.open(root, { durability: 'none' })
       const { tryWithLock } = await lib('store/lock.js')
       await say((await tryWithLock(lock, () => true)) === undefined)
       const mount = await (await store.containers.get(id)).mount()
       await say(mount.path)
       await store.close()`,
      { root: store.root, id: container.id, lock: join(store.root, 'overlaid/locks', container.id) },
    )
    expect(await child.heard()).toBe(true)
    const mounted = child.heard()
    expect(await settled(mounted)).toBe(false)
    expect(mountsBelow(store.root)).toEqual([])
    await goOn()
    expect(await mounted).toMatch(/merged$/)
    expect(await child.ended()).toBe(0)
  })

  it('is waited for by close()', async () => {
    const { store, goOn } = await unmounted()
    const closing = store.close()
    expect(await settled(closing)).toBe(false)
    await goOn()
    await closing
  })

  it('is waited for by unmount() where everything is synced', async () => {
    const store = await openStore(newRoot(), { durability: 'full' })
    const container = await store.containers.create(await store.images.load(archiveOf(nginxImage())))
    const mount = await container.mount()
    const goOn = stopPool()
    const unmounting = mount.unmount()
    expect(await settled(unmounting)).toBe(false)
    await goOn()
    await unmounting
  })
})
