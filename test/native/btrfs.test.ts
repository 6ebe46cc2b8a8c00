import { execFileSync } from 'node:child_process'
import { constants, mkdirSync, openSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { constants as osConstants } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { AT_FDCWD, binding } from '../../lib/native/binding.ts'
import { OwnedFd } from '../../lib/native/fd.ts'
import { missing } from '../helpers/gates.ts'
import { type FileSystemKind, type LoopFileSystem, loopFileSystem } from '../helpers/loopfs.ts'
import { watchLeaks } from '../helpers/mounts.ts'
import { MIB } from '../helpers/sizes.ts'

const open = (path: string): OwnedFd =>
  new OwnedFd(openSync(path, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW))

/** libuv has no name for EDQUOT. */
const OVER_QUOTA: Error = expect.objectContaining({ errno: -osConstants.errno.EDQUOT }) as Error

let fs: LoopFileSystem
const at = (...names: string[]): string => join(fs.dir, ...names)

function onA(kind: FileSystemKind): void {
  watchLeaks(() => [fs.dir])
  beforeEach(() => {
    fs = loopFileSystem(kind)
  })
  afterEach(() => {
    fs.dispose()
  })
}

/** Makes the subvolume `name` in `folder`. */
async function create(folder: string, name: string): Promise<string> {
  using dir = open(folder)
  await binding.btrfsSubvolCreate(dir.fd, name)
  return join(folder, name)
}

async function snapshot(of: string, folder: string, name: string, readOnly = false): Promise<string> {
  using source = open(of)
  using dir = open(folder)
  await binding.btrfsSnapCreate(source.fd, dir.fd, name, { readOnly })
  return join(folder, name)
}

/** All subvolumes that there are, by btrfs' own tool. */
const subvolumes = (): string[] =>
  execFileSync('btrfs', ['subvolume', 'list', fs.dir], { encoding: 'utf8' })
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => line.slice(line.indexOf(' path ') + ' path '.length))
    .sort()

describe.skipIf(missing('hasBinding', 'canLoop', 'hasBtrfs'))('subvolumes', () => {
  onA('btrfs')

  it('are made, hold files, and have the inode number 256', async () => {
    const path = await create(fs.dir, 'sub')
    expect(statSync(path).ino).toBe(256)
    expect(statSync(path).dev).not.toBe(statSync(fs.dir).dev)
    expect(subvolumes()).toEqual(['sub'])
  })

  it('are copied with what is in them, and go their own ways', async () => {
    const path = await create(fs.dir, 'sub')
    writeFileSync(join(path, 'file'), 'before')
    const copy = await snapshot(path, fs.dir, 'copy')
    writeFileSync(join(path, 'file'), 'after')
    expect(readFileSync(join(copy, 'file'), 'utf8')).toBe('before')
    writeFileSync(join(copy, 'file'), 'elsewhere')
    expect(readFileSync(join(path, 'file'), 'utf8')).toBe('after')
  })

  it('are copied read-only when asked to', async () => {
    const copy = await snapshot(await create(fs.dir, 'sub'), fs.dir, 'copy', true)
    expect(() => writeFileSync(join(copy, 'file'), '')).toThrow(/EROFS/)
  })

  it('go with all that is in them, unless that is another', async () => {
    const path = await create(fs.dir, 'sub')
    mkdirSync(join(path, 'dir'))
    writeFileSync(join(path, 'dir/file'), '')
    using dir = open(fs.dir)
    const inner = await create(join(path, 'dir'), 'inner')
    await expect(binding.btrfsSnapDestroy(dir.fd, 'sub')).rejects.toMatchObject({
      code: 'ENOTEMPTY',
      syscall: 'BTRFS_IOC_SNAP_DESTROY',
      path: 'sub',
    })
    using holder = open(join(path, 'dir'))
    await binding.btrfsSnapDestroy(holder.fd, 'inner')
    expect(() => statSync(inner)).toThrow(/ENOENT/)
    await binding.btrfsSnapDestroy(dir.fd, 'sub')
    expect(readdirSync(fs.dir)).toEqual([])
  })

  it('say what is wrong by their call and the name', async () => {
    const path = await create(fs.dir, 'sub')
    mkdirSync(at('folder'))
    using dir = open(fs.dir)
    using sub = open(path)
    using folder = open(at('folder'))
    const fails = (work: Promise<void>, code: string, syscall: string): Promise<void> =>
      expect(work).rejects.toMatchObject({ code, syscall: `BTRFS_IOC_${syscall}` })
    await fails(binding.btrfsSubvolCreate(dir.fd, 'sub'), 'EEXIST', 'SUBVOL_CREATE')
    await fails(binding.btrfsSubvolCreate(dir.fd, 'a/b'), 'EINVAL', 'SUBVOL_CREATE')
    await fails(binding.btrfsSubvolCreate(dir.fd, 'x'.repeat(5000)), 'ENAMETOOLONG', 'SUBVOL_CREATE')
    await fails(binding.btrfsSnapCreate(folder.fd, dir.fd, 'copy', {}), 'EINVAL', 'SNAP_CREATE_V2')
    await fails(
      binding.btrfsSnapCreate(sub.fd, dir.fd, 'x'.repeat(5000), {}),
      'ENAMETOOLONG',
      'SNAP_CREATE_V2',
    )
    await fails(binding.btrfsSnapDestroy(dir.fd, 'folder'), 'EINVAL', 'SNAP_DESTROY')
    await fails(binding.btrfsSnapDestroy(dir.fd, 'none'), 'ENOENT', 'SNAP_DESTROY')
    await fails(binding.btrfsSnapDestroy(dir.fd, 'x'.repeat(5000)), 'ENAMETOOLONG', 'SNAP_DESTROY')
    await fails(binding.btrfsSubvolCreate(-1, 'sub'), 'EBADF', 'SUBVOL_CREATE')
  })
})

