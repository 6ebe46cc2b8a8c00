/** copyTree: a copy is the same tree, on every file system. */
import { execFileSync } from 'node:child_process'
import {
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  statfsSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type CopyOptions, copyTree } from '../../lib/fs/copy-tree.ts'
import { AT_FDCWD, binding } from '../../lib/native/binding.ts'
import { OwnedFd } from '../../lib/native/fd.ts'
import { missing } from '../helpers/gates.ts'
import { type FileSystemKind, type LoopFileSystem, loopFileSystem } from '../helpers/loopfs.ts'
import { watchLeaks } from '../helpers/mounts.ts'
import { GIB, MIB } from '../helpers/sizes.ts'
import {
  blockAt,
  charAt,
  dirAt,
  dumpTree,
  fifoAt,
  fileAt,
  hardlinkAt,
  symlinkAt,
  tree,
  type TreeNode,
  whiteoutAt,
} from '../../lib/driver-suite/tree.ts'

/** cap_net_bind_service=ep, in the form of revision 2. */
const CAPABILITY = Buffer.from('0100000200040000000000000000000000000000', 'hex')
/** `u:1:rw` beside the usual three. */
const ACL = Buffer.from(
  '0200000001000600ffffffff020006000100000004000400ffffffff10000600ffffffff20000400ffffffff',
  'hex',
)

const EVERYTHING: readonly TreeNode[] = [
  dirAt('', { mode: 0o1750, uid: 7, gid: 8, mtime: 3, mtimeNsec: 4 }),
  dirAt('etc', { mode: 0o2755, uid: 1, gid: 2, mtime: 77, mtimeNsec: 999_999_999 }),
  dirAt('etc/empty', { mode: 0o000, mtime: 5 }),
  fileAt('etc/passwd', 'root', { mode: 0o640, uid: 3, gid: 4, mtimeNsec: 123_456_789 }),
  fileAt('etc/old', 'x', { mtime: -1 }),
  fileAt('bin/su', 'setuid', { mode: 0o6755, uid: 5, gid: 6 }),
  fileAt('bin/ping', 'capable', { xattrs: { 'security.capability': CAPABILITY } }),
  fileAt('bin/acl', 'acl', { mode: 0o664, xattrs: { 'system.posix_acl_access': ACL } }),
  dirAt('acl', { mode: 0o775, xattrs: { 'system.posix_acl_default': ACL } }),
  fileAt('acl/without', ''),
  fileAt('attributes', '', {
    xattrs: { 'trusted.a': 'b', 'user.empty': '', 'user.c': Buffer.alloc(300, 1) },
  }),
  fileAt('big', Buffer.alloc(3_000_001, 'abc')),
  hardlinkAt('etc/linked', 'big'),
  hardlinkAt('z', 'big'),
  fileAt(Buffer.from('\xff\xfe\n', 'latin1'), 'bytes'),
  symlinkAt('link', '/etc/passwd', { uid: 9, gid: 9, mtime: 9, mtimeNsec: 9, xattrs: { 'trusted.l': 'x' } }),
  symlinkAt('dangling', Buffer.from('\xff/nowhere', 'latin1')),
  hardlinkAt('dangling2', 'dangling'),
  charAt('dev/null', 1, 3, { mode: 0o666, xattrs: { 'trusted.d': 'y' } }),
  blockAt('dev/loop', 7, 300, { mode: 0o660, gid: 6 }),
  fifoAt('dev/fifo', { mode: 0o622, uid: 2 }),
  whiteoutAt('dev/whiteout'),
]

const KINDS: readonly FileSystemKind[] = ['tmpfs', 'ext4', 'ext4-no-dtype', 'xfs', 'btrfs']
const gates = [
  'hasBinding',
  'canMount',
  'canLoop',
  'hasXfs',
  'hasBtrfs',
  'canMknod',
  'canTrustedXattr',
] as const

const TEBIBYTE = 1024 * GIB

/** Two empty folders. */
class Pair implements Disposable {
  readonly from: string
  readonly to: string
  readonly #fds: OwnedFd[]

  constructor(dir: string, name: string, to: string = dir) {
    this.from = join(dir, `${name}-from`)
    this.to = join(to, `${name}-to`)
    for (const path of [this.from, this.to]) mkdirSync(path)
    this.#fds = [this.from, this.to].map((path) => new OwnedFd(openSync(path, 'r')))
  }

  async copy(options: CopyOptions = {}): Promise<void> {
    const [from, to] = this.#fds
    await copyTree(from?.fd ?? -1, to?.fd ?? -1, options)
  }

