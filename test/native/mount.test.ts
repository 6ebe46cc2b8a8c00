import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import {
  closeSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { parseMountInfo } from '../../lib/fs/mountinfo.ts'
import { AT_FDCWD, binding } from '../../lib/native/binding.ts'
import { bootID } from '../../lib/native/boot-id.ts'
import { OwnedFd } from '../../lib/native/fd.ts'
import { AT, LSMT_ROOT, MNT, MOUNT_ATTR, MOVE_MOUNT, MS, ST } from '../../lib/native/flags.ts'
import {
  attach,
  attachInProcess,
  cloneMount,
  unmount,
  unmountInProcess,
  unmountLeaving,
} from '../../lib/native/mount.ts'
import { probeCapabilities } from '../../lib/native/probe.ts'
import { bestRung, RUNGS } from '../../lib/native/rung.ts'
import { OVERLAYFS_MAGIC } from '../../lib/native/statfs.ts'
import { missing } from '../helpers/gates.ts'
import { mountsBelow } from '../../lib/driver-suite/leaks.ts'
import { watchLeaks } from '../helpers/mounts.ts'
import { tempDir, type TempDir } from '../helpers/temp-dir.ts'

let temp: TempDir
let root: string
const at = (name: string): string => join(root, name)

describe.skipIf(missing('hasBinding', 'canMount', 'hasFsopen'))('mounting', () => {
  watchLeaks(() => [root])
  beforeEach(async () => {
    temp = tempDir('native-mount')
    root = join(temp.path, 'root')
    mkdirSync(root)
    await binding.mount('none', root, 'tmpfs', 0, '')
    for (const name of ['a', 'b', 'up', 'work', 'm']) mkdirSync(at(name))
  })
  afterEach(async () => {
    await binding.umount2(root, 0)
    temp[Symbol.dispose]()
  })

  it('mount and umount2, by name', async () => {
    await binding.mount('overlay', at('m'), 'overlay', MS.MS_NOSUID, `lowerdir=${at('a')}:${at('b')}`)
    expect((await binding.statfs(at('m'))).type).toBe(OVERLAYFS_MAGIC)
    await binding.umount2(at('m'), MNT.UMOUNT_NOFOLLOW)
    expect(mountsBelow(at('m'))).toEqual([])
  })

  it('umount2 says that a mount is busy', async () => {
    await binding.mount('none', at('m'), 'tmpfs', 0, '')
    writeFileSync(at('m/file'), '')
    const fd = openSync(at('m/file'), 'r')
    await expect(unmount(at('m'))).rejects.toMatchObject({
      code: 'EBUSY',
      hint: expect.any(String) as string,
    })
    await unmount(at('m'), { detach: true })
    expect(mountsBelow(at('m'))).toEqual([])
    closeSync(fd)
  })

  it('unmount does not follow a link', async () => {
    await binding.mount('none', at('m'), 'tmpfs', 0, '')
    symlinkSync('m', at('link'))
    await expect(unmount(at('link'))).rejects.toMatchObject({ code: 'EINVAL' })
    await unmount(at('m'))
  })

  it('one call for each step of a context', async () => {
    using context = new OwnedFd(await binding.fsopen('overlay', 0))
    await binding.fsconfigSetString(context.fd, 'lowerdir', `${at('a')}:${at('b')}`)
    await binding.fsconfigSetFlag(context.fd, 'ro')
    await binding.fsconfigCreate(context.fd)
    const mount = new OwnedFd(await binding.fsmount(context.fd, 0, MOUNT_ATTR.MOUNT_ATTR_NODEV))
    await binding.moveMount(mount.fd, '', AT_FDCWD, at('m'), MOVE_MOUNT.MOVE_MOUNT_F_EMPTY_PATH)
    mount.close()
    expect(mountsBelow(at('m'))).toEqual([at('m')])
    await unmount(at('m'))
  })

  it("the context's own words are in the error", async () => {
    using context = new OwnedFd(await binding.fsopen('overlay', 0))
    await expect(binding.fsconfigSetString(context.fd, 'nonsense', 'x')).rejects.toMatchObject({
      code: 'EINVAL',
      syscall: 'fsconfig',
      path: 'nonsense',
      dest: 'x',
      detail: [expect.stringContaining("Unknown parameter 'nonsense'") as string],
      message: expect.stringContaining("Unknown parameter 'nonsense'") as string,
    })
    // Taken away by reading: the next failure has its own alone.
    await expect(binding.fsconfigSetString(context.fd, 'xino', 'maybe')).rejects.toMatchObject({
      detail: [expect.not.stringContaining('nonsense') as string],
    })
  })

  it('a whole context in one call, and the parameter that failed', async () => {
    const lower = (path: string) => ({ key: 'lowerdir+', path, byName: true })
    const mount = await binding.fsmountConfigured(
      'overlay',
      root,
      [lower('a'), lower(at('b')), { key: 'ro' }],
      0,
    )
    expect(mount).toMatchObject({ type: OVERLAYFS_MAGIC, flags: expect.any(Number) as number })
    expect(mount.flags & ST.ST_RDONLY).toBe(ST.ST_RDONLY)
    expect((await binding.statx(mount.fd, '', AT.AT_EMPTY_PATH)).mountID).toBe(mount.mountID)
    closeSync(mount.fd)
    await expect(
      binding.fsmountConfigured('overlay', root, [lower('a'), lower('gone')], 0),
    ).rejects.toMatchObject({ code: 'ENOENT', syscall: 'openat', path: 'gone', index: 1 })
    await expect(
      binding.fsmountConfigured('overlay', root, [lower('a'), { key: 'index', value: 'perhaps' }], 0),
    ).rejects.toMatchObject({ code: 'EINVAL', path: 'index', index: 1 })
    await expect(binding.fsmountConfigured('nofs', root, [], 0)).rejects.toMatchObject({
      code: 'ENODEV',
      syscall: 'fsopen',
      hint: expect.any(String) as string,
    })
  })

  it('mountDetached mounts in nobody’s table, with names from its working directory', async () => {
    const before = process.cwd()
    const { fd, mountinfo } = await binding.mountDetached(root, 'x', root, 'overlay', 0, 'lowerdir=a:b')
    const mount = new OwnedFd(fd)
    expect(process.cwd()).toBe(before)
    expect(mountsBelow(root)).toEqual([root])
    const [shown] = parseMountInfo(mountinfo)
    expect(shown).toMatchObject({ fsType: 'overlay', source: 'x' })
    expect(shown?.superOptions).toContain('lowerdir=a:b')
    await attach(mount.fd, at('m'))
    // Open, it would be a file of the mount that is in use.
    mount.close()
    await unmount(at('m'))
  })

  it('mountDetached binds with flags', async () => {
    writeFileSync(at('a/file'), '')
    const flags = MS.MS_BIND | MS.MS_RDONLY | MS.MS_NOEXEC
    using mount = new OwnedFd((await binding.mountDetached(root, 'a', root, '', flags, '')).fd)
    const path = `/proc/self/fd/${String(mount.fd)}`
    expect(readdirSync(path)).toEqual(['file'])
    expect(() => {
      writeFileSync(join(path, 'new'), '')
    }).toThrow(expect.objectContaining({ code: 'EROFS' }))
  })

  it('mountDetached leaves no namespace behind that would keep the file system busy', async () => {
    for (let i = 0; i < 5; i++) {
      await binding.mount('none', at('m'), 'tmpfs', 0, '')
      closeSync((await binding.mountDetached(root, 'x', root, 'overlay', 0, 'lowerdir=a:b')).fd)
      const { ino } = await binding.statx(AT_FDCWD, at('m'), 0)
      expect(ino).toBeGreaterThan(0n)
      await binding.umount2(at('m'), 0)
    }
    await expect(binding.mountDetached(root, 'x', root, 'overlay', 0, 'lowerdir=a')).rejects.toMatchObject({
      code: 'EINVAL',
      syscall: 'mount',
    })
  })

  it('statmount and listmount tell what mountinfo tells', async () => {
    await binding.mount('src', at('m'), 'tmpfs', MS.MS_NOSUID | MS.MS_NODEV, 'size=1m')
    const { mountID } = await binding.statx(AT_FDCWD, at('m'), 0)
    const info = await binding.statmount(mountID)
    const table = parseMountInfo(readFileSync('/proc/self/mountinfo'))
    const expected = table.find(({ mountPoint }) => mountPoint.toString() === at('m'))
    expect(info).toMatchObject({ fsType: 'tmpfs', mountPoint: Buffer.from(at('m')), root: Buffer.from('/') })
    expect(info.superOptions).toBe(expected?.superOptions)
    expect(expected?.options.replace(',relatime', '')).toBe(info.options)
    const { mountID: parent } = await binding.statx(AT_FDCWD, root, 0)
    expect(info.parentID).toBe(parent)
    expect(await binding.listmount(parent)).toEqual([mountID])
    expect(await binding.listmount(LSMT_ROOT)).toContain(mountID)
    await unmount(at('m'))
    await expect(binding.statmount(mountID)).rejects.toMatchObject({ code: 'ENOENT', syscall: 'statmount' })
  })

  it('cloneMount gives attributes to the clone alone', async () => {
    await binding.mount('none', at('m'), 'tmpfs', 0, '')
    const attributes = MOUNT_ATTR.MOUNT_ATTR_RDONLY | MOUNT_ATTR.MOUNT_ATTR_NOATIME
    const { fd, mountID } = await cloneMount(at('m'), attributes)
    using clone = fd
    expect((await binding.statx(AT_FDCWD, at('m'), 0)).mountID).not.toBe(mountID)
    writeFileSync(at('m/new'), '')
    expect(readdirSync(`/proc/self/fd/${String(clone.fd)}`)).toEqual(['new'])
    expect((await binding.fstatfs(clone.fd)).flags & 1).toBe(1)
    expect((await binding.statfs(at('m'))).flags & 1).toBe(0)
    await unmount(at('m'))
  })

  it('unmountIf unmounts the mount it is given and no other', async () => {
    await binding.mount('none', at('m'), 'tmpfs', 0, '')
    const { mountID } = await binding.statx(AT_FDCWD, at('m'), 0)
    await binding.mount('none', at('m'), 'tmpfs', 0, '')
    const { mountID: above } = await binding.statx(AT_FDCWD, at('m'), 0)
    expect(await binding.unmountIf(at('m'), mountID, 0)).toBe(above)
    expect(mountsBelow(root)).toHaveLength(3)
    const held = openSync(at('m'), 'r')
    await expect(binding.unmountIf(at('m'), above, 0)).rejects.toMatchObject({
      code: 'EBUSY',
      syscall: 'umount2',
      path: at('m'),
    })
    closeSync(held)
    expect(await binding.unmountIf(at('m'), above, 0)).toBe(above)
    expect(await binding.unmountIf(at('m'), mountID, 0)).toBe(mountID)
    expect(mountsBelow(root)).toEqual([root])
    expect(await binding.unmountIf(at('m'), mountID, 0)).toBeUndefined()
    expect(await binding.unmountIf(at('gone/m'), mountID, 0)).toBeUndefined()
  })

  it('unmountLeaving leaves the file system to what it gives', async () => {
    const overlay = `lowerdir=${at('a')},upperdir=${at('up')},workdir=${at('work')}`
    await binding.mount('overlay', at('m'), 'overlay', 0, overlay)
    writeFileSync(at('m/new'), 'content')
    const rest = await unmountLeaving(at('m'))
    expect([mountsBelow(at('m')), readdirSync(at('m'))]).toEqual([[], []])
    expect(readFileSync(`/proc/self/fd/${String(rest?.fd)}/new`, 'utf8')).toBe('content')
    await rest?.closeAsync()
    expect(readFileSync(at('up/new'), 'utf8')).toBe('content')
  })

  it('unmountLeaving unmounts the mount it is given and no other', async () => {
    await binding.mount('none', at('m'), 'tmpfs', 0, '')
    const { mountID } = await binding.statx(AT_FDCWD, at('m'), 0)
    await binding.mount('none', at('m'), 'tmpfs', 0, '')
    expect(await unmountLeaving(at('m'), mountID)).toBeUndefined()
    expect(mountsBelow(root)).toHaveLength(3)
    await unmount(at('m'))
    const rest = await unmountLeaving(at('m'), mountID)
    expect(rest).toBeDefined()
    await rest?.closeAsync()
    expect(await unmountLeaving(at('m'), mountID)).toBeUndefined()
    expect(await unmountLeaving(at('gone/m'), mountID)).toBeUndefined()
    expect(mountsBelow(root)).toEqual([root])
  })

  it('unmountLeaving leaves a mount that is busy, and what is none, as it is', async () => {
    await binding.mount('none', at('m'), 'tmpfs', 0, '')
    writeFileSync(at('m/file'), '')
    const held = openSync(at('m/file'), 'r')
    const busy = { code: 'EBUSY', syscall: 'umount2', path: at('m') }
    await expect(unmountLeaving(at('m'))).rejects.toMatchObject(busy)
    expect(readdirSync(at('m'))).toEqual(['file'])
    closeSync(held)
    await (await unmountLeaving(at('m')))?.closeAsync()
    await expect(unmountLeaving(at('m'))).rejects.toMatchObject({ code: 'EINVAL', syscall: 'umount2' })
    expect(await unmountLeaving(at('gone'))).toBeUndefined()
    expect(mountsBelow(root)).toEqual([root])
  })

  it('unmountLeaving leaves a mount that cannot be cloned to others', async () => {
    await binding.mount('none', at('m'), 'tmpfs', 0, '')
    await binding.mount('none', at('m'), '', MS.MS_UNBINDABLE, '')
    expect(await unmountLeaving(at('m'))).toBeUndefined()
    expect(mountsBelow(at('m'))).toEqual([at('m')])
    await unmount(at('m'))
  })

  it('fails on what is no mount and no place', async () => {
    using fd = new OwnedFd(openSync(at('a'), 'r'))
    await expect(attach(fd.fd, at('m'))).rejects.toMatchObject({ code: 'EINVAL', syscall: 'move_mount' })
    await expect(binding.openTree(AT_FDCWD, at('no'), 0)).rejects.toMatchObject({ code: 'ENOENT' })
    await expect(
      binding.mountSetattr(fd.fd, '', AT.AT_EMPTY_PATH, { set: MOUNT_ATTR.MOUNT_ATTR_RDONLY }),
    ).rejects.toMatchObject({ code: 'EINVAL', flags: ['MOUNT_ATTR_RDONLY'] })
    await expect(attachInProcess(2 ** 30, fd.fd, '/')).rejects.toMatchObject({
      code: 'ENOENT',
      syscall: 'openat',
    })
  })

  describe('in another mount namespace', () => {
    let child: ChildProcess
    beforeEach(async () => {
      child = spawn('unshare', ['-m', 'sh', '-c', 'echo; exec sleep 600'], {
        stdio: ['ignore', 'pipe', 'inherit'],
      })
      if (child.stdout !== null) await once(child.stdout, 'data')
    })
    afterEach(async () => {
      child.kill('SIGKILL')
      await once(child, 'exit')
    })

    it('attaches and unmounts there, and this process stays where it is', async () => {
      writeFileSync(at('a/file'), '')
      const before = [process.cwd(), ownNamespace(), mountsBelow(root)]
      const { fd: clone } = await cloneMount(at('a'))
      await attachInProcess(child.pid ?? 0, clone.fd, at('m'))
      clone.close()
      expect(readdirSync(`/proc/${String(child.pid)}/root${at('m')}`)).toEqual(['file'])
      expect(readdirSync(at('m'))).toEqual([])
      await unmountInProcess(child.pid ?? 0, at('m'), 0)
      expect(readdirSync(`/proc/${String(child.pid)}/root${at('m')}`)).toEqual([])
      expect([process.cwd(), ownNamespace(), mountsBelow(root)]).toEqual(before)
    })

    it('says what fails there', async () => {
      using clone = (await cloneMount(at('a'))).fd
      await expect(attachInProcess(child.pid ?? 0, clone.fd, '/no/such')).rejects.toMatchObject({
        code: 'ENOENT',
        syscall: 'move_mount',
        dest: '/no/such',
      })
      using file = new OwnedFd(openSync(at('a/../a'), 'r'))
      await expect(binding.umount2In(file.fd, at('m'), 0)).rejects.toMatchObject({
        code: 'EINVAL',
        syscall: 'setns',
      })
    })
  })

  it('pidfdOpen opens a process', async () => {
    using fd = new OwnedFd(await binding.pidfdOpen(process.pid))
    expect(fd.fd).toBeGreaterThan(2)
    await expect(binding.pidfdOpen(2 ** 22 + 1)).rejects.toMatchObject({
      code: 'ESRCH',
      syscall: 'pidfd_open',
    })
  })

  it('probeCapabilities tries everything and leaves nothing', async () => {
    const before = readdirSync(root)
    const found = await probeCapabilities(root)
    expect(readdirSync(root)).toEqual(before)
    expect(mountsBelow(root)).toEqual([root])
    // What the tests above have just used; the rest depends on the kernel.
    expect(found).toMatchObject({
      fsopen: true,
      overlay: true,
      whiteout: true,
      trustedXattr: true,
      dType: true,
    })
    expect(found.layerFds).toBe((await bestRung()) === 'fds')
    expect(Object.values(found).every((value) => typeof value === 'boolean')).toBe(true)
  })

  it('probeCapabilities says no where nothing can be written', async () => {
    await binding.mount('none', at('m'), 'tmpfs', MS.MS_RDONLY, '')
    const found = await probeCapabilities(at('m'))
    expect(found).toMatchObject({ overlay: false, whiteout: false, trustedXattr: false })
    await unmount(at('m'))
  })

  it('the rung and the boot are known', async () => {
    expect(RUNGS).toContain(await bestRung())
    expect(bootID()).toMatch(/^[0-9a-f-]{36}$/)
  })
})

/** Not its whole table: other processes mount too. */
function ownNamespace(): string {
  return readlinkSync('/proc/thread-self/ns/mnt')
}