describe.skipIf(missing('hasBinding', 'canLoop', 'hasBtrfs'))('removeTree of subvolumes', () => {
  onA('btrfs')

  it('takes those below along, whatever they are in, and read-only ones', async () => {
    mkdirSync(at('tree'))
    const top = await create(at('tree'), 'top')
    mkdirSync(join(top, 'a/b'), { recursive: true })
    const inner = await create(join(top, 'a/b'), 'inner')
    writeFileSync(join(inner, 'file'), 'x')
    const innermost = await create(inner, 'innermost')
    await snapshot(innermost, top, 'read-only', true)
    await create(fs.dir, 'kept')
    expect(subvolumes()).toHaveLength(5)
    await binding.removeTree(AT_FDCWD, at('tree'))
    expect(readdirSync(fs.dir)).toEqual(['kept'])
    expect(subvolumes()).toEqual(['kept'])
  })

  it('takes one as a whole: what no unlink removes goes with it', async () => {
    const path = await create(fs.dir, 'top')
    const inner = await create(path, 'inner')
    for (const folder of [path, inner]) {
      writeFileSync(join(folder, 'file'), 'x')
      execFileSync('chattr', ['+i', join(folder, 'file')])
    }
    await binding.removeTree(AT_FDCWD, path)
    expect(subvolumes()).toEqual([])
  })

  it('takes them one in the other, deeper than a process may have files open', async () => {
    let path = await create(fs.dir, 'top')
    for (let depth = 0; depth < 60; depth++) path = await create(path, 'next')
    await binding.removeTree(AT_FDCWD, at('top'))
    expect(subvolumes()).toEqual([])
  })

  it('does not mind that something in them is open', async () => {
    const path = await create(fs.dir, 'top')
    writeFileSync(join(path, 'file'), 'still here')
    using file = new OwnedFd(openSync(join(path, 'file'), 'r'))
    await binding.removeTree(AT_FDCWD, path)
    expect(readFileSync(file.fd, 'utf8')).toBe('still here')
  })

  it('goes entry by entry where it may not destroy any', async () => {
    const path = await create(fs.dir, 'top')
    mkdirSync(join(path, 'dir'))
    writeFileSync(join(path, 'dir/file'), 'x')
    await create(path, 'inner')
    // Without CAP_SYS_ADMIN the ioctl is EPERM; rmdir(2) of an empty subvolume is not (4.18).
    const script = `
      const { createRequire } = await import('node:module')
      const addon = createRequire(import.meta.url)(root + '/node_modules/node-gyp-build')(root)
      await addon.removeTree(-100, path)`
    const code = `const root = ${JSON.stringify(join(import.meta.dirname, '../..'))}
      const path = ${JSON.stringify(path)}\n${script}`
    const bounded = ['--bounding-set=-sys_admin', '--inh-caps=-sys_admin', process.execPath]
    execFileSync('setpriv', [...bounded, '--input-type=module', '-e', code], { stdio: 'pipe' })
    expect(subvolumes()).toEqual([])
  })
})