  [Symbol.dispose](): void {
    for (const fd of this.#fds) fd.close()
    for (const path of [this.from, this.to]) execFileSync('rm', ['-rf', '--', path])
  }
}

describe.skipIf(missing(...gates)).each(KINDS)('copyTree on %s', (kind) => {
  let fs: LoopFileSystem
  beforeAll(() => {
    fs = loopFileSystem(kind)
  })
  afterAll(() => fs.dispose())
  watchLeaks(() => [fs.dir])

  it('copies everything, to the last attribute', async () => {
    using pair = new Pair(fs.dir, 'all')
    await tree(pair.from, EVERYTHING)
    const before = await dumpTree(pair.from)
    await pair.copy()
    const [read, kept] = [pair.from, pair.to].map((dir) => statSync(join(dir, 'big')).atimeMs)
    expect(kept).toBe(read)
    expect(await dumpTree(pair.to)).toEqual(before)
    expect(await dumpTree(pair.from)).toEqual(before)
  })

  it('keeps a hole of a tebibyte, and the data on both sides of it', async () => {
    using pair = new Pair(fs.dir, 'sparse')
    const [file, copy] = [join(pair.from, 'f'), join(pair.to, 'f')]
    writeFileSync(file, 'start')
    const fd = new OwnedFd(openSync(file, 'r+'))
    writeSync(fd.fd, 'end', TEBIBYTE)
    fd.close()
    truncateSync(file, TEBIBYTE + GIB)
    await pair.copy()
    expect(statSync(copy).size).toBe(TEBIBYTE + GIB)
    expect(statSync(copy).blocks).toBeLessThan(1000)
    const part = (at: number): string => {
      using copied = new OwnedFd(openSync(copy, 'r'))
      const bytes = Buffer.alloc(5)
      readSync(copied.fd, bytes, 0, 5, at)
      return bytes.toString().replaceAll('\0', '.')
    }
    expect([part(0), part(TEBIBYTE), part(TEBIBYTE + GIB - 5)]).toEqual(['start', 'end..', '.....'])
  })

  it.runIf(kind === 'btrfs' || kind === 'xfs')('shares the blocks', async () => {
    using pair = new Pair(fs.dir, 'shared')
    writeFileSync(join(pair.from, 'f'), Buffer.alloc(64 * MIB, 'data'))
    execFileSync('sync', ['-f', fs.dir])
    const free = (): number => {
      execFileSync('sync', ['-f', fs.dir])
      const { bfree, bsize } = statfsSync(fs.dir)
      return bfree * bsize
    }
    const before = free()
    await pair.copy()
    expect(before - free()).toBeLessThan(8 * MIB)
    expect(readFileSync(join(pair.to, 'f')).equals(readFileSync(join(pair.from, 'f')))).toBe(true)
  })
})

describe.skipIf(missing(...gates))('copyTree', () => {
  let fs: LoopFileSystem
  let count = 0
  beforeAll(() => {
    fs = loopFileSystem('tmpfs', 2 * GIB)
  })
  afterAll(() => fs.dispose())
  watchLeaks(() => [fs.dir])

  const newPair = (): Pair => new Pair(fs.dir, `pair-${String(count++)}`)

  it('copies from one file system to another', async () => {
    using other = loopFileSystem('ext4')
    using pair = new Pair(fs.dir, 'across', other.dir)
    await tree(pair.from, EVERYTHING)
    await pair.copy()
    expect(await dumpTree(pair.to)).toEqual(await dumpTree(pair.from))
  })

  it('takes nothing of the folder it copies into', async () => {
    using pair = newPair()
    await tree(pair.to, [dirAt('', { mode: 0o2777, gid: 9, xattrs: { 'system.posix_acl_default': ACL } })])
    await tree(pair.from, [dirAt(''), dirAt('d'), fileAt('d/f'), fileAt('f'), fifoAt('p')])
    await pair.copy()
    expect(await dumpTree(pair.to)).toEqual(await dumpTree(pair.from))
  })

  it('copies what is named alone, its links as links, and leaves the rest', async () => {
    using pair = newPair()
    await tree(pair.from, [
      dirAt('a', { mode: 0o700 }),
      dirAt('a/b', { mtime: 5, xattrs: { 'user.x': 'y' } }),
      fileAt('a/b/c', 'c'),
      hardlinkAt('link', 'a/b/c'),
      fileAt('other', 'other'),
      fileAt('a/other', 'other'),
      symlinkAt('s', 'a'),
    ])
    await tree(pair.to, [dirAt('a', { mode: 0o777, mtime: 6, xattrs: { 'system.posix_acl_default': ACL } })])
    await pair.copy({ only: ['a/b', 'link', 's'].map((path) => Buffer.from(path)) })
    const copied = await dumpTree(pair.to, { root: false, mtime: false })
    const wanted = await dumpTree(pair.from, { root: false, mtime: false })
    expect(copied.slice(1)).toEqual(wanted.filter((line) => !/^a |other/.test(line)))
    expect(copied[0]).toMatch(/^a dir 0777 .*posix_acl_default/)
  })

  it('leaves sockets out', async () => {
    using pair = newPair()
    const code = 'import socket,sys; socket.socket(socket.AF_UNIX).bind(sys.argv[1])'
    execFileSync('python3', ['-c', code, join(pair.from, 'socket')])
    writeFileSync(join(pair.from, 'file'), '')
    await pair.copy()
    expect(readdirSync(pair.to)).toEqual(['file'])
  })

  it('follows no link, also not one that a name in the target is', async () => {
    using pair = newPair()
    mkdirSync(join(fs.dir, 'outside'))
    mkdirSync(join(pair.from, 'd'))
    writeFileSync(join(pair.from, 'd/f'), 'x')
    symlinkSync('../outside', join(pair.to, 'd'))
    await expect(pair.copy()).rejects.toMatchObject({ code: 'EEXIST', syscall: 'mkdirat', path: 'd' })
    const only = [Buffer.from('d/f')]
    await expect(pair.copy({ only })).rejects.toMatchObject({ code: 'ENOENT', path: 'd' })
    expect(readdirSync(join(fs.dir, 'outside'))).toEqual([])
  })

  it('copies a tree deeper than the number of descriptors allowed and the length of a path', async () => {
    using pair = newPair()
    const name = 'x'.repeat(100)
    let fd = new OwnedFd(await binding.openat(AT_FDCWD, pair.from, 0, 0))
    for (let i = 0; i < 2000; i++) {
      await binding.mkdirat(fd.fd, name, 0o755)
      const next = new OwnedFd(await binding.openat(fd.fd, name, 0, 0))
      if (i > 1990) {
        const file = await binding.openat(next.fd, 'file', 0o101, 0o644)
        new OwnedFd(file).close()
        execFileSync('ln', [`/proc/self/fd/3/file`, `/proc/self/fd/3/${name}-link`], {
          stdio: ['ignore', 'ignore', 'inherit', next.fd],
        })
      }
      fd.close()
      fd = next
    }
    fd.close()
    await pair.copy()
    const count = (dir: string): string =>
      execFileSync('sh', ['-c', `find "$0" -links 2 -type f | wc -l`, dir]).toString()
    expect(count(pair.to).trim()).toBe('18')
    expect(count(pair.to)).toBe(count(pair.from))
  })

  it('does not enter another mount', async () => {
    using pair = newPair()
    mkdirSync(join(pair.from, 'a/mnt'), { recursive: true })
    await binding.mount('none', join(pair.from, 'a/mnt'), 'tmpfs', 0, '')
    try {
      await expect(pair.copy()).rejects.toMatchObject({ code: 'EXDEV', path: 'a/mnt' })
    } finally {
      await binding.umount2(join(pair.from, 'a/mnt'), 0)
    }
  })

  it('says where the disk was full', async () => {
    using small = loopFileSystem('ext4', 8 * MIB)
    using pair = new Pair(fs.dir, 'full', small.dir)
    mkdirSync(join(pair.from, 'var/lib'), { recursive: true })
    writeFileSync(join(pair.from, 'var/lib/db'), Buffer.alloc(16 * MIB, 1))
    await expect(pair.copy()).rejects.toMatchObject({
      name: 'SyscallError',
      code: 'ENOSPC',
      syscall: 'write',
      path: 'var/lib/db',
      message: "ENOSPC: no space left on device, write 'var/lib/db'",
    })
  })

  it('says which file would not take what', async () => {
    // ext4 keeps the attributes of a file in one block.
    using ext4 = loopFileSystem('ext4', 8 * MIB)
    using across = new Pair(fs.dir, 'attributes', ext4.dir)
    await tree(across.from, [fileAt('d/f', '', { xattrs: { 'user.large': Buffer.alloc(30_000) } })])
    await expect(across.copy()).rejects.toMatchObject({
      code: 'ENOSPC',
      syscall: 'fsetxattr',
      path: 'd/f',
      dest: 'user.large',
    })
  })

  it('stops when it is aborted: before, while it waits, and in the middle', async () => {
    const reason = new Error('enough')
    using pair = newPair()
    for (let i = 0; i < 20; i++) writeFileSync(join(pair.from, `f-${String(i)}`), Buffer.alloc(32 * MIB))
    await expect(pair.copy({ signal: AbortSignal.abort(reason) })).rejects.toBe(reason)
    expect(readdirSync(pair.to)).toEqual([])
    const controller = new AbortController()
    const copying = pair.copy({ signal: controller.signal })
    copying.catch(() => undefined)
    // The first file is there: the copy is under way, and has most of its work before it.
    while (readdirSync(pair.to).length === 0) await new Promise((resolve) => setImmediate(resolve))
    controller.abort(reason)
    await expect(copying).rejects.toBe(reason)
    expect(existsSync(join(pair.to, 'f-19')) && readdirSync(pair.to).length === 20).toBe(false)
  })

  it('takes an argument of another kind for an error', () => {
    const call = (...args: unknown[]): unknown =>
      (binding as unknown as { copyTree(...all: unknown[]): unknown }).copyTree(...args)
    const mark = binding.newCancellation()
    expect(() => call(0, 1, { leftOut: [] }, {})).toThrow(TypeError)
    expect(() => call(0, 1, { leftOut: [1] }, mark)).toThrow(TypeError)
    expect(() => call(0, 1, { leftOut: [], only: 'x' }, mark)).toThrow(TypeError)
    expect(() => call(0, '1', { leftOut: [] }, mark)).toThrow(TypeError)
  })
})
