/** File systems that cannot carry the driver are refused in words, and nothing is written on them. */
import { execFileSync } from 'node:child_process'
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { describeBacking, deviceOf, hasEntryTypes, nearestExisting } from '../../lib/driver/backing.ts'
import { openOverlay2 } from '../../lib/driver/overlay2/driver.ts'
import { missing } from '../helpers/gates.ts'
import { type FileSystemKind, type LoopFileSystem, loopFileSystem } from '../helpers/loopfs.ts'
import { watchLeaks } from '../helpers/mounts.ts'
import { tempDir } from '../helpers/temp-dir.ts'

const NONE = { durability: 'none' } as const

describe.skipIf(missing('hasBinding', 'canMount', 'canLoop', 'hasXfs', 'hasBtrfs'))('prepare', () => {
  const open: Disposable[] = []
  const made: string[] = []
  // Before the hook that unmounts: hooks run in reverse.
  watchLeaks(() => made)
  const make = (kind: FileSystemKind): LoopFileSystem => {
    const fs = loopFileSystem(kind)
    open.push(fs)
    made.push(dirname(fs.dir))
    return fs
  }
  afterEach(() => {
    for (const thing of open.splice(0).reverse()) thing[Symbol.dispose]()
  })

  /** Everything in the file system, with times: what a look leaves as it is. */
  const state = (dir: string): string =>
    execFileSync('find', [dir, '-printf', '%P %m %s %T@ %C@\n'], { encoding: 'utf8' })

  it.each(['ext4', 'xfs', 'btrfs', 'tmpfs'] as const)('makes the home on %s, once', async (kind) => {
    const fs = make(kind)
    const driver = openOverlay2(join(fs.dir, 'root/overlay2'), NONE)
    expect(readdirSync(fs.dir)).not.toContain('root')
    await driver.prepare()
    await driver.prepare()
    expect(readdirSync(driver.home).sort()).toEqual(['l', 'staging', 'trash'])
    expect(readdirSync(fs.dir).filter((name) => name !== 'lost+found')).toEqual(['root'])
    expect(await describeBacking(driver.home)).toMatchObject({ dType: true })
  })

  it('refuses ext4 without file types, names the device and the remedy, and writes nothing', async () => {
    const fs = make('ext4-no-dtype')
    const before = state(fs.dir)
    const driver = openOverlay2(join(fs.dir, 'root/overlay2'), NONE)
    const refusal = {
      code: 'ERR_UNSUPPORTED_FS',
      message: expect.stringContaining(`${fs.device} (mounted at ${fs.dir})`) as string,
      hint: `unmount it, tune2fs -O filetype ${fs.device}, e2fsck -fD ${fs.device}, and mount it again`,
    }
    await expect(driver.prepare()).rejects.toMatchObject(refusal)
    await expect(driver.stage()).rejects.toMatchObject(refusal)
    await expect(driver.create('a', undefined)).rejects.toMatchObject(refusal)
    await expect(driver.createReadWrite('a', undefined)).rejects.toMatchObject(refusal)
    expect(state(fs.dir)).toBe(before)
    expect(new Map(await driver.status()).get('Supports d_type')).toBe('false')
  })

  it('refuses it also where no entry tells before one is made', async () => {
    const fs = make('ext4-no-dtype')
    execFileSync('rmdir', [join(fs.dir, 'lost+found')])
    const driver = openOverlay2(join(fs.dir, 'root/overlay2'), NONE)
    await expect(driver.prepare()).rejects.toMatchObject({ code: 'ERR_UNSUPPORTED_FS' })
    expect(readdirSync(fs.dir)).toEqual([])
  })

  it('works after tune2fs, but not on the layers of before until e2fsck -D', async () => {
    const fs = make('ext4-no-dtype')
    const home = join(fs.dir, 'overlay2')
    mkdirSync(join(home, 'a'.repeat(64), 'diff/etc'), { recursive: true })
    fs.offline((image) => void execFileSync('tune2fs', ['-O', 'filetype', image], { stdio: 'pipe' }))
    mkdirSync(join(fs.dir, 'new'))
    mkdirSync(join(fs.dir, 'new/folder'))
    expect(await hasEntryTypes(join(fs.dir, 'new'))).toBe(true)
    await expect(openOverlay2(home, NONE).prepare()).rejects.toMatchObject({ code: 'ERR_UNSUPPORTED_FS' })
    expect(readdirSync(home)).toEqual(['a'.repeat(64)])
    fs.offline((image) => {
      try {
        execFileSync('e2fsck', ['-fyD', image], { stdio: 'pipe' })
      } catch (error) {
        // 1: it has corrected something, as it should.
        if ((error as { status?: number }).status !== 1) throw error
      }
    })
    await openOverlay2(home, NONE).prepare()
  })

  it('refuses an overlay, and says where to go', async () => {
    const fs = make('tmpfs')
    for (const name of ['lower', 'upper', 'work', 'merged']) mkdirSync(join(fs.dir, name))
    const layers = `lowerdir=${fs.dir}/lower,upperdir=${fs.dir}/upper,workdir=${fs.dir}/work`
    execFileSync('mount', ['-t', 'overlay', 'overlay', '-o', layers, join(fs.dir, 'merged')])
    open.push({ [Symbol.dispose]: () => void execFileSync('umount', [join(fs.dir, 'merged')]) })
    const driver = openOverlay2(join(fs.dir, 'merged/overlay2'), NONE)
    await expect(driver.prepare()).rejects.toMatchObject({
      code: 'ERR_UNSUPPORTED_FS',
      hint: expect.stringContaining('volume or a tmpfs') as string,
    })
    expect(readdirSync(join(fs.dir, 'upper'))).toEqual([])
  })

  it('refuses a file system that has no whiteouts', async () => {
    const fs = make('tmpfs')
    mkdirSync(join(fs.dir, 'proc'))
    execFileSync('mount', ['-t', 'ramfs', 'none', join(fs.dir, 'proc')])
    open.push({ [Symbol.dispose]: () => void execFileSync('umount', [join(fs.dir, 'proc')]) })
    const driver = openOverlay2(join(fs.dir, 'proc/overlay2'), NONE)
    await expect(driver.prepare()).rejects.toMatchObject({ code: 'ERR_UNSUPPORTED_FS' })
    expect(readdirSync(join(fs.dir, 'proc'))).toEqual([])
  })

  it('says so on a read-only file system', async () => {
    const fs = make('ext4')
    fs.remount('ro')
    await expect(openOverlay2(join(fs.dir, 'overlay2'), NONE).prepare()).rejects.toMatchObject({
      code: 'EROFS',
    })
  })

  it('tries again after a refusal was mended', async () => {
    const fs = make('ext4')
    fs.remount('ro')
    const driver = openOverlay2(join(fs.dir, 'overlay2'), NONE)
    await expect(driver.prepare()).rejects.toThrow()
    fs.remount('rw')
    await driver.prepare()
    expect(await driver.list()).toEqual([])
  })
})