describe.skipIf(missing('hasBinding', 'canLoop', 'hasBtrfs'))('quota groups', () => {
  onA('btrfs')

  it('are none before quotas are on', async () => {
    using sub = open(await create(fs.dir, 'sub'))
    expect(await binding.btrfsQgroup(sub.fd)).toBeUndefined()
    await expect(binding.btrfsQgroupLimit(sub.fd, { exclusive: MIB })).rejects.toMatchObject({
      code: 'ENOTCONN',
      syscall: 'BTRFS_IOC_QGROUP_LIMIT',
    })
    await expect(binding.btrfsQuotaRescan(sub.fd)).rejects.toMatchObject({
      syscall: 'BTRFS_IOC_QUOTA_RESCAN',
    })
  })

  it('count what was there, and what is a snapshot alone', async () => {
    const path = await create(fs.dir, 'sub')
    writeFileSync(join(path, 'file'), Buffer.alloc(8 * MIB, 1))
    using sub = open(path)
    await binding.syncfs(sub.fd)
    await binding.btrfsQuotaEnable(sub.fd)
    await binding.btrfsQuotaEnable(sub.fd)
    await binding.btrfsQuotaRescanWait(sub.fd)
    const copy = await snapshot(path, fs.dir, 'copy')
    writeFileSync(join(copy, 'own'), Buffer.alloc(2 * MIB, 2))
    using dir = open(copy)
    await binding.syncfs(dir.fd)
    const qgroup = await binding.btrfsQgroup(dir.fd)
    expect(qgroup).toMatchObject({ inconsistent: false })
    expect(qgroup).not.toHaveProperty('maxExclusive')
    const { referenced = 0n, exclusive = 0n } = qgroup ?? {}
    expect(referenced >= 10n * BigInt(MIB)).toBe(true)
    expect(exclusive >= 2n * BigInt(MIB) && exclusive < 3n * BigInt(MIB)).toBe(true)
  })

  it('stop a subvolume at its limit, with EDQUOT, until that is taken away', async () => {
    const path = await create(fs.dir, 'sub')
    using sub = open(path)
    await binding.btrfsQuotaEnable(sub.fd)
    await binding.btrfsQuotaRescanWait(sub.fd)
    await binding.btrfsQgroupLimit(sub.fd, { exclusive: 4 * MIB })
    expect(await binding.btrfsQgroup(sub.fd)).toMatchObject({ maxExclusive: BigInt(4 * MIB) })
    expect(() => writeFileSync(join(path, 'file'), Buffer.alloc(8 * MIB, 1))).toThrow(OVER_QUOTA)
    await binding.btrfsQgroupLimit(sub.fd, {})
    expect(await binding.btrfsQgroup(sub.fd)).not.toHaveProperty('maxExclusive')
    writeFileSync(join(path, 'file'), Buffer.alloc(8 * MIB, 1))
  })

  it('are counted anew', async () => {
    using sub = open(await create(fs.dir, 'sub'))
    await binding.btrfsQuotaEnable(sub.fd)
    await binding.btrfsQuotaRescanWait(sub.fd)
    await binding.btrfsQuotaRescan(sub.fd)
    await binding.btrfsQuotaRescanWait(sub.fd)
    expect(await binding.btrfsQgroup(sub.fd)).toMatchObject({ inconsistent: false })
  })
})

describe.skipIf(missing('hasBinding', 'canLoop'))('on ext4', () => {
  onA('ext4')

  it('the calls are ENOTTY', async () => {
    mkdirSync(at('folder'))
    using dir = open(fs.dir)
    using folder = open(at('folder'))
    const calls: readonly (readonly [string, () => Promise<unknown>])[] = [
      ['SUBVOL_CREATE', () => binding.btrfsSubvolCreate(dir.fd, 'sub')],
      ['SNAP_CREATE_V2', () => binding.btrfsSnapCreate(folder.fd, dir.fd, 'copy', {})],
      ['SNAP_DESTROY', () => binding.btrfsSnapDestroy(dir.fd, 'folder')],
      ['QUOTA_CTL', () => binding.btrfsQuotaEnable(dir.fd)],
      ['QUOTA_RESCAN', () => binding.btrfsQuotaRescan(dir.fd)],
      ['QUOTA_RESCAN_WAIT', () => binding.btrfsQuotaRescanWait(dir.fd)],
      ['QGROUP_LIMIT', () => binding.btrfsQgroupLimit(dir.fd, { exclusive: MIB })],
      ['INO_LOOKUP', () => binding.btrfsQgroup(dir.fd)],
    ]
    for (const [name, call] of calls) {
      await expect(call(), name).rejects.toMatchObject({ code: 'ENOTTY', syscall: `BTRFS_IOC_${name}` })
    }
  })
})

describe.skipIf(missing('hasBinding', 'canMount'))('on a tmpfs', () => {
  onA('tmpfs')

  it('removeTree takes the inode number 256 for what it is there', async () => {
    for (let count = 0; count < 300; count++) mkdirSync(at(`tree/${String(count)}`), { recursive: true })
    for (let count = 0; count < 300; count += 2) writeFileSync(at(`tree/${String(count)}/file`), '')
    const inodes = readdirSync(at('tree')).map((name) => statSync(at('tree', name)).ino)
    expect(inodes).toContain(256)
    await binding.removeTree(AT_FDCWD, at('tree'))
    expect(readdirSync(fs.dir)).toEqual([])
  })
})
