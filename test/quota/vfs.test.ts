/** Size limits of vfs: a container's whole tree counts, its copy of the image too. */
import { execFileSync, spawnSync } from 'node:child_process'
import { linkSync, openSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { TreeDriver } from '../../lib/driver/tree/driver.ts'
import { openVfs } from '../../lib/driver/vfs/driver.ts'
import { binding } from '../../lib/native/binding.ts'
import { OwnedFd } from '../../lib/native/fd.ts'
import { Store } from '../../lib/store/store.ts'
import { fill } from '../helpers/fill.ts'
import { missing } from '../helpers/gates.ts'
import { type LoopFileSystem, loopFileSystem } from '../helpers/loopfs.ts'
import { watchLeaks } from '../helpers/mounts.ts'
import { MIB } from '../helpers/sizes.ts'
import { archiveOf, nginxImage } from '../helpers/store.ts'

const KINDS = ['ext4-quota', 'xfs-quota'] as const
const GATES = ['hasBinding', 'canMount', 'canLoop', 'hasProjectQuota'] as const
const SAYS = { 'ext4-quota': 'Disk quota exceeded', 'xfs-quota': 'No space left on device' }

/** dd of 100 MiB, by root as a container has it: without CAP_SYS_RESOURCE. */
function writeAsContainer(path: string): string {
  const dd = ['dd', 'if=/dev/zero', `of=${path}`, 'bs=1M', 'count=100', 'conv=fsync']
  const { stderr } = spawnSync('setpriv', ['--bounding-set', '-sys_resource', ...dd], { encoding: 'utf8' })
  return stderr
}

describe.skipIf(missing(...GATES)).each(KINDS)('a size limit with vfs on %s', (kind) => {
  let fs: LoopFileSystem
  let driver: TreeDriver
  watchLeaks(() => [fs.dir])
  beforeEach(async () => {
    fs = loopFileSystem(kind)
    driver = openVfs(join(fs.dir, 'vfs'), { durability: 'full' })
    await driver.create('base', undefined)
    writeFileSync(join(driver.home, 'dir/base/file'), Buffer.alloc(8 * MIB, 5), { flush: true })
    linkSync(join(driver.home, 'dir/base/file'), join(driver.home, 'dir/base/link'))
  })
  afterEach(async () => {
    await driver.cleanup()
    fs.dispose()
  })

  const projectOf = async (path: string): Promise<number> => {
    using fd = new OwnedFd(openSync(join(driver.home, 'dir', path), 'r'))
    return (await binding.fsgetxattr(fd.fd)).projectID
  }

  it('counts the copy, and keeps the whole from growing beyond it', async () => {
    await driver.createReadWrite('top', 'base', { size: 32 * MIB })
    const before = await driver.quota('top')
    expect(before?.limit).toBe(32 * MIB)
    expect(before?.used).toBeGreaterThanOrEqual(8 * MIB)
    expect(before?.used).toBeLessThan(9 * MIB)
    const merged = await driver.get('top')
    expect(writeAsContainer(join(merged, 'big'))).toContain(SAYS[kind])
    const { used = 0 } = (await driver.quota('top')) ?? {}
    expect(used).toBeGreaterThan(30 * MIB)
    expect(used).toBeLessThanOrEqual(32 * MIB)
    await driver.put('top')
  })

  it('is a project of the copy alone, which all that is in it belongs to', async () => {
    await driver.createReadWrite('top', 'base', { size: 32 * MIB })
    const project = await projectOf('top')
    expect(project).toBeGreaterThan(0)
    expect(await projectOf('top/file')).toBe(project)
    expect(await projectOf('base')).toBe(0)
    expect(await projectOf('base/file')).toBe(0)
    await driver.createReadWrite('other', 'base', { size: 32 * MIB })
    expect(await projectOf('other')).not.toBe(project)
    await driver.createReadWrite('child', 'top')
    expect(await projectOf('child/file')).toBe(0)
    expect(await driver.quota('child')).toBeUndefined()
  })

  it('is refused before anything is copied when the image takes more', async () => {
    const refusal = {
      code: 'ERR_INVALID_ARGUMENT',
      message: expect.stringContaining('a size of 4.19MB has no room for the image') as string,
    }
    await expect(driver.createReadWrite('top', 'base', { size: 4 * MIB })).rejects.toMatchObject(refusal)
    expect(await driver.list()).toEqual(['base'])
    expect(readdirSync(join(driver.home, 'staging'))).toEqual([])
    await driver.createReadWrite('top', 'base', { size: 9 * MIB })
    expect(readFileSync(join(driver.home, 'dir/top/link')).length).toBe(8 * MIB)
  })

  it('goes with the layer when that is removed', async () => {
    await driver.createReadWrite('top', 'base', { size: 32 * MIB })
    const project = await projectOf('top')
    await driver.remove('top')
    using fd = new OwnedFd(openSync(driver.home, 'r'))
    expect((await binding.quotactlGet(fd.fd, fs.device, project)).limit).toBe(0)
  })

  it('is told to be unenforced once the file system is mounted without quotas', async () => {
    await driver.createReadWrite('top', 'base', { size: 32 * MIB })
    execFileSync('umount', [fs.dir])
    execFileSync('mount', ['-o', 'loop', fs.image ?? '', fs.dir])
    expect(await driver.quota('top')).toBeUndefined()
    const refusal = { code: 'ERR_UNSUPPORTED_FS', hint: expect.stringContaining('prjquota') as string }
    await expect(driver.createReadWrite('other', 'base', { size: 32 * MIB })).rejects.toMatchObject(refusal)
    await driver.remove('top')
    expect(await driver.list()).toEqual(['base'])
  })

  it('is a container’s, from its making to its end', async () => {
    await using store = await Store.open(join(fs.dir, 'root'), { driver: 'vfs' })
    await store.images.load(archiveOf(nginxImage()))
    const container = await store.containers.create('nginx:1', { storageOptions: { size: '64m' } })
    {
      await using mount = await container.mount()
      expect(writeAsContainer(join(mount.path ?? '', 'big'))).toContain(SAYS[kind])
    }
    const [listed] = await store.containers.list()
    expect(listed?.quota?.limit).toBe(64 * MIB)
    expect(listed?.quota?.used).toBeGreaterThan(60 * MIB)
    expect(await container.inspect()).toMatchObject({ storageOptions: { size: '64m' }, quota: listed?.quota })
    await container.remove()
    await store.close()
    expect(readdirSync(join(fs.dir, 'root/vfs/trash'))).toEqual([])
  })
})

describe.skipIf(missing(...GATES))('a size limit with vfs', () => {
  it('on XFS binds also who has CAP_SYS_RESOURCE', async () => {
    using fs = loopFileSystem('xfs-quota')
    const driver = openVfs(join(fs.dir, 'vfs'), { durability: 'none' })
    await driver.createReadWrite('top', undefined, { size: 16 * MIB })
    const { written, errno } = fill(join(await driver.get('top'), 'file'))
    expect(errno).toBe(28)
    expect(written).toBeLessThanOrEqual(16 * MIB)
    await driver.put('top')
  })
})
