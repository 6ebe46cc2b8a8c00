/** Whole trees whose ids are mapped: what the container has, and that nothing stored is. */
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { openBtrfs } from '../../lib/driver/btrfs/driver.ts'
import type { Driver } from '../../lib/driver/driver.ts'
import { openFuseOverlayfs } from '../../lib/driver/fuse-overlayfs/driver.ts'
import { openVfs } from '../../lib/driver/vfs/driver.ts'
import { missing } from '../helpers/gates.ts'
import { collect, streamOf } from '../../lib/driver-suite/streams.ts'
import { type LoopFileSystem, loopFileSystem } from '../helpers/loopfs.ts'
import { insideMapped, MAP, owner, OWNED_TAR, RANGES } from '../helpers/mapped.ts'
import { watchLeaks } from '../helpers/mounts.ts'
import { tempDir } from '../helpers/temp-dir.ts'

const NONE = { durability: 'none' } as const

const CASES = [
  ['vfs', 'ext4', openVfs],
  ['vfs', 'tmpfs', openVfs],
  ['btrfs', 'btrfs', openBtrfs],
] as const

const GATES = ['hasBinding', 'canMount', 'canLoop', 'canUserNamespace'] as const

describe.skipIf(missing(...GATES, 'hasBtrfs')).each(CASES)(
  'an id map with %s on %s',
  (_name, kind, openDriver) => {
    let fs: LoopFileSystem
    let driver: Driver
    watchLeaks(() => [fs.dir])
    beforeEach(async () => {
      fs = loopFileSystem(kind)
      driver = openDriver(join(fs.dir, 'home'), NONE)
      await using staged = await driver.stage()
      await staged.apply(streamOf(OWNED_TAR))
      await staged.commit('base', undefined)
    })
    afterEach(async () => {
      await driver.cleanup()
      fs.dispose()
    })

    const stored = async (id: string, name: string): Promise<string> =>
      owner(join((await driver.metadata(id)).upperdir, name))

    it('shows the files with the ids from outside, and those inside their own', async () => {
      await driver.createReadWrite('top', 'base', { idMap: MAP })
      const merged = await driver.get('top')
      const names = ['.', 'bin/sh', 'home', 'home/file']
      expect(names.map((name) => owner(join(merged, name)))).toEqual([
        '100000:100000',
        '100000:100000',
        '101000:101000',
        '101000:101001',
      ])
      expect(await insideMapped(merged, 'stat -c %u:%g . bin/sh home/file')).toBe('0:0\n0:0\n1000:1001\n')
      await driver.put('top')
      for (const id of ['base', 'top']) expect(await stored(id, 'home/file')).toBe('1000:1001')
    })

    it('stores what is written as the container sees it', async () => {
      await driver.createReadWrite('top', 'base', { idMap: MAP })
      await insideMapped(
        await driver.get('top'),
        'echo new >new && echo more >>home/file && rm gone && mkdir d && chown 5:6 d',
      )
      await driver.put('top')
      const names = ['new', 'home/file', 'd']
      expect(await Promise.all(names.map((name) => stored('top', name)))).toEqual(['0:0', '1000:1001', '5:6'])
    })

    it('lets those outside the map make no files, and read and delete as ever', async () => {
      await driver.createReadWrite('top', 'base', { idMap: MAP })
      const merged = await driver.get('top')
      expect(() => writeFileSync(join(merged, 'new'), '')).toThrow('EOVERFLOW')
      expect(readFileSync(join(merged, 'home/file'), 'utf8')).toBe('mine')
      rmSync(join(merged, 'gone'))
      await driver.put('top')
    })

    it('leaves nothing to be undone in a diff, while it is mounted too', async () => {
      const change =
        'echo new >new; echo more >>home/file; rm gone; mkdir d; chown 5:6 d; chmod 4755 bin/sh; ln new link'
      await driver.createReadWrite('mapped', 'base', { idMap: MAP })
      await driver.createReadWrite('plain', 'base')
      await insideMapped(await driver.get('mapped'), change)
      execFileSync('sh', ['-c', change], { cwd: await driver.get('plain') })
      for (const id of ['mapped', 'plain']) {
        const { upperdir } = await driver.metadata(id)
        execFileSync('find', [upperdir, '-exec', 'touch', '-h', '-d', '@1700000000', '{}', '+'])
      }
      const [mapped, plain] = await Promise.all(
        ['mapped', 'plain'].map((id) => collect(driver.diff(id, 'base'))),
      )
      expect(mapped?.length).toBeGreaterThan(5000)
      expect(mapped?.equals(plain ?? Buffer.alloc(0))).toBe(true)
      for (const id of ['mapped', 'plain']) await driver.put(id)
    })

    it('is left out of what is opened to be read unmapped, and of a child', async () => {
      await driver.createReadWrite('top', 'base', { idMap: MAP })
      await insideMapped(await driver.get('top'), 'echo new >new')
      await driver.put('top')
      await using view = await driver.open('top', { readOnly: true, unmapped: true })
      expect(owner(`/proc/self/fd/${String(view.fd.fd)}/new`)).toBe('0:0')
      await expect(driver.open('top', { unmapped: true })).rejects.toMatchObject({
        code: 'ERR_INVALID_ARGUMENT',
      })
      await driver.createReadWrite('child', 'top')
      expect(owner(join(await driver.get('child'), 'new'))).toBe('0:0')
      await driver.put('child')
    })

    it('is on disk: another process has it, and it goes with the layer', async () => {
      await driver.createReadWrite('top', 'base', { idMap: MAP })
      const file = join(driver.home, 'idmaps/top')
      expect(readFileSync(file, 'utf8')).toBe('uid 0 100000 65536\ngid 0 100000 65536\n')
      expect(statSync(file).mode & 0o777).toBe(0o600)
      {
        await using view = await openDriver(driver.home, NONE).open('top', { readOnly: true })
        expect(owner(`/proc/self/fd/${String(view.fd.fd)}/home/file`)).toBe('101000:101001')
      }
      await driver.remove('top')
      expect(existsSync(file)).toBe(false)
      await driver.createReadWrite('top', 'base')
      expect(owner(join(await driver.get('top'), 'home/file'))).toBe('1000:1001')
      await driver.put('top')
    })

    it('that a crash left is rubbish, and no later layer’s', async () => {
      mkdirSync(join(driver.home, 'idmaps'))
      const file = join(driver.home, 'idmaps/top')
      writeFileSync(file, 'uid 0 7 1\ngid 0 7 1\n')
      const problems = await driver.check(new Map([['base', undefined]]))
      expect(problems).toMatchObject([{ kind: 'stray-id-map', severity: 'rubbish', path: file }])
      await driver.createReadWrite('top', 'base')
      expect(existsSync(file)).toBe(false)
      expect(
        await driver.check(
          new Map([
            ['base', undefined],
            ['top', 'base'],
          ]),
        ),
      ).toEqual([])
    })

    it('that is damaged is told, and never taken for none', async () => {
      await driver.createReadWrite('top', 'base', { idMap: MAP })
      writeFileSync(join(driver.home, 'idmaps/top'), 'uid 0 100000\n')
      await expect(driver.get('top')).rejects.toMatchObject({ code: 'ERR_DAMAGED' })
    })

    it('that is none is refused', async () => {
      const idMap = { uid: [{ container: 5, host: 100_000, size: 1 }], gid: RANGES }
      await expect(driver.createReadWrite('top', 'base', { idMap })).rejects.toMatchObject({
        code: 'ERR_INVALID_ARGUMENT',
      })
      expect(await driver.list()).toEqual(['base'])
    })
  },
)

