import {
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  statfsSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { AT_FDCWD, binding } from '../../lib/native/binding.ts'
import { OwnedFd } from '../../lib/native/fd.ts'
import { AT, RENAME, RESOLVE, S, XATTR } from '../../lib/native/flags.ts'
import { fsTypeName, fsTypeOf } from '../../lib/native/statfs.ts'
import { missing } from '../helpers/gates.ts'
import { watchLeaks } from '../helpers/mounts.ts'
import { tempDir, type TempDir } from '../helpers/temp-dir.ts'

let temp: TempDir
const at = (name: string): string => join(temp.path, name)

describe.skipIf(missing('hasBinding', 'canMount', 'canMknod', 'canTrustedXattr'))('single files', () => {
  watchLeaks(() => [temp.path])
  beforeEach(() => {
    temp = tempDir('files')
  })
  afterEach(() => {
    temp[Symbol.dispose]()
  })

  describe('extended attributes', () => {
    it('carry bytes, of any length a file system takes', async () => {
      await binding.mount('none', temp.path, 'tmpfs', 0, '')
      try {
        writeFileSync(at('file'), '')
        for (const size of [0, 1, 255, 256, 257, 4096, 65_536]) {
          const value = Buffer.alloc(size, 0xfe)
          await binding.lsetxattr(at('file'), 'trusted.v', value, 0)
          expect(await binding.lgetxattr(at('file'), 'trusted.v')).toEqual(value)
        }
      } finally {
        await binding.umount2(temp.path, 0)
      }
    })

    it('are undefined where they are absent, and listed sorted', async () => {
      writeFileSync(at('file'), '')
      expect(await binding.lgetxattr(at('file'), 'trusted.none')).toBeUndefined()
      for (const name of ['trusted.b', 'trusted.c', 'trusted.a']) {
        await binding.lsetxattr(at('file'), name, Buffer.from(name), 0)
      }
      expect(await binding.llistxattr(at('file'))).toEqual(['trusted.a', 'trusted.b', 'trusted.c'])
      await binding.lremovexattr(at('file'), 'trusted.b')
      using fd = new OwnedFd(openSync(at('file'), 'r'))
      expect(await binding.flistxattr(fd.fd)).toEqual(['trusted.a', 'trusted.c'])
      await binding.fsetxattr(fd.fd, 'trusted.d', Buffer.from('d'), XATTR.XATTR_CREATE)
      expect((await binding.fgetxattr(fd.fd, 'trusted.d'))?.toString()).toBe('d')
    })

    it('fail with the call, the path and the errno', async () => {
      writeFileSync(at('file'), '')
      const set = binding.lsetxattr(at('file'), 'trusted.x', Buffer.from(''), XATTR.XATTR_REPLACE)
      await expect(set).rejects.toMatchObject({ code: 'ENODATA', syscall: 'lsetxattr', path: at('file') })
      await expect(binding.lgetxattr(at('no'), 'trusted.x')).rejects.toMatchObject({
        code: 'ENOENT',
        errno: -2,
        message: `ENOENT: no such file or directory, lgetxattr '${at('no')}'`,
      })
      await expect(binding.lremovexattr(at('file'), 'trusted.x')).rejects.toMatchObject({ code: 'ENODATA' })
    })

    it('of a link are its own', async () => {
      writeFileSync(at('file'), '')
      symlinkSync('file', at('link'))
      await binding.lsetxattr(at('link'), 'trusted.w', Buffer.from('w'), 0)
      expect(await binding.llistxattr(at('link'))).toEqual(['trusted.w'])
      expect(await binding.lgetxattr(at('file'), 'trusted.w')).toBeUndefined()
    })
  })

  describe('names', () => {
    it('mknodat makes a whiteout', async () => {
      await binding.mknodat(AT_FDCWD, at('w'), S.S_IFCHR, 0, 0)
      const stat = await binding.statx(AT_FDCWD, at('w'), AT.AT_SYMLINK_NOFOLLOW)
      expect(stat).toMatchObject({ mode: S.S_IFCHR, rdevMajor: 0, rdevMinor: 0 })
    })

    it('renameat2 exchanges, and replaces nothing when told so', async () => {
      writeFileSync(at('a'), 'a')
      writeFileSync(at('b'), 'b')
      await binding.renameat2(AT_FDCWD, at('a'), AT_FDCWD, at('b'), RENAME.RENAME_EXCHANGE)
      expect(readFileSync(at('a'), 'utf8')).toBe('b')
      const move = binding.renameat2(AT_FDCWD, at('a'), AT_FDCWD, at('b'), RENAME.RENAME_NOREPLACE)
      await expect(move).rejects.toMatchObject({
        code: 'EEXIST',
        path: at('a'),
        dest: at('b'),
        flags: ['RENAME_NOREPLACE'],
      })
    })

    it('mkdirat and unlinkat work from a descriptor', async () => {
      using fd = new OwnedFd(openSync(temp.path, 'r'))
      await binding.mkdirat(fd.fd, Buffer.from('dir'), 0o700)
      await expect(binding.unlinkat(fd.fd, 'dir', 0)).rejects.toMatchObject({ code: 'EISDIR' })
      await binding.unlinkat(fd.fd, 'dir', AT.AT_REMOVEDIR)
      expect(existsSync(at('dir'))).toBe(false)
    })

    it('openat2 obeys its resolve flags', async () => {
      mkdirSync(at('dir'))
      using fd = new OwnedFd(openSync(at('dir'), 'r'))
      const how = { flags: 0, resolve: RESOLVE.RESOLVE_BENEATH }
      await expect(binding.openat2(fd.fd, '..', how)).rejects.toMatchObject({
        code: 'EXDEV',
        syscall: 'openat2',
      })
    })
  })

  describe('file systems', () => {
    it('statfs and fstatfs agree with node', async () => {
      const expected = statfsSync('/proc', { bigint: true })
      const stat = await binding.statfs('/proc')
      expect(BigInt(stat.type)).toBe(expected.type)
      expect(stat.files).toBe(expected.files)
      using fd = new OwnedFd(openSync('/proc', 'r'))
      expect(await binding.fstatfs(fd.fd)).toEqual(stat)
      await expect(binding.fstatfs(-1)).rejects.toMatchObject({ code: 'EBADF', syscall: 'fstatfs' })
    })

    it('have names', async () => {
      expect(await fsTypeOf('/proc')).toBe('proc')
      expect(fsTypeName(0x9123683e)).toBe('btrfs')
      expect(fsTypeName(0x12345)).toBe('0x12345')
    })

    it('are synced by syncfs', async () => {
      using fd = new OwnedFd(openSync(temp.path, 'r'))
      await binding.syncfs(fd.fd)
      await expect(binding.syncfs(-1)).rejects.toMatchObject({ code: 'EBADF' })
    })
  })
})
