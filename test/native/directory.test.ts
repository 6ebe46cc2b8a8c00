import { execFileSync } from 'node:child_process'
import { constants, lstatSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { AT_FDCWD, binding } from '../../lib/native/binding.ts'
import { OwnedFd } from '../../lib/native/fd.ts'
import { AT, DT, S } from '../../lib/native/flags.ts'
import { missing } from '../helpers/gates.ts'
import { watchLeaks } from '../helpers/mounts.ts'
import { tempDir, type TempDir } from '../helpers/temp-dir.ts'

let temp: TempDir

describe.skipIf(missing('hasBinding', 'canMknod', 'canTrustedXattr'))('reading directories', () => {
  watchLeaks(() => [temp.path])
  beforeEach(() => {
    temp = tempDir('directory')
  })
  afterEach(() => {
    temp[Symbol.dispose]()
  })

  it('getdents64 gives names as bytes, types and inode numbers', async () => {
    writeFileSync(join(temp.path, 'file'), '')
    mkdirSync(join(temp.path, 'dir'))
    symlinkSync('x', join(temp.path, 'link'))
    execFileSync('mkfifo', [join(temp.path, 'fifo')])
    await binding.mknodat(AT_FDCWD, join(temp.path, 'char'), S.S_IFCHR, 0, 0)
    writeFileSync(Buffer.concat([Buffer.from(`${temp.path}/`), Buffer.from([0xff, 0x0a])]), '')
    using fd = new OwnedFd(await binding.openat(AT_FDCWD, temp.path, constants.O_DIRECTORY, 0))
    const entries = await binding.getdents64(fd.fd)
    const types = Object.fromEntries(entries.map(({ name, type }) => [name.toString('latin1'), type]))
    expect(types).toEqual({
      file: DT.DT_REG,
      dir: DT.DT_DIR,
      link: DT.DT_LNK,
      fifo: DT.DT_FIFO,
      char: DT.DT_CHR,
      'ÿ\n': DT.DT_REG,
    })
    const file = entries.find(({ name }) => name.toString() === 'file')
    expect(file?.ino).toBe(lstatSync(join(temp.path, 'file'), { bigint: true }).ino)
  })

  it('getdents64 reads on to the end of a large directory', async () => {
    for (let i = 0; i < 3000; i++) writeFileSync(join(temp.path, `name-${String(i).padStart(60, '0')}`), '')
    using fd = new OwnedFd(await binding.openat(AT_FDCWD, temp.path, constants.O_DIRECTORY, 0))
    const names = new Set((await binding.getdents64(fd.fd)).map(({ name }) => name.toString()))
    expect(names.size).toBe(3000)
  })

  it('scandirat gives everything of each entry, sorted by bytes', async () => {
    writeFileSync(join(temp.path, 'b'), 'content')
    mkdirSync(join(temp.path, 'a'))
    symlinkSync('../target', join(temp.path, 'Z'))
    for (const [name, value] of [
      ['trusted.z', 'last'],
      ['trusted.a', '\0binary'],
    ] as const) {
      await binding.lsetxattr(join(temp.path, 'b'), name, Buffer.from(value), 0)
      await binding.lsetxattr(join(temp.path, 'Z'), name, Buffer.from(value), 0)
    }
    const entries = await binding.scandirat(AT_FDCWD, temp.path, { xattrs: true })
    expect(entries.map(({ name }) => name.toString())).toEqual(['Z', 'a', 'b'])
    const [link, dir, file] = entries
    expect(link?.target?.toString()).toBe('../target')
    expect(dir).not.toHaveProperty('target')
    for (const entry of [link, file]) {
      expect(entry?.xattrs.filter(({ name }) => name.startsWith('trusted.'))).toEqual([
        { name: 'trusted.a', value: Buffer.from('\0binary') },
        { name: 'trusted.z', value: Buffer.from('last') },
      ])
    }
    expect(file?.stat).toEqual(await binding.statx(AT_FDCWD, join(temp.path, 'b'), 0))
    const bare = await binding.scandirat(AT_FDCWD, temp.path, { xattrs: false })
    expect(bare.map(({ xattrs }) => xattrs.length)).toEqual([0, 0, 0])
  })

  it('scandirat reads a descriptor itself, and follows no link', async () => {
    mkdirSync(join(temp.path, 'dir'))
    symlinkSync('dir', join(temp.path, 'link'))
    using fd = new OwnedFd(await binding.openat(AT_FDCWD, temp.path, constants.O_DIRECTORY, 0))
    expect(await binding.scandirat(fd.fd, '', { xattrs: false })).toHaveLength(2)
    expect(await binding.scandirat(fd.fd, 'dir', { xattrs: false })).toEqual([])
    await expect(binding.scandirat(fd.fd, 'link', { xattrs: false })).rejects.toMatchObject({
      code: 'ENOTDIR',
      path: 'link',
    })
  })

  it('statx says what stat says, and the mount', async () => {
    writeFileSync(join(temp.path, 'file'), 'x'.repeat(5000))
    const stat = await binding.statx(AT_FDCWD, join(temp.path, 'file'), 0)
    const expected = lstatSync(join(temp.path, 'file'), { bigint: true })
    expect(stat).toMatchObject({
      mode: Number(expected.mode),
      ino: expected.ino,
      size: 5000,
      blocks: Number(expected.blocks),
      mtimeSec: Number(expected.mtimeNs / 1_000_000_000n),
      mtimeNsec: Number(expected.mtimeNs % 1_000_000_000n),
      ctimeNsec: Number(expected.ctimeNs % 1_000_000_000n),
    })
    expect(stat.mountID).toBe((await binding.statx(AT_FDCWD, temp.path, 0)).mountID)
    await expect(
      binding.statx(AT_FDCWD, join(temp.path, 'no'), AT.AT_SYMLINK_NOFOLLOW),
    ).rejects.toMatchObject({
      code: 'ENOENT',
      syscall: 'statx',
      flags: ['AT_SYMLINK_NOFOLLOW'],
    })
  })

  it('readlinkat gives the bytes of a link', async () => {
    const target = Buffer.from([0x61, 0xff, 0x2f, 0x80])
    symlinkSync(target, join(temp.path, 'link'))
    expect(await binding.readlinkat(AT_FDCWD, join(temp.path, 'link'))).toEqual(target)
    const long = 'x/'.repeat(2000)
    symlinkSync(long, join(temp.path, 'long'))
    expect((await binding.readlinkat(AT_FDCWD, join(temp.path, 'long'))).toString()).toBe(long)
  })
})
