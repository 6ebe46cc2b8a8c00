/** Images that devicemapper left in thin pools, taken over under a kernel that has those. */
import { createHash } from 'node:crypto'
import {
  constants,
  cpSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Store } from '../../lib/store/store.ts'
import { OwnedFd } from '../../lib/native/fd.ts'
import { startChild } from '../helpers/child.ts'
import { missing } from '../helpers/gates.ts'
import { watchLeaks } from '../helpers/mounts.ts'
import { archiveOf, newRoot, newStore, nginxImage, pythonImage, storeFolders } from '../helpers/store.ts'
import { type TempDir, tempDir } from '../helpers/temp-dir.ts'
import {
  DockerPool,
  loops,
  mappedDevices,
  run,
  type ThinFileSystem,
  writeThinRoot,
} from '../helpers/thin-pool.ts'
import { dumpTree } from '../../lib/driver-suite/tree.ts'

const REFS = ['nginx:1', 'python:3']
const COMMAND = join(import.meta.dirname, '../../dist/cli/main.cjs')

async function treesOf(store: Store): Promise<string[][]> {
  const trees: string[][] = []
  for (const ref of REFS) {
    await using root = await store.images.mount(ref)
    trees.push(await dumpTree(root.path ?? ''))
  }
  return trees
}

/** Content and times of all that the driver has in files. */
function stateOf(root: string): string[] {
  const home = join(root, 'devicemapper')
  return readdirSync(home, { recursive: true, encoding: 'utf8', withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map(({ parentPath, name }) => {
      const path = join(parentPath, name)
      const { atimeMs, mtimeMs, ctimeMs, size } = statSync(path)
      using file = new OwnedFd(openSync(path, constants.O_RDONLY | constants.O_NOATIME))
      const sum = createHash('sha256').update(readFileSync(file.fd)).digest('hex')
      // The records are read as files are.
      const readAt = ['data', 'metadata'].includes(name) ? atimeMs : ''
      return [path, size, sum, readAt, mtimeMs, ctimeMs].join(' ')
    })
    .sort()
}

describe.skipIf(missing('hasBinding', 'canMount', 'canLoop', 'hasThinPools'))(
  'migrate from devicemapper',
  () => {
    let made: TempDir
    let before: { readonly list: unknown; readonly trees: string[][] }
    const roots = {} as Record<ThinFileSystem, string>
    beforeAll(async () => {
      made = tempDir('thin')
      const store = await Store.open(join(made.path, 'original'), { durability: 'none' })
      await store.images.loadAll(archiveOf(nginxImage(), pythonImage()))
      before = { list: await store.images.list(), trees: await treesOf(store) }
      for (const kind of ['ext4', 'xfs'] as const) {
        roots[kind] = join(made.path, kind)
        await writeThinRoot(store, roots[kind], kind)
      }
      await store.close()
    })
    afterAll(() => made[Symbol.dispose]())
    watchLeaks(() => [...storeFolders, made.path])

    /** A copy of the ext4 root that a test may damage. */
    const copyOfRoot = (): string => {
      const root = newRoot()
      cpSync(roots.ext4, root, { recursive: true })
      return root
    }
    const devices = join('devicemapper', 'devicemapper')

    const expectNothingLeft = (): void => {
      expect(mappedDevices()).toEqual([])
      expect(loops()).toBe('')
    }

    it.each(['ext4', 'xfs'] as const)(
      'takes over all on %s, and leaves the old root as it was',
      async (kind) => {
        const state = stateOf(roots[kind])
        const store = await newStore()
        const report = await store.images.migrate(roots[kind])
        expectNothingLeft()
        expect(report.images.map(({ id, was }) => id === was)).toEqual([true, true])
        expect(report.layers).toEqual({ total: 4, added: 4, shared: 2 })
        expect(await store.images.list()).toEqual(before.list)
        expect(await treesOf(store)).toEqual(before.trees)
        expect((await store.check({ deep: true })).problems).toEqual([])
        expect(stateOf(roots[kind])).toEqual(state)
      },
    )

    /** Folders that an archive only implies have the time at which the old root was written. */
    const withoutFolderTimes = (trees: readonly string[][]): string[][] =>
      trees.map((lines) => lines.map((line) => line.replace(/^(\S+ dir \d+ \d+:\d+) .*/, '$1')))

    it('makes layers anew that have lost their record', async () => {
      const root = copyOfRoot()
      const layers = join(root, 'image/devicemapper/layerdb/sha256')
      for (const name of readdirSync(layers)) rmSync(join(layers, name, 'tar-split.json.gz'))
      const store = await newStore()
      const report = await store.images.migrate(root, { from: 'devicemapper' })
      expectNothingLeft()
      expect(report.images.map(({ names }) => names).sort()).toEqual([['nginx:1'], ['python:3']])
      expect(withoutFolderTimes(await treesOf(store))).toEqual(withoutFolderTimes(before.trees))
    })

    it('works where /dev has no nodes of these devices, and its pool has longer files', async () => {
      const root = copyOfRoot()
      for (const name of ['data', 'metadata']) {
        const path = join(root, devices, name)
        truncateSync(path, statSync(path).size + 8 * 1024 * 1024)
      }
      const migrate = [process.execPath, COMMAND, '--root', newRoot(), 'migrate', root].join(' ')
      const bare = `mount -t tmpfs none /dev && mknod /dev/null c 1 3 && chmod 666 /dev/null && ${migrate} && ls /dev`
      const out = run('unshare', '-m', '--propagation', 'private', 'sh', '-c', bare)
      expect(out).toContain('Migrated image: nginx:1')
      expect(out.split('\n').at(-1)).toBe('null')
      expectNothingLeft()
    })

    it('leaves nothing when it is killed', async () => {
      const code = `
      const store = await Store.open(target, { driver: 'overlay2' })
      await store.images.migrate(root)`
      const env = { OVERLAID_FAILPOINT: 'layer.unpack.done=kill' }
      await using child = startChild(code, { root: roots.ext4, target: newRoot() }, env)
      expect(await child.ended()).toBe('SIGKILL')
      await expect.poll(mappedDevices).toEqual([])
      await expect.poll(loops).toBe('')
    })

    it('removes the device of a process that was killed before it could be marked', async () => {
      run('dmsetup', 'create', 'overlaid-4194304-00000000-pool-0', '--notable')
      run('dmsetup', 'create', `overlaid-${String(process.pid)}-00000000-pool-0`, '--notable')
      const store = await newStore()
      await store.images.migrate(roots.ext4)
      expect(mappedDevices()).toEqual([`overlaid-${String(process.pid)}-00000000-pool-0`])
      run('dmsetup', 'remove', `overlaid-${String(process.pid)}-00000000-pool-0`)
    })

    it('undoes all when it is aborted', async () => {
      const store = await newStore()
      const abort = new AbortController()
      const onProgress = (): void => abort.abort()
      await expect(
        store.images.migrate(roots.ext4, { signal: abort.signal, onProgress }),
      ).rejects.toMatchObject({
        name: 'AbortError',
      })
      expectNothingLeft()
      expect(await store.images.list()).toEqual([])
    })

    it('is refused while the pool is active, or a loop device may write to its files', async () => {
      const store = await newStore()
      const refused = (hint: string) => ({
        code: 'ERR_STORE_LOCKED',
        hint: expect.stringContaining(hint) as string,
      })
      {
        using pool = new DockerPool(roots.ext4)
        const hint = `stop dockerd, which ends that; if it was killed: dmsetup remove ${pool.name}-pool`
        await expect(store.images.migrate(roots.ext4)).rejects.toMatchObject(refused(hint))
      }
      const loop = run('losetup', '-f', '--show', join(roots.ext4, devices, 'data'))
      try {
        await expect(store.images.migrate(roots.ext4)).rejects.toMatchObject(refused(`losetup -d ${loop}`))
      } finally {
        run('losetup', '-d', loop)
      }
      expectNothingLeft()
    })

    const writeAt = (path: string, at: number, bytes: readonly number[]): void => {
      const content = readFileSync(path)
      content.set(bytes, at)
      writeFileSync(path, content)
    }

    it.each([
      ['is marked as to be checked', 4, [1], 'is marked as to be checked'],
      ['has another sum than it says', 320, [0xff, 0xff], 'the kernel cannot read the thin pool'],
    ])('is refused when the pool’s metadata %s', async (_what, at, bytes, message) => {
      const root = copyOfRoot()
      writeAt(join(root, devices, 'metadata'), at, bytes)
      const store = await newStore()
      await expect(store.images.migrate(root)).rejects.toMatchObject({
        code: 'ERR_DAMAGED',
        message: expect.stringContaining(message) as string,
        hint: expect.stringContaining('thin_check') as string,
      })
      expectNothingLeft()
    })

    it('is refused when a layer has no device, or none with a file system', async () => {
      const root = copyOfRoot()
      const records = join(root, 'devicemapper/metadata')
      const [layer = ''] = readdirSync(records).filter((name) => name.length === 64)
      const record = JSON.parse(readFileSync(join(records, layer), 'utf8')) as object
      const store = await newStore()
      writeFileSync(join(records, layer), JSON.stringify({ ...record, device_id: 77 }))
      const noDevice = { code: 'ERR_DAMAGED', message: expect.stringContaining('no device 77') as string }
      await expect(store.images.migrate(root)).rejects.toMatchObject(noDevice)
      writeFileSync(join(records, layer), JSON.stringify({ ...record, device_id: 1 }))
      const noFolder = { code: 'ERR_DAMAGED', message: expect.stringContaining('no folder rootfs') as string }
      await expect(store.images.migrate(root)).rejects.toMatchObject(noFolder)
      expectNothingLeft()
      expect(await store.images.list()).toEqual([])
    })
  },
)