describe('backing', () => {
  it.skipIf(missing('hasBinding'))('describes what is there', async () => {
    expect(await describeBacking('/proc')).toMatchObject({ name: '<unknown>', magic: '0x9fa0' })
    expect(await describeBacking('/nonexistent/below')).toEqual(await describeBacking('/'))
  })

  it.skipIf(missing('hasBinding'))('knows an empty folder from one that tells', async () => {
    using dir = tempDir()
    expect(await hasEntryTypes(dir.path)).toBeUndefined()
    writeFileSync(join(dir.path, 'x'), '')
    expect(await hasEntryTypes(dir.path)).toBe(true)
    expect(await hasEntryTypes(join(dir.path, 'x'))).toBeUndefined()
    expect(await hasEntryTypes(join(dir.path, 'none'))).toBeUndefined()
  })

  it('finds the nearest folder that exists', () => {
    using dir = tempDir()
    expect(nearestExisting(join(dir.path, 'a/b/c'))).toBe(dir.path)
    expect(nearestExisting('/')).toBe('/')
    expect(nearestExisting('/nonexistent')).toBe('/')
  })

  it('finds the device', async () => {
    const mounted = execFileSync('findmnt', ['-n', '-v', '-o', 'SOURCE', '--target', '/'], {
      encoding: 'utf8',
    }).trim()
    expect((await deviceOf('/nonexistent/x'))?.device).toBe(mounted)
  })
})
