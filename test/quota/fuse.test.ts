/** Size limits of fuse-overlayfs: a project's, which the program that writes is bound by. */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { openFuseOverlayfs } from '../../lib/driver/fuse-overlayfs/driver.ts'
import type { UpperDriver } from '../../lib/driver/overlay2/upper-driver.ts'
import { Store } from '../../lib/store/store.ts'
import { fill, FULL } from '../helpers/fill.ts'
import { serversBelow, serversEnded } from '../helpers/fuse.ts'
import { missing } from '../helpers/gates.ts'
import { type LoopFileSystem, loopFileSystem } from '../helpers/loopfs.ts'
import { watchLeaks } from '../helpers/mounts.ts'
import { MIB } from '../helpers/sizes.ts'
import { archiveOf, nginxImage } from '../helpers/store.ts'

describe
  .skipIf(missing('hasBinding', 'canMount', 'canLoop', 'hasProjectQuota', 'canFuse'))
  .each(['ext4-quota', 'xfs-quota'] as const)('a size limit with fuse-overlayfs on %s', (kind) => {
  let fs: LoopFileSystem
  let driver: UpperDriver
  watchLeaks(() => [fs.dir])
  beforeEach(async () => {
    fs = loopFileSystem(kind)
    driver = openFuseOverlayfs(join(fs.dir, 'fuse-overlayfs'), { durability: 'full' })
    await driver.create('base', undefined)
    writeFileSync(join(driver.home, 'base/diff/file'), 'below')
  })
  afterEach(async () => {
    await driver.cleanup()
    await serversEnded(fs.dir)
    fs.dispose()
  })

  it('keeps the mounted layer from growing beyond it, and who writes hears of it', async () => {
    await driver.createReadWrite('top', 'base', { size: 32 * MIB })
    const merged = await driver.get('top')
    const { written, errno } = fill(join(merged, 'big'))
    expect(errno).toBe(FULL[kind])
    expect(written).toBeGreaterThan(30 * MIB)
    expect(written).toBeLessThanOrEqual(32 * MIB)
    const quota = await driver.quota('top')
    expect(quota?.limit).toBe(32 * MIB)
    expect(quota?.used).toBeGreaterThan(30 * MIB)
    expect(quota?.used).toBeLessThanOrEqual(32 * MIB)
    expect(readFileSync(join(merged, 'file'), 'utf8')).toBe('below')
    await driver.put('top')
  })

  it('leaves the program of a layer without one all that it had', async () => {
    await driver.createReadWrite('free', 'base')
    await driver.createReadWrite('top', 'base', { size: 32 * MIB })
    const capabilities = async (id: string): Promise<bigint> => {
      await driver.get(id)
      const [pid] = serversBelow(driver.home)
      const [, hex = ''] =
        /^CapEff:\s*(\w+)$/m.exec(readFileSync(`/proc/${String(pid)}/status`, 'utf8')) ?? []
      await driver.put(id)
      return BigInt(`0x${hex}`)
    }
    expect((await capabilities('free')) ^ (await capabilities('top'))).toBe(1n << 24n)
  })

  it('is a container’s, from its making to its end', async () => {
    await using store = await Store.open(join(fs.dir, 'root'), { driver: 'fuse-overlayfs' })
    await store.images.load(archiveOf(nginxImage()))
    const container = await store.containers.create('nginx:1', { storageOptions: { size: '16m' } })
    {
      await using mount = await container.mount()
      expect(fill(join(mount.path ?? '', 'big')).errno).toBe(FULL[kind])
    }
    const [listed] = await store.containers.list()
    expect(listed?.quota?.limit).toBe(16 * MIB)
    expect(listed?.quota?.used).toBeGreaterThan(14 * MIB)
    await container.remove()
    await store.close()
    expect(readdirSync(join(fs.dir, 'root/fuse-overlayfs/trash'))).toEqual([])
  })
})
