import {
  closeSync,
  existsSync,
  lstatSync,
  mkdirSync,
  openSync,
  readFileSync,
  readlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { AT_FDCWD, binding } from '../../lib/native/binding.ts'
import { type FileOp, fileops, type OpMeta } from '../../lib/native/file-op.ts'
import { AT, S } from '../../lib/native/flags.ts'
import { OpWriter } from '../../lib/native/op-writer.ts'
import { missing } from '../helpers/gates.ts'
import { watchLeaks } from '../helpers/mounts.ts'
import { tempDir, type TempDir } from '../helpers/temp-dir.ts'

const bytes = (text: string): Buffer => Buffer.from(text)
const meta = (mode: number, more: Partial<OpMeta> = {}): OpMeta => ({
  mode,
  uid: 12,
  gid: 34,
  mtimeSec: 1_000_000_000,
  mtimeNsec: 123_456_789,
  ...more,
})

describe.skipIf(missing('hasBinding', 'canChown', 'canMknod', 'canTrustedXattr')).each([
  ['openat2', true],
  ['component by component', false],
])('fileops, parents resolved by %s', (_, use) => {
  let temp: TempDir
  let root: string
  let fd: number
  const run = (...ops: FileOp[]): Promise<void> => fileops(fd, ops)
  watchLeaks(() => [temp.path])
  beforeEach(() => {
    binding.setOpenat2(use)
    temp = tempDir('fileops')
    root = join(temp.path, 'root')
    mkdirSync(root)
    fd = openSync(root, 'r')
  })
  afterEach(() => {
    closeSync(fd)
    temp[Symbol.dispose]()
    binding.setOpenat2(true)
  })

  it('makes a file with content, owner, xattrs, mode and times, whatever the umask', async () => {
    const value = Buffer.from([0, 1, 0xff])
    const before = process.umask(0o777)
    try {
      await run({
        op: 'file',
        path: bytes('f'),
        data: [bytes('one '), bytes(''), bytes('two')],
        ...meta(S.S_IFREG | 0o6755, { xattrs: [{ name: 'trusted.t', value }] }),
      })
    } finally {
      process.umask(before)
    }
    expect(readFileSync(join(root, 'f'), 'utf8')).toBe('one two')
    const stat = await binding.statx(AT_FDCWD, join(root, 'f'), 0)
    expect(stat).toMatchObject({ mode: S.S_IFREG | 0o6755, uid: 12, gid: 34, nlink: 1 })
    expect(stat).toMatchObject({ mtimeSec: 1_000_000_000, mtimeNsec: 123_456_789 })
    expect(await binding.lgetxattr(join(root, 'f'), 'trusted.t')).toEqual(value)
  })

  it('keeps file capabilities and setuid: they come after the owner and the content', async () => {
    // VFS_CAP_REVISION_2, cap_net_raw+ep.
    const value = Buffer.from('0100000200200000000000000000000000000000', 'hex')
    const xattrs = [{ name: 'security.capability', value }]
    await run({ op: 'file', path: bytes('ping'), data: [bytes('#!')], ...meta(0o4755, { xattrs }) })
    expect(await binding.lgetxattr(join(root, 'ping'), 'security.capability')).toEqual(value)
    expect(lstatSync(join(root, 'ping')).mode & 0o7777).toBe(0o4755)
  })

  it('never overwrites, follows or reuses what is there', async () => {
    writeFileSync(join(temp.path, 'outside'), 'safe')
    await run({ op: 'symlink', path: bytes('link'), target: bytes('../outside'), ...meta(0o777) })
    const file: FileOp = { op: 'file', path: bytes('link'), data: [bytes('evil')], ...meta(0o644) }
    await expect(run(file)).rejects.toMatchObject({
      code: 'EEXIST',
      index: 0,
      path: 'link',
      syscall: 'openat',
    })
    expect(readFileSync(join(temp.path, 'outside'), 'utf8')).toBe('safe')
    await expect(
      run({ op: 'write', path: bytes('link'), offset: 0, data: [bytes('x')] }),
    ).rejects.toMatchObject({
      code: 'ELOOP',
    })
    await expect(run({ op: 'dir', path: bytes('link'), ...meta(0o755) })).rejects.toMatchObject({
      code: 'EEXIST',
    })
  })

  it('makes a directory, and gives one that is there the metadata', async () => {
    await run(
      { op: 'dir', path: bytes('d'), ...meta(0o700) },
      { op: 'file', path: bytes('d/f'), data: [], ...meta(0o644) },
    )
    await run({ op: 'dir', path: bytes('d/'), ...meta(S.S_IFDIR | 0o1777) })
    expect(await binding.statx(AT_FDCWD, join(root, 'd'), 0)).toMatchObject({
      mode: S.S_IFDIR | 0o1777,
      mtimeNsec: 123_456_789,
    })
    expect(existsSync(join(root, 'd/f'))).toBe(true)
  })

  it('makes a symlink with owner, times and xattrs of its own', async () => {
    const xattrs = [{ name: 'trusted.t', value: bytes('v') }]
    await run({ op: 'symlink', path: bytes('l'), target: bytes('no/such'), ...meta(0o777, { xattrs }) })
    expect(readlinkSync(join(root, 'l'))).toBe('no/such')
    const stat = await binding.statx(AT_FDCWD, join(root, 'l'), AT.AT_SYMLINK_NOFOLLOW)
    expect(stat).toMatchObject({ uid: 12, gid: 34, mtimeSec: 1_000_000_000 })
    expect(await binding.lgetxattr(join(root, 'l'), 'trusted.t')).toEqual(bytes('v'))
  })

  it.each([
    ['a device', S.S_IFCHR | 0o640, 1, 3],
    ['a block device with large numbers', S.S_IFBLK | 0o600, 259, 70_000],
    ['a fifo', S.S_IFIFO | 0o644, 0, 0],
    ['a whiteout', S.S_IFCHR, 0, 0],
  ])('makes %s', async (__, mode, major, minor) => {
    const xattrs = [{ name: 'trusted.t', value: bytes('v') }]
    await run({ op: 'node', path: bytes('n'), major, minor, ...meta(mode, { xattrs }) })
    const stat = await binding.statx(AT_FDCWD, join(root, 'n'), AT.AT_SYMLINK_NOFOLLOW)
    expect(stat).toMatchObject({ mode, uid: 12, rdevMajor: major, rdevMinor: minor, mtimeNsec: 123_456_789 })
    expect(await binding.lgetxattr(join(root, 'n'), 'trusted.t')).toEqual(bytes('v'))
  })

  it('links a file, and a symlink as itself', async () => {
    await run(
      { op: 'dir', path: bytes('a'), ...meta(0o755) },
      { op: 'dir', path: bytes('b'), ...meta(0o755) },
      { op: 'file', path: bytes('a/f'), data: [bytes('x')], ...meta(0o644) },
      { op: 'symlink', path: bytes('a/s'), target: bytes('f'), ...meta(0o777) },
      { op: 'link', path: bytes('b/f'), target: bytes('a/f') },
      { op: 'link', path: bytes('b/s'), target: bytes('/a/s') },
    )
    expect(lstatSync(join(root, 'b/f')).nlink).toBe(2)
    expect(readlinkSync(join(root, 'b/s'))).toBe('f')
    await expect(run({ op: 'link', path: bytes('c'), target: bytes('nope') })).rejects.toMatchObject({
      code: 'ENOENT',
      syscall: 'linkat',
      path: 'c',
      dest: 'nope',
    })
  })

  it('gives metadata to what is there, only what is said', async () => {
    await run({ op: 'file', path: bytes('f'), data: [], ...meta(0o644) })
    await run({ op: 'meta', path: bytes('f'), mode: 0o600 })
    expect(await binding.statx(AT_FDCWD, join(root, 'f'), 0)).toMatchObject({
      mode: S.S_IFREG | 0o600,
      uid: 12,
      mtimeNsec: 123_456_789,
    })
    await run({ op: 'meta', path: bytes('.'), mode: 0o711, uid: 7 })
    expect(await binding.statx(AT_FDCWD, root, 0)).toMatchObject({ mode: S.S_IFDIR | 0o711, uid: 7 })
    await run({ op: 'meta', path: bytes(''), mode: 0o755 })
    expect(lstatSync(root).mode & 0o777).toBe(0o755)
  })

  it('writes a large file in pieces, with a hole and metadata at the end', async () => {
    const piece = Buffer.alloc(3 << 20, 0x61)
    await run({ op: 'create', path: bytes('big'), size: 64 << 20 })
    await run({ op: 'write', path: bytes('big'), offset: 1 << 20, data: [piece, bytes('end')] })
    await run({ op: 'meta', path: bytes('big'), ...meta(0o4711) })
    const stat = await binding.statx(AT_FDCWD, join(root, 'big'), 0)
    expect(stat).toMatchObject({ size: 64 << 20, mode: S.S_IFREG | 0o4711, mtimeSec: 1_000_000_000 })
    expect(stat.blocks * 512).toBeLessThan(8 << 20)
    const content = readFileSync(join(root, 'big'))
    const written = Buffer.concat([piece, bytes('end')])
    expect(content.indexOf(written)).toBe(1 << 20)
    expect(content.subarray(0, 1 << 20).equals(Buffer.alloc(1 << 20))).toBe(true)
  })

  it('takes more pieces than one writev', async () => {
    const data = Array.from({ length: 3000 }, (__, i) => bytes(`${String(i)},`))
    await run({ op: 'file', path: bytes('f'), data, ...meta(0o644) })
    expect(readFileSync(join(root, 'f'))).toEqual(Buffer.concat(data))
  })

  it('removes a file, an empty directory, a tree', async () => {
    mkdirSync(join(root, 'd/e'), { recursive: true })
    writeFileSync(join(root, 'd/e/f'), '')
    writeFileSync(join(root, 'f'), '')
    mkdirSync(join(root, 'empty'))
    await run({ op: 'remove', path: bytes('f') }, { op: 'remove', path: bytes('empty') })
    await expect(run({ op: 'remove', path: bytes('d') })).rejects.toMatchObject({ code: 'ENOTEMPTY' })
    await expect(run({ op: 'remove', path: bytes('f') })).rejects.toMatchObject({ code: 'ENOENT' })
    await run({ op: 'remove', path: bytes('f'), missingOk: true })
    await run({ op: 'remove', path: bytes('d'), recursive: true, missingOk: true })
    expect(existsSync(join(root, 'd'))).toBe(false)
  })

  it('renames, and forgets the parents it had open', async () => {
    await run(
      { op: 'dir', path: bytes('a'), ...meta(0o755) },
      { op: 'file', path: bytes('a/one'), data: [], ...meta(0o644) },
      { op: 'rename', path: bytes('a'), dest: bytes('b') },
      { op: 'dir', path: bytes('a'), ...meta(0o755) },
      { op: 'file', path: bytes('a/two'), data: [], ...meta(0o644) },
    )
    expect(existsSync(join(root, 'b/one'))).toBe(true)
    expect(existsSync(join(root, 'a/two'))).toBe(true)
  })

  it('forgets the parents below a removed directory', async () => {
    await run(
      { op: 'dir', path: bytes('a'), ...meta(0o755) },
      { op: 'dir', path: bytes('a/b'), ...meta(0o755) },
      { op: 'file', path: bytes('a/b/old'), data: [], ...meta(0o644) },
      { op: 'remove', path: bytes('a'), recursive: true },
      { op: 'dir', path: bytes('real'), ...meta(0o755) },
      { op: 'dir', path: bytes('real/b'), ...meta(0o755) },
      { op: 'symlink', path: bytes('a'), target: bytes('real'), ...meta(0o777) },
      { op: 'file', path: bytes('a/b/new'), data: [], ...meta(0o644) },
    )
    expect(existsSync(join(root, 'real/b/new'))).toBe(true)
  })

  it('uses more parents than it keeps open', async () => {
    const names = Array.from({ length: 40 }, (__, i) => `dir-${String(i)}`)
    const files = [...names, ...names].map((name, i): FileOp => {
      return { op: 'file', path: bytes(`${name}/${String(i)}`), data: [], ...meta(0o644) }
    })
    await run(...names.map((name): FileOp => ({ op: 'dir', path: bytes(name), ...meta(0o755) })), ...files)
    expect(existsSync(join(root, 'dir-39/79'))).toBe(true)
  })

  it('stops at the first failure and names it', async () => {
    const dir = (path: string): FileOp => ({ op: 'dir', path: bytes(path), ...meta(0o755) })
    await expect(run(dir('a'), dir('no/b'), dir('c'))).rejects.toMatchObject({
      code: 'ENOENT',
      index: 1,
      path: 'no/b',
      syscall: 'openat2',
    })
    expect(existsSync(join(root, 'a'))).toBe(true)
    expect(existsSync(join(root, 'c'))).toBe(false)
  })

  it.each(['..', 'a/..', '../x/..'])('refuses %s as a last component', async (path) => {
    mkdirSync(join(root, 'a'))
    await expect(run({ op: 'meta', path: bytes(path), mode: 0o700 })).rejects.toMatchObject({
      code: 'EINVAL',
    })
  })

  it.each([
    ['a climb', '../../../escaped'],
    ['an absolute path', '/escaped'],
    ['a climb through a folder', 'd/../../../escaped'],
    ['an absolute link', 'abs/escaped'],
    ['a climbing link', 'up/escaped'],
    ['a chain of links', 'chain/escaped'],
  ])('stays inside the root with %s', async (__, path) => {
    const link = (name: string, target: string): FileOp => {
      return { op: 'symlink', path: bytes(name), target: bytes(target), ...meta(0o777) }
    }
    await run({ op: 'dir', path: bytes('d'), ...meta(0o755) })
    await run(link('abs', '/'), link('up', '../../..'), link('chain', 'd/../up/abs'))
    await run({ op: 'file', path: bytes(path), data: [], ...meta(0o644) })
    expect(existsSync(join(root, 'escaped'))).toBe(true)
    expect(existsSync('/escaped')).toBe(false)
    expect(existsSync(join(temp.path, 'escaped'))).toBe(false)
  })

  it('follows a link of the tree inside the tree: bin -> usr/bin', async () => {
    mkdirSync(join(root, 'usr/bin'), { recursive: true })
    await run({ op: 'symlink', path: bytes('bin'), target: bytes('/usr/bin'), ...meta(0o777) })
    await run({ op: 'file', path: bytes('bin/sh'), data: [], ...meta(0o755) })
    expect(existsSync(join(root, 'usr/bin/sh'))).toBe(true)
  })

  it('gives up on a loop of links', async () => {
    await run({ op: 'symlink', path: bytes('a'), target: bytes('b/x'), ...meta(0o777) })
    await run({ op: 'symlink', path: bytes('b'), target: bytes('a/x'), ...meta(0o777) })
    await expect(run({ op: 'file', path: bytes('a/f'), data: [], ...meta(0o644) })).rejects.toMatchObject({
      code: 'ELOOP',
      path: 'a/f',
    })
  })
})

describe.skipIf(missing('hasBinding'))("fileops' arguments", () => {
  const file = bytes('x')
  it.each<[string, FileOp]>([
    ['a fraction for a mode', { op: 'meta', path: file, mode: 0.5 }],
    ['a negative uid', { op: 'meta', path: file, uid: -1 }],
    ['a gid past 32 bits', { op: 'meta', path: file, gid: 2 ** 32 }],
    ['a NUL in a path', { op: 'meta', path: bytes('a\0b') }],
    ['a NUL in a target', { op: 'link', path: file, target: bytes('a\0b') }],
    ['a negative offset', { op: 'write', path: file, offset: -1, data: [] }],
    ['an offset that is no integer', { op: 'write', path: file, offset: 0.5, data: [] }],
    ['a time that is no integer', { op: 'meta', path: file, mtimeSec: 2 ** 60 }],
  ])('throw a TypeError for %s, before anything is done', (_, op) => {
    expect(() => fileops(0, [op])).toThrow(
      expect.objectContaining({ name: 'TypeError', code: 'ERR_INVALID_ARG_TYPE' }),
    )
  })

  const encoded = (): { code: Buffer; buffers: readonly Uint8Array[] } => {
    const writer = new OpWriter()
    const xattrs = [{ name: 'user.a', value: bytes('v') }]
    writer.add({ op: 'file', path: file, data: [bytes('data')], ...meta(0o644, { xattrs }) })
    return { code: Buffer.from(writer.code), buffers: writer.buffers }
  }
  it.each<[string, (code: Buffer) => Buffer | undefined]>([
    ['that is cut', (code) => code.subarray(0, code.length - 8)],
    ['with bytes after it', (code) => Buffer.concat([code, Buffer.alloc(8)])],
    ['of an unknown operation', (code) => void code.writeUInt8(200, 4)],
    ['with a length that is too short', (code) => void code.writeUInt32LE(56, 0)],
    ['with a length that is too long', (code) => void code.writeUInt32LE(4096, 0)],
    ['with a path that is too long', (code) => void code.writeUInt32LE(0xffffffff, 48)],
    ['with more data than it has', (code) => void code.writeUInt32LE(0xffffffff, 56)],
    ['with a buffer that is not there', (code) => void code.writeUInt32LE(1, 64)],
    ['with data outside of its buffer', (code) => void code.writeUInt32LE(5, 72)],
    ['with more attributes than it has', (code) => void code.writeUInt16LE(2, 6)],
  ])('refuse code %s', (_, spoil) => {
    const { code, buffers } = encoded()
    const spoiled = spoil(code) ?? code
    expect(() => binding.fileops(0, spoiled, buffers)).toThrow(
      expect.objectContaining({ name: 'TypeError', code: 'ERR_INVALID_ARG_TYPE' }),
    )
  })
})
