/** Size limits of layers: on file systems with project quotas, and on such as have them off. */
import { execFileSync } from 'node:child_process'
import { mkdirSync, openSync, readdirSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { openOverlay2, type Overlay2Driver } from '../../lib/driver/overlay2/driver.ts'
import { binding } from '../../lib/native/binding.ts'
import { OwnedFd } from '../../lib/native/fd.ts'
import { startChild } from '../helpers/child.ts'
import { fill, FULL } from '../helpers/fill.ts'
import { missing } from '../helpers/gates.ts'
import { type LoopFileSystem, loopFileSystem } from '../helpers/loopfs.ts'
import { watchLeaks } from '../helpers/mounts.ts'
import { MIB } from '../helpers/sizes.ts'

const KINDS = ['ext4-quota', 'xfs-quota'] as const

describe.skipIf(missing('hasBinding', 'canMount', 'canLoop', 'hasProjectQuota')).each(KINDS)(
  'a size limit on %s',
  (kind) => {
    let fs: LoopFileSystem
    let driver: Overlay2Driver
    watchLeaks(() => [fs.dir])
    beforeEach(async () => {
      fs = loopFileSystem(kind)
      driver = openOverlay2(join(fs.dir, 'overlay2'), { durability: 'full' })
      await driver.create('base', undefined)
    })
    afterEach(async () => {
      await driver.cleanup()
      fs.dispose()
    })

    const projectOf = async (path: string): Promise<number> => {
      using fd = new OwnedFd(openSync(join(driver.home, path), 'r'))
      return (await binding.fsgetxattr(fd.fd)).projectID
    }

    it('keeps the mounted layer from growing beyond it, and tells what is used', async () => {
      await driver.createReadWrite('top', 'base', { size: 64 * MIB })
      const merged = await driver.get('top')
      const { written, errno } = fill(join(merged, 'file'))
      expect(errno).toBe(FULL[kind])
      expect(written).toBeGreaterThan(60 * MIB)
      expect(written).toBeLessThan(65 * MIB)
      const quota = await driver.quota('top')
      expect(quota?.limit).toBe(64 * MIB)
      expect(quota?.used).toBeGreaterThan(60 * MIB)
      expect(quota?.used).toBeLessThanOrEqual(64 * MIB)
      await driver.put('top')
    })

    it('counts diff and work alike', async () => {
      await driver.createReadWrite('top', 'base', { size: 8 * MIB })
      const project = await projectOf('top')
      expect(project).toBeGreaterThan(0)
      const projects = await Promise.all(['top/diff', 'top/work', 'top/link', 'top/lower'].map(projectOf))
      expect(new Set(projects)).toEqual(new Set([project]))
      for (const name of ['diff', 'work']) {
        writeFileSync(join(driver.home, 'top', name, 'file'), Buffer.alloc(3 * MIB, 1), { flush: true })
      }
      const { used = 0 } = (await driver.quota('top')) ?? {}
      expect(used).toBeGreaterThanOrEqual(6 * MIB)
      expect(used).toBeLessThan(7 * MIB)
    })

    it('copies up from a lower and renames between folders as without one', async () => {
      mkdirSync(join(driver.home, 'base/diff/d'))
      writeFileSync(join(driver.home, 'base/diff/d/file'), 'below')
      await driver.createReadWrite('top', 'base', { size: 8 * MIB })
      const merged = await driver.get('top')
      execFileSync('sh', ['-c', 'mkdir e && echo more >>d/file && mv d/file e/ && rm -r d'], { cwd: merged })
      expect(readdirSync(merged)).toEqual(['e'])
      await driver.put('top')
    })

    it('is each layer’s own: the next number is taken, and one is free when all of it is deleted', async () => {
      for (const id of ['a', 'b', 'c']) await driver.createReadWrite(id, 'base', { size: MIB })
      const before = await Promise.all(['a', 'b', 'c'].map(projectOf))
      expect(before).toEqual([1, 2, 3])
      await driver.remove('b')
      await driver.createReadWrite('d', 'base', { size: MIB })
      expect(await projectOf('d')).toBe(4)
      await driver.emptyTrash()
      using fd = new OwnedFd(openSync(driver.home, 'r'))
      // XFS frees deleted files, and takes them off the project, in the background (5.14).
      await vi.waitFor(async () => {
        expect((await binding.quotactlGet(fd.fd, fs.device, 2)).inodes).toBe(0)
      }, 20_000)
      await driver.createReadWrite('e', 'base', { size: MIB })
      expect(await projectOf('e')).toBe(2)
      expect((await binding.quotactlGet(fd.fd, fs.device, 2)).limit).toBe(MIB)
    })

    it('goes with the layer when that is removed', async () => {
      await driver.createReadWrite('top', 'base', { size: MIB })
      const project = await projectOf('top')
      await driver.remove('top')
      using fd = new OwnedFd(openSync(driver.home, 'r'))
      expect((await binding.quotactlGet(fd.fd, fs.device, project)).limit).toBe(0)
    })

    it('is on disk: another process finds it, and so it is after mounting again', async () => {
      await driver.createReadWrite('top', 'base', { size: 16 * MIB })
      fs.offline(() => undefined)
      const again = openOverlay2(driver.home, { durability: 'full' })
      expect((await again.quota('top'))?.limit).toBe(16 * MIB)
    })

    it('is one project for each, when several processes make layers at once', async () => {
      const code = `
        const { openOverlay2 } = await lib('driver/overlay2/driver.js')
        const driver = openOverlay2(home, { durability: 'none' })
        for (let i = 0; i < 8; i++) await driver.createReadWrite(name + i, 'base', { size: 1048576 })
        say('done')`
      const children = ['a', 'b', 'c'].map((name) => startChild(code, { home: driver.home, name }))
      for (const child of children) expect(await child.heard()).toBe('done')
      for (const child of children) await child[Symbol.asyncDispose]()
      const ids = (await driver.list()).filter((id) => id !== 'base')
      expect(ids).toHaveLength(24)
      expect(new Set(await Promise.all(ids.map(projectOf))).size).toBe(24)
      for (const id of ids) expect((await driver.quota(id))?.limit).toBe(MIB)
    })

    it('is none for a layer without one, whose files belong to nobody’s project', async () => {
      await driver.createReadWrite('top', 'base')
      expect(await driver.quota('top')).toBeUndefined()
      expect(await projectOf('top')).toBe(0)
    })

    it('is refused below a folder that hands on a project of its own', async () => {
      execFileSync('chattr', ['-p', '9', '+P', driver.home])
      const refusal = { code: 'ERR_UNSUPPORTED_FS', hint: expect.stringContaining('chattr -P') as string }
      await expect(driver.createReadWrite('top', 'base', { size: MIB })).rejects.toMatchObject(refusal)
      expect(await driver.list()).toEqual(['base'])
      execFileSync('chattr', ['-P', driver.home])
      await driver.createReadWrite('top', 'base', { size: MIB })
      expect(await projectOf('top')).toBe(10)
    })

    it('is told to be unenforced, never less, once the file system is mounted without quotas', async () => {
      await driver.createReadWrite('top', 'base', { size: MIB })
      execFileSync('umount', [fs.dir])
      execFileSync('mount', ['-o', 'loop', fs.image ?? '', fs.dir])
      expect(await driver.quota('top')).toBeUndefined()
      const refusal = {
        code: 'ERR_UNSUPPORTED_FS',
        hint: expect.stringContaining(`umount ${fs.dir} && mount -o prjquota`) as string,
      }
      await expect(driver.createReadWrite('other', 'base', { size: MIB })).rejects.toMatchObject(refusal)
      await driver.remove('top')
      expect(statSync(driver.home).isDirectory()).toBe(true)
    })
  },
)