describe.skipIf(missing(...GATES))('an id map', () => {
  it.each(['ramfs', 'overlay'])('is refused with vfs on %s, and nothing is left', async (kind) => {
    using temp = tempDir('id-map')
    using below = loopFileSystem('tmpfs')
    const dir = join(temp.path, 'mounted')
    for (const path of [dir, ...['lower', 'upper', 'work'].map((name) => join(below.dir, name))])
      mkdirSync(path)
    const layers = `lowerdir=${below.dir}/lower,upperdir=${below.dir}/upper,workdir=${below.dir}/work`
    execFileSync('mount', ['-t', kind, ...(kind === 'overlay' ? ['-o', layers] : []), kind, dir])
    try {
      const driver = openVfs(join(dir, 'vfs'), NONE)
      await driver.create('base', undefined)
      const refusal = {
        code: 'ERR_UNSUPPORTED_FS',
        message: expect.stringMatching(/^\S+ cannot show its files with mapped ids$/) as string,
        hint: expect.stringContaining('ext4, XFS, btrfs') as string,
      }
      await expect(driver.createReadWrite('top', 'base', { idMap: MAP })).rejects.toMatchObject(refusal)
      expect(await driver.list()).toEqual(['base'])
      expect(readdirSync(driver.home).sort()).toEqual(['dir', 'merged', 'parents', 'staging', 'trash'])
      expect(readdirSync(join(driver.home, 'staging'))).toEqual([])
      await driver.createReadWrite('top', 'base')
    } finally {
      execFileSync('umount', [dir])
    }
  })

  it.skipIf(missing('canFuse'))('is refused with fuse-overlayfs, with the reason', async () => {
    using fs = loopFileSystem('ext4')
    const driver = openFuseOverlayfs(join(fs.dir, 'fuse-overlayfs'), NONE)
    await driver.create('base', undefined)
    await expect(driver.createReadWrite('top', 'base', { idMap: MAP })).rejects.toMatchObject({
      code: 'ERR_UNSUPPORTED_FS',
      message: expect.stringContaining('Linux 6.12') as string,
    })
    expect(await driver.list()).toEqual(['base'])
  })
})
