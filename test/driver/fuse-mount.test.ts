/** Mounts by fuse-overlayfs: what is started and ends with them, and what happens when it ends before. */
import {
  chmodSync,
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import type { UpperDriver } from '../../lib/driver/overlay2/upper-driver.ts'
import { openFuseOverlayfs } from '../../lib/driver/fuse-overlayfs/driver.ts'
import { killServer, serversBelow, serversEnded } from '../helpers/fuse.ts'
import { missing } from '../helpers/gates.ts'
import { type LoopFileSystem, loopFileSystem } from '../helpers/loopfs.ts'
import { mountsBelow } from '../../lib/driver-suite/leaks.ts'
import { watchLeaks } from '../helpers/mounts.ts'
import { charAt, dirAt, fileAt, tree } from '../../lib/driver-suite/tree.ts'

const NONE = { durability: 'none' } as const

describe.skipIf(missing('hasBinding', 'canMount', 'canFuse'))('a mount by fuse-overlayfs', () => {
  let fs: LoopFileSystem
  let home: string
  let driver: UpperDriver
  let count = 0

  beforeAll(() => {
    fs = loopFileSystem('tmpfs')
  })
  afterAll(() => {
    fs.dispose()
  })
  watchLeaks(() => [fs.dir])
  beforeEach(async () => {
    home = join(fs.dir, `root-${(count++).toString()}`, 'fuse-overlayfs')
    driver = openFuseOverlayfs(home, NONE)
    await driver.create('base', undefined)
    await tree(join(home, 'base/diff'), [
      fileAt('file', 'base'),
      fileAt('setuid', 'x', { mode: 0o4755 }),
      fileAt('theirs', 'y', { uid: 1000, gid: 1000, mode: 0o600 }),
      dirAt('dir'),
      charAt('null', 1, 3, { mode: 0o666 }),
    ])
    await driver.createReadWrite('top', 'base')
  })
  afterEach(() => serversEnded(fs.dir))

  it('has one process, which is gone when put returns', async () => {
    await driver.get('top')
    await driver.get('top')
    expect(serversBelow(home)).toHaveLength(1)
    await driver.put('top')
    expect(serversBelow(home)).toHaveLength(1)
    await driver.put('top')
    expect(serversBelow(home)).toEqual([])
    expect(readdirSync(join(home, 'staging'))).toEqual([])
    expect(readdirSync(join(home, 'trash'))).toEqual([])
    expect(existsSync(join(home, 'top/merged'))).toBe(false)
  })

  it('keeps setuid bits and devices, unless told', async () => {
    const root = await driver.get('top')
    expect(statSync(join(root, 'setuid')).mode & 0o7777).toBe(0o4755)
    closeSync(openSync(join(root, 'null'), 'w'))
    expect(mountLine(root)).not.toMatch(/nosuid|nodev/)
    await driver.put('top')
    await driver.get('top', { nodev: true, nosuid: true, noexec: true, noatime: true })
    expect(mountLine(root)).toMatch(/nosuid,nodev,noexec/)
    expect(() => openSync(join(root, 'null'), 'w')).toThrow('EACCES')
    await driver.put('top')
  })

  it('is for everybody, as the modes say', async () => {
    const root = await driver.get('top')
    expect(statSync(join(root, 'theirs'))).toMatchObject({ uid: 1000, gid: 1000 })
    expect(mountLine(root)).toContain('allow_other')
    await driver.put('top')
  })

  it('is there again after it was volatile', async () => {
    const root = await driver.get('top', { volatile: true })
    writeFileSync(join(root, 'quick'), 'x')
    await driver.put('top')
    await driver.get('top')
    expect(readFileSync(join(root, 'quick'), 'utf8')).toBe('x')
    await driver.put('top')
  })

  it.each([
    { redirectDir: true },
    { metacopy: true },
    { userxattr: true },
    { xino: 'on' },
    { context: 'system_u:object_r:container_file_t:s0' },
    { volatile: true, readOnly: true },
  ] as const)('has no option %o', async (options) => {
    await expect(driver.get('top', options)).rejects.toMatchObject({ code: 'ERR_INVALID_ARGUMENT' })
    expect(serversBelow(home)).toEqual([])
  })

  it('works in a home whose name is full of what options are made of', async () => {
    const odd = openFuseOverlayfs(join(fs.dir, 'a,b\\c e"f\'g $(h)\n-o', 'fuse-overlayfs'), NONE)
    await odd.create('base', undefined)
    await odd.createReadWrite('top', 'base')
    const root = await odd.get('top')
    writeFileSync(join(root, 'x'), 'y')
    await odd.put('top')
    expect(readFileSync(join(odd.home, 'top/diff/x'), 'utf8')).toBe('y')
  })

  it('cannot be below a folder whose name has a colon, and says so', async () => {
    const odd = openFuseOverlayfs(join(fs.dir, 'a:b', 'fuse-overlayfs'), NONE)
    mkdirSync(dirname(odd.home))
    await expect(odd.prepare()).rejects.toMatchObject({
      code: 'ERR_INVALID_ARGUMENT',
      message: expect.stringContaining('a colon') as string,
    })
    expect(readdirSync(dirname(odd.home))).toEqual([])
  })

  it('goes up to the limit of the chain', async () => {
    let parent = 'base'
    for (let i = 1; i <= 400; i++) {
      const id = `layer${String(i)}`
      await driver.create(id, parent)
      writeFileSync(join(home, id, 'diff', `of-${String(i)}`), '')
      parent = id
    }
    await driver.createReadWrite('deep', parent)
    const root = await driver.get('deep')
    expect(readdirSync(root)).toHaveLength(405)
    await driver.put('deep')
  })

  it('is one for each upper directory, whoever mounts', async () => {
    const root = await driver.get('top')
    const fd = openSync(join(root, 'file'), 'r')
    try {
      await driver.put('top', { force: true })
      await expect(driver.open('top')).rejects.toMatchObject({ code: 'ERR_IN_USE' })
      await expect(openFuseOverlayfs(home, NONE).get('top')).rejects.toMatchObject({ code: 'ERR_IN_USE' })
    } finally {
      closeSync(fd)
    }
    await using mount = await driver.open('top')
    expect(serversBelow(home)).toHaveLength(1)
    expect(mount.mountID).toBeGreaterThan(0n)
  })

  it('that could not be made says what the program said', async () => {
    rmSync(join(home, 'base/diff'), { recursive: true })
    await driver.createReadWrite('middle', 'top')
    await expect(driver.get('middle')).rejects.toMatchObject({
      code: 'ERR_MOUNT_FAILED',
      message: expect.stringMatching(/could not mount: .*(No such file|cannot)/) as string,
    })
    expect(mountsBelow(home)).toEqual([])
    expect(readdirSync(join(home, 'staging'))).toEqual([])
  })

  describe('whose process has died', () => {
    const dead = {
      code: 'ERR_DEAD_MOUNT',
      message: expect.stringContaining('the fuse-overlayfs process of layer top has died') as string,
      hint: expect.stringContaining('force') as string,
    }
    let root: string
    beforeEach(async () => {
      root = await driver.get('top')
      writeFileSync(join(root, 'written'), 'before')
      await killServer(home)
    })
    afterEach(() => driver.put('top', { force: true }))

    it('is told of by get', async () => {
      await expect(driver.get('top')).rejects.toMatchObject(dead)
      await expect(openFuseOverlayfs(home, NONE).get('top')).rejects.toMatchObject(dead)
    })

    it('is unmounted by put, and mounted anew by the next get', async () => {
      await driver.put('top')
      expect(mountsBelow(home)).toEqual([])
      await driver.get('top')
      expect(readFileSync(join(root, 'written'), 'utf8')).toBe('before')
      await driver.put('top')
    })

    it('is unmounted by force when a file in it is open', async () => {
      await driver.put('top', { force: true })
      await driver.get('top')
      const fd = openSync(join(root, 'written'), 'r')
      await killServer(home)
      expect(() => readFileSync(fd)).toThrow(/ENOTCONN|ECONNABORTED|EIO/)
      await expect(driver.put('top')).rejects.toMatchObject({ code: 'ERR_IN_USE' })
      await driver.put('top', { force: true })
      // close(2) tells the process, too; the descriptor is closed all the same.
      expect(() => closeSync(fd)).toThrow('ENOTCONN')
      expect(mountsBelow(home)).toEqual([])
      await driver.get('top')
      expect(readFileSync(join(root, 'written'), 'utf8')).toBe('before')
      await driver.put('top')
    })

    it('is found by check, which unmounts it', async () => {
      const known = new Map([
        ['base', undefined],
        ['top', 'base'],
      ])
      const problems = await driver.check(known)
      expect(problems).toMatchObject([{ kind: 'dead-mount', severity: 'damage', path: root }])
      for (const problem of problems) await problem.repair?.()
      expect(mountsBelow(home)).toEqual([])
      expect(await driver.check(known)).toEqual([])
    })

    it('still keeps its layer from being removed', async () => {
      await expect(driver.remove('top')).rejects.toMatchObject({ code: 'ERR_IN_USE' })
    })
  })

  describe('is refused', () => {
    afterEach(() => {
      vi.unstubAllEnvs()
    })

    it('where the program is not installed, with how to get it', async () => {
      vi.stubEnv('PATH', `${home}:relative:/nonexistent`)
      const fresh = openFuseOverlayfs(join(fs.dir, 'none/fuse-overlayfs'), NONE)
      await expect(fresh.prepare()).rejects.toMatchObject({
        code: 'ERR_NO_PROGRAM',
        hint: expect.stringContaining('apt-get install fuse-overlayfs') as string,
      })
      expect(existsSync(fresh.home)).toBe(false)
    })

    it('where the program does not work, with what it says', async () => {
      const bin = join(fs.dir, 'bin')
      mkdirSync(bin, { recursive: true })
      writeFileSync(join(bin, 'fuse-overlayfs'), '#!/bin/sh\necho "fuse: no luck" >&2\nexit 3\n')
      chmodSync(join(bin, 'fuse-overlayfs'), 0o755)
      vi.stubEnv('PATH', bin)
      const fresh = openFuseOverlayfs(join(fs.dir, 'none/fuse-overlayfs'), NONE)
      await expect(fresh.prepare()).rejects.toMatchObject({
        code: 'ERR_UNSUPPORTED_FS',
        message: expect.stringContaining('fuse: no luck') as string,
      })
      expect(existsSync(dirname(fresh.home))).toBe(false)
      expect(readdirSync(fs.dir).filter((name) => name.startsWith('.overlaid-probe-'))).toEqual([])
    })
  })

  it('is served by a version that status names', async () => {
    const status = new Map(await driver.status())
    expect(status.get('fuse-overlayfs version')).toMatch(/^\d+\.\d+/)
    expect(status.get('Backing Filesystem')).toBe('tmpfs')
  })
})

function mountLine(path: string): string {
  const lines = readFileSync('/proc/self/mountinfo', 'utf8').split('\n')
  return lines.find((line) => line.split(' ')[4] === path) ?? ''
}
