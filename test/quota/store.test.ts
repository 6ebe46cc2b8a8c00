/** Containers with a size limit, from the store's and the command's side. */
import { execFileSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Store } from '../../lib/store/store.ts'
import { missing } from '../helpers/gates.ts'
import { type LoopFileSystem, loopFileSystem } from '../helpers/loopfs.ts'
import { watchLeaks } from '../helpers/mounts.ts'
import { MIB } from '../helpers/sizes.ts'
import { archiveOf, nginxImage } from '../helpers/store.ts'

const ERRNO = { 'ext4-quota': 'Disk quota exceeded', 'xfs-quota': 'No space left on device' }
const COMMAND = join(import.meta.dirname, '../../dist/cli/main.cjs')

describe
  .skipIf(missing('hasBinding', 'canMount', 'canLoop', 'hasProjectQuota'))
  .each(['ext4-quota', 'xfs-quota'] as const)('a container with a size on %s', (kind) => {
  let fs: LoopFileSystem
  let root: string
  watchLeaks(() => [fs.dir])
  beforeEach(() => {
    fs = loopFileSystem(kind)
    root = join(fs.dir, 'root')
  })
  afterEach(() => fs.dispose())

  const overlaid = (...args: string[]): string =>
    execFileSync(process.execPath, [COMMAND, '--root', root, ...args], { encoding: 'utf8' })

  it('can write that much, is listed with what it used, and keeps its limit in its record', async () => {
    await using store = await Store.open(root)
    await store.images.load(archiveOf(nginxImage()))
    const container = await store.containers.create('nginx:1', { storageOptions: { size: '64m' } })
    {
      await using mount = await container.mount()
      const dd = ['if=/dev/zero', `of=${mount.path ?? ''}/big`, 'bs=1M', 'count=100']
      expect(() => execFileSync('dd', dd, { stdio: 'pipe' })).toThrow(ERRNO[kind])
    }
    const [listed] = await store.containers.list()
    expect(listed?.quota?.limit).toBe(64 * MIB)
    expect(listed?.quota?.used).toBeGreaterThan(60 * MIB)
    const details = await container.inspect()
    expect(details).toMatchObject({ storageOptions: { size: '64m' }, quota: listed?.quota })
    const record = readFileSync(join(root, 'overlaid/containers', `${container.id}.json`), 'utf8')
    expect(JSON.parse(record)).toMatchObject({ storageOptions: { size: '64m' } })
    await container.remove()
  })

  it('commits to a layer without one', async () => {
    await using store = await Store.open(root)
    await store.images.load(archiveOf(nginxImage()))
    const container = await store.containers.create('nginx:1', { storageOptions: { size: 8 * MIB } })
    {
      await using mount = await container.mount()
      writeFileSync(join(mount.path ?? '', 'new'), 'new')
    }
    const image = await container.commit('mine:1')
    const other = await store.containers.create(image)
    expect(await other.quota()).toBeUndefined()
    await using mount = await other.mount()
    expect(readFileSync(join(mount.path ?? '', 'new'), 'utf8')).toBe('new')
  })

  it('is not mounted to be written to where nothing enforces the limit any more', async () => {
    {
      await using store = await Store.open(root)
      await store.images.load(archiveOf(nginxImage()))
      await store.containers.create('nginx:1', { name: 'web', storageOptions: { size: '8m' } })
    }
    execFileSync('umount', [fs.dir])
    execFileSync('mount', ['-o', 'loop', fs.image ?? '', fs.dir])
    await using store = await Store.open(root)
    const container = await store.containers.get('web')
    await expect(container.mount()).rejects.toMatchObject({
      code: 'ERR_UNSUPPORTED_FS',
      hint: expect.stringContaining('prjquota') as string,
    })
    await using mount = await container.mount({ readOnly: true })
    expect(readFileSync(join(mount.path ?? '', 'etc/motd'), 'utf8')).toBe('nginx here\n')
    await mount.unmount()
    await container.remove()
  })

  it('is made and shown by the command', async () => {
    await using store = await Store.open(root)
    await store.images.load(archiveOf(nginxImage()))
    overlaid('create', '--name', 'web', '--storage-opt', 'size=64M', 'nginx:1')
    const [listed] = JSON.parse(overlaid('--json', 'ps')) as { quota: { limit: number } }[]
    expect(listed?.quota.limit).toBe(64 * MIB)
    expect(JSON.parse(overlaid('--json', 'inspect', 'web'))).toMatchObject({
      storageOptions: { size: '64M' },
      quota: { limit: 64 * MIB },
    })
    const report = overlaid('check')
    expect(report).not.toContain('damage')
    overlaid('rm', 'web')
  })
})
