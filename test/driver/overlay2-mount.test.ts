import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  chmodSync,
  closeSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest'
import { mountOverlay, type OverlayRequest } from '../../lib/driver/overlay2/mount.ts'
import { countLowers } from '../../lib/driver/overlay2/shown-options.ts'
import { binding } from '../../lib/native/binding.ts'
import { MNT, S } from '../../lib/native/flags.ts'
import { attach, attachInProcess, cloneMount, unmount, unmountInProcess } from '../../lib/native/mount.ts'
import { bestRung, RUNGS } from '../../lib/native/rung.ts'
import { missing } from '../helpers/gates.ts'
import { watchLeaks } from '../helpers/mounts.ts'
import { tempDir } from '../helpers/temp-dir.ts'

/** The rungs of this kernel: all below the best one. */
const rungs = RUNGS.slice(RUNGS.indexOf(await bestRung()))

const temp = tempDir('mount')
const home = join(temp.path, 'home')

describe.skipIf(missing('hasBinding', 'canMount'))('mountOverlay', () => {
  watchLeaks(() => [home])
  beforeEach(async () => {
    mkdirSync(home)
    await binding.mount('none', home, 'tmpfs', 0, '')
    mkdirSync(join(home, 'l'))
    for (const name of ['diff', 'work']) mkdirSync(join(home, 'top', name), { recursive: true })
    mkdirSync(join(home, 'merged'))
  })
  afterEach(async () => {
    await binding.umount2(home, 0)
    rmSync(home, { recursive: true })
  })
  afterAll(() => {
    temp[Symbol.dispose]()
  })

  describe.each(rungs)('by %s', (via) => {
    const depths = [1, 2, 40, 128, 500].filter((depth) => via !== 'mount2' || depth <= 128)

    it.each(depths)('shows a read-only chain of %i layers', async (depth) => {
      const root = await mountAt({ home, lowers: layers(depth), via })
      expect(readFileSync(join(root, 'same'), 'utf8')).toBe('layer 0')
      for (const i of [0, depth >> 1, depth - 1]) {
        expect(readFileSync(join(root, `only-${String(i)}`), 'utf8')).toBe(`layer ${String(i)}`)
      }
      expect(() => writeFileSync(join(root, 'new'), '')).toThrow(expect.objectContaining({ code: 'EROFS' }))
      await unmount(root)
    })

    it.each(depths)('shows a writable chain of %i layers', async (depth) => {
      const root = await mountAt({ ...writable(layers(depth)), via })
      expect(readFileSync(join(root, `only-${String(depth - 1)}`), 'utf8')).toBe(`layer ${String(depth - 1)}`)
      writeFileSync(join(root, 'same'), 'upper')
      rmSync(join(root, 'only-0'))
      await unmount(root)
      expect(readFileSync(join(home, 'top/diff/same'), 'utf8')).toBe('upper')
      expect(readdirSync(join(home, 'top/diff')).sort()).toEqual(['only-0', 'same'])
    })

    it('refuses more layers than the kernel stacks, before asking it', async () => {
      const limit = via === 'mount2' ? 128 : 500
      const lowers = Array.from({ length: limit + 1 }, (_, i) => `l/missing-${String(i)}`)
      await expect(mountOverlay({ home, lowers, via })).rejects.toMatchObject({
        code: 'ERR_CHAIN_TOO_DEEP',
        message: `${String(limit + 1)} layers, and overlayfs stacks ${String(limit)} here`,
      })
    })

    it.each([
      ['colon', Buffer.from(':a:b:')],
      ['comma', Buffer.from('a,b,')],
      ['backslash', Buffer.from('a\\b\\')],
      ['space, tab and newline', Buffer.from('a b\tc\nd')],
      ['quotes and a hash', Buffer.from(`"a'#b`)],
      ['bytes that are not UTF-8', Buffer.from([0x61, 0xff, 0xfe, 0x62])],
      ['everything at once', Buffer.from([0x5c, 0x3a, 0x2c, 0x5c, 0x5c, 0x20, 0x80, 0x3a])],
    ])('takes names with a %s', async (_, name) => {
      const at = (suffix: string): Buffer =>
        Buffer.concat([Buffer.from(`${home}/`), name, Buffer.from(suffix)])
      for (const suffix of ['low0', 'low1', 'up', 'work']) mkdirSync(at(suffix))
      writeFileSync(Buffer.concat([at('low0'), Buffer.from('/file')]), 'content')
      const lowers = [at('low0'), at('low1')]
      const root = await mountAt({ home, lowers, upper: at('up'), work: at('work'), via })
      expect(readFileSync(join(root, 'file'), 'utf8')).toBe('content')
      writeFileSync(join(root, 'new'), '')
      await unmount(root)
      expect(readdirSync(at('up'))).toEqual(['new'])
    })

    it('takes a path longer than a string value of fsconfig', async () => {
      const long = Array.from({ length: 6 }, () => 'x'.repeat(60)).join('/')
      mkdirSync(join(home, long, 'up'), { recursive: true })
      for (const name of ['low', 'work']) mkdirSync(join(home, long, name))
      writeFileSync(join(home, long, 'low/file'), '')
      const [lowers, upper, work] = [[`${long}/low`, ...layers(1)], `${long}/up`, `${long}/work`]
      const root = await mountAt({ home, lowers, upper, work, via })
      expect(readdirSync(root).sort()).toEqual(['file', 'only-0', 'same'])
      await unmount(root)
    })

    it('pins redirect_dir and metacopy: the upper is the diff', async () => {
      mkdirSync(join(home, 'dirs/folder'), { recursive: true })
      writeFileSync(join(home, 'dirs/file'), 'data')
      const root = await mountAt({ ...writable(['dirs']), via })
      expect(() => {
        renameSync(join(root, 'folder'), join(root, 'renamed'))
      }).toThrow(expect.objectContaining({ code: 'EXDEV' }))
      chmodSync(join(root, 'file'), 0o600)
      await unmount(root)
      expect(readFileSync(join(home, 'top/diff/file'), 'utf8')).toBe('data')
      expect(await binding.llistxattr(join(home, 'top/diff/file'))).not.toContain('trusted.overlay.metacopy')
    })

    it('pins index: hard links of a lower part at copy-up', async () => {
      mkdirSync(join(home, 'links'))
      writeFileSync(join(home, 'links/a'), 'old')
      linkSync(join(home, 'links/a'), join(home, 'links/b'))
      const root = await mountAt({ ...writable(['links']), via })
      writeFileSync(join(root, 'a'), 'new')
      expect(readFileSync(join(root, 'b'), 'utf8')).toBe('old')
      await unmount(root)
    })

    it('follows redirects and metadata copies when asked', async () => {
      mkdirSync(join(home, 'dirs/folder'), { recursive: true })
      writeFileSync(join(home, 'dirs/file'), 'data')
      const request = { ...writable(['dirs']), via, options: { redirectDir: true, metacopy: true } }
      const root = await mountAt(request)
      renameSync(join(root, 'folder'), join(root, 'renamed'))
      chmodSync(join(root, 'file'), 0o600)
      await unmount(root)
      expect(
        await binding.lgetxattr(join(home, 'top/diff/renamed'), 'trusted.overlay.redirect'),
      ).toBeDefined()
      expect(await binding.lgetxattr(join(home, 'top/diff/file'), 'trusted.overlay.metacopy')).toBeDefined()
      const again = await mountAt({ ...request, options: { ...request.options, readOnly: true } })
      expect(readFileSync(join(again, 'file'), 'utf8')).toBe('data')
      expect(readdirSync(again).sort()).toEqual(['file', 'renamed'])
      await unmount(again)
    })

    it('sets nosuid, nodev, noexec and noatime on the mount', async () => {
      const options = { nosuid: true, nodev: true, noexec: true, noatime: true }
      const root = await mountAt({ ...writable(layers(2)), via, options })
      expect(optionsOf(root)).toBe('rw,nosuid,nodev,noexec,noatime')
      await unmount(root)
      const single = await mountAt({ home, lowers: layers(1), via, options })
      expect(optionsOf(single)).toBe('ro,nosuid,nodev,noexec,noatime')
      await unmount(single)
    })

    it('takes userxattr and xino', async () => {
      const root = await mountAt({ ...writable(layers(2)), via, options: { userxattr: true, xino: 'off' } })
      expect(superOptionsOf(root)).toMatch(/(^|,)userxattr(,|$)/)
      await unmount(root)
    })

    it('shows an upper read-only together with its lowers, twice at once', async () => {
      writeFileSync(join(home, 'top/diff/mine'), '')
      const request = { ...writable(layers(2)), via, options: { readOnly: true } }
      const first = await mountOverlay(request)
      const second = await mountOverlay(request)
      for (const { fd } of [first, second]) {
        const root = `/proc/self/fd/${String(fd.fd)}`
        expect(readdirSync(root).sort()).toEqual(['mine', 'only-0', 'only-1', 'same'])
        expect(() => rmSync(join(root, 'mine'))).toThrow(expect.objectContaining({ code: 'EROFS' }))
        await fd.closeAsync()
      }
      expect(readdirSync(join(home, 'top/work'))).toEqual([])
    })

    it('says which layer is missing', async () => {
      const error: unknown = await mountOverlay({ home, lowers: [...layers(2), 'l/gone'], via }).catch(
        (e: unknown) => e,
      )
      expect(error).toMatchObject({ code: 'ENOENT' })
      if (via !== 'mount2') expect((error as Error).message).toContain('l/gone')
    })

    it('undoes a mount that the kernel made read-only in silence', async () => {
      const request = { ...writable(layers(2)), via }
      // The kernel cannot make work/work: it warns in dmesg, mounts read-only and returns 0.
      execFileSync('chattr', ['+i', await extWork()])
      try {
        const work = join(home, 'ext/work')
        await expect(mountOverlay({ ...request, upper: join(home, 'ext/up'), work })).rejects.toMatchObject({
          code: 'ERR_MOUNT_MISMATCH',
          message:
            'the kernel mounted something else than was asked: it is read-only, though it has an upper',
        })
      } finally {
        execFileSync('chattr', ['-i', join(home, 'ext/work')])
        await binding.umount2(join(home, 'ext'), 0)
      }
    })
  })

  it('knows a chain that mount(2) has cut, and one that it has not', async () => {
    const names = layers(200)
    // Padded with slashes, so that the kernel's cut at 4095 bytes falls between two names and goes unnoticed.
    const kept = Math.floor((4095 - 'lowerdir='.length + 1) / 29)
    const pad = '/'.repeat(4095 - 'lowerdir='.length - (29 * kept - 1))
    const string = `lowerdir=l${pad}${names.join(':').slice(1)}`
    const cut = await binding.mountDetached(home, 'overlay', home, 'overlay', 0, string)
    closeSync(cut.fd)
    expect(countLowers(cut.mountinfo.toString())).toBe(kept)
    const whole = await binding.mountDetached(home, 'overlay', home, 'overlay', 0, string.slice(0, 4095))
    closeSync(whole.fd)
    expect(countLowers(whole.mountinfo.toString())).toBe(kept)
  })

  it('gives a single layer no SELinux context, rather than leave it out in silence', async () => {
    const options = { context: 'system_u:object_r:container_file_t:s0' }
    await expect(mountOverlay({ home, lowers: layers(1), options })).rejects.toMatchObject({
      code: 'ERR_INVALID_ARGUMENT',
    })
  })

  it('binds a single writable layer', async () => {
    for (const via of rungs) {
      const root = await mountAt({ home, lowers: [], upper: 'top/diff', via })
      writeFileSync(join(root, via), '')
      await unmount(root)
    }
    expect(readdirSync(join(home, 'top/diff')).sort()).toEqual([...rungs].sort())
  })

  it('needs a layer, and a work directory between two', async () => {
    await expect(mountOverlay({ home, lowers: [] })).rejects.toMatchObject({ code: 'ERR_INVALID_ARGUMENT' })
    const request = { home, lowers: layers(1), upper: 'top/diff' }
    await expect(mountOverlay(request)).rejects.toMatchObject({ code: 'ERR_INVALID_ARGUMENT' })
  })

  it('refuses a string that mount(2) would cut', async () => {
    const lowers = layers(100).map((name) => `${home}/${name}`)
    await expect(mountOverlay({ home, lowers, via: 'mount2' })).rejects.toMatchObject({
      code: 'ERR_CHAIN_TOO_DEEP',
      message: expect.stringContaining('mount(2) reads 4095') as string,
    })
  })

  it('is read through its descriptor and is in no mount table', async () => {
    for (const via of rungs) {
      const { fd } = await mountOverlay({ ...writable(layers(2)), via })
      expect(readdirSync(`/proc/self/fd/${String(fd.fd)}`).sort()).toEqual(['only-0', 'only-1', 'same'])
      expect(tablesWith(home)).toEqual([])
      await fd.closeAsync()
    }
  })

  it('is gone when its process is killed', async () => {
    const request = JSON.stringify(writable(layers(2)))
    const child = spawn(process.execPath, ['--input-type=module', '-e', holder(request)], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    const [line] = (await once(child.stdout, 'data')) as [Buffer]
    expect(line.toString()).toContain('only-0')
    child.kill('SIGKILL')
    await once(child, 'exit')
    // Nothing holds the tmpfs any more, so afterEach's unmount without MNT_DETACH is the proof.
    expect(tablesWith(home)).toEqual([])
  })

  it('shows in the mount namespace it is moved into, and not here', async () => {
    const child = spawn('unshare', ['-m', 'sh', '-c', 'echo; exec sleep 600'], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    await once(child.stdout, 'data')
    const pid = child.pid ?? 0
    try {
      const { fd } = await mountOverlay(writable(layers(2)))
      await attachInProcess(pid, fd.fd, join(home, 'merged'))
      fd.close()
      expect(readdirSync(join('/proc', String(pid), 'root', home, 'merged')).sort()).toContain('only-1')
      expect(readdirSync(join(home, 'merged'))).toEqual([])
      await unmountInProcess(pid, join(home, 'merged'), MNT.UMOUNT_NOFOLLOW)
      expect(readdirSync(join('/proc', String(pid), 'root', home, 'merged'))).toEqual([])
    } finally {
      child.kill('SIGKILL')
      await once(child, 'exit')
    }
  })

  it('can be cloned: a second mount of the same super block', async () => {
    const root = await mountAt(writable(layers(2)))
    const { fd: clone } = await cloneMount(root)
    writeFileSync(join(root, 'new'), 'seen')
    expect(readFileSync(`/proc/self/fd/${String(clone.fd)}/new`, 'utf8')).toBe('seen')
    await unmount(root)
    expect(readFileSync(`/proc/self/fd/${String(clone.fd)}/new`, 'utf8')).toBe('seen')
    await clone.closeAsync()
  })

  it('hides what a lower hides: whiteouts and opaque directories', async () => {
    mkdirSync(join(home, 'upper-layer/opaque'), { recursive: true })
    mkdirSync(join(home, 'lower-layer/opaque'), { recursive: true })
    writeFileSync(join(home, 'lower-layer/gone'), '')
    writeFileSync(join(home, 'lower-layer/opaque/old'), '')
    await binding.mknodat(-100, join(home, 'upper-layer/gone'), S.S_IFCHR, 0, 0)
    await binding.lsetxattr(join(home, 'upper-layer/opaque'), 'trusted.overlay.opaque', Buffer.from('y'), 0)
    const root = await mountAt({ home, lowers: ['upper-layer', 'lower-layer'] })
    expect(readdirSync(root)).toEqual(['opaque'])
    expect(readdirSync(join(root, 'opaque'))).toEqual([])
    await unmount(root)
  })

  describe('volatile', () => {
    const options = { volatile: true }

    it('is mounted again in the same boot, synced, without the mark', async () => {
      const root = await mountAt({ ...writable(layers(2)), options })
      writeFileSync(join(root, 'kept'), 'data')
      await unmount(root)
      expect(readdirSync(join(home, 'top/work/work/incompat'))).toEqual(['volatile'])
      await mountAt(writable(layers(2)))
      expect(readFileSync(join(root, 'kept'), 'utf8')).toBe('data')
      await unmount(root)
      expect(readdirSync(join(home, 'top/work/work'))).not.toContain('incompat')
    })

    it('is refused after a restart of the machine', async () => {
      const root = await mountAt({ ...writable(layers(2)), options })
      await unmount(root)
      writeFileSync(join(home, 'top/work/overlaid-boot-id'), 'another boot')
      await expect(mountOverlay(writable(layers(2)))).rejects.toMatchObject({ code: 'ERR_VOLATILE_LOST' })
      rmSync(join(home, 'top/work/overlaid-boot-id'))
      await expect(mountOverlay(writable(layers(2)))).rejects.toMatchObject({ code: 'ERR_VOLATILE_LOST' })
    })
  })

  it('propagates nothing from a shared mount while it mounts by mount(2)', async () => {
    execFileSync('mount', ['--make-shared', home])
    const child = spawn('unshare', ['-m', '--propagation', 'slave', 'sh', '-c', 'echo; exec sleep 600'], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    await once(child.stdout, 'data')
    try {
      const { fd } = await mountOverlay({ ...writable(layers(2)), via: 'mount2' })
      expect(tablesWith(home)).toEqual([])
      await fd.closeAsync()
    } finally {
      child.kill('SIGKILL')
      await once(child, 'exit')
    }
  })
})

/** Makes `count` layers and returns their short names, top first; `only-<i>` is in one, `same` in all. */
function layers(count: number): string[] {
  return Array.from({ length: count }, (_, i) => {
    const diff = join(home, `layer-${String(i)}`, 'diff')
    const link = `l/${String(i).padStart(26, '0')}`
    mkdirSync(diff, { recursive: true })
    writeFileSync(join(diff, 'same'), `layer ${String(i)}`)
    writeFileSync(join(diff, `only-${String(i)}`), `layer ${String(i)}`)
    rmSync(join(home, link), { force: true })
    symlinkSync(`../layer-${String(i)}/diff`, join(home, link))
    return link
  })
}

function writable(lowers: string[]): OverlayRequest {
  return { home, lowers, upper: 'top/diff', work: 'top/work' }
}

async function mountAt(request: OverlayRequest): Promise<string> {
  const { fd } = await mountOverlay(request)
  const root = join(home, 'merged')
  await attach(fd.fd, root)
  fd.close()
  return root
}

/** A work directory on a file system with immutable files, and an upper beside it. */
async function extWork(): Promise<string> {
  const image = join(home, 'image')
  mkdirSync(join(home, 'ext'))
  execFileSync('sh', [
    '-c',
    `truncate -s 16M ${image} && mkfs.ext4 -q ${image} && mount -o loop ${image} ${home}/ext`,
  ])
  mkdirSync(join(home, 'ext/up'))
  mkdirSync(join(home, 'ext/work'))
  return join(home, 'ext/work')
}

function mountinfoOf(path: string): string[] {
  const line = readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .find((candidate) => candidate.split(' ')[4] === path)
  return line?.split(' ') ?? []
}

/** The mount's own options, without the atime default that the kernel words as it likes. */
function optionsOf(path: string): string | undefined {
  return mountinfoOf(path)[5]?.replace(',relatime', '')
}

function superOptionsOf(path: string): string {
  return mountinfoOf(path).at(-1) ?? ''
}

/** Processes whose mount table has an overlay with a name below `dir`. */
function tablesWith(dir: string): string[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        const table = readFileSync(`/proc/${pid}/mountinfo`, 'utf8')
        return table.split('\n').some((line) => line.includes(' - overlay ') && line.includes(dir))
      } catch {
        // ENOENT, ESRCH: the process ended.
        return false
      }
    })
}

/** A program that mounts, tells what it sees, and waits to be killed. */
function holder(request: string): string {
  const addon = JSON.stringify(join(import.meta.dirname, '../..'))
  return `
    import { createRequire } from 'node:module'
    import { readdirSync } from 'node:fs'
    const addon = createRequire(import.meta.url)(${addon} + '/node_modules/node-gyp-build')(${addon})
    const { home, lowers, upper, work } = ${request}
    const at = (key, path) => ({ key, path })
    const { fd } = await addon.fsmountConfigured('overlay', home, [
      ...lowers.map((lower) => at('lowerdir+', lower)), at('upperdir', upper), at('workdir', work),
    ], 0)
    console.log(readdirSync('/proc/self/fd/' + fd).join())
    setInterval(() => {}, 1000)
  `
}
