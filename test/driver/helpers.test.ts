/** The helpers that other tests lean on must be able to fail. */
import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { missing } from '../helpers/gates.ts'
import { loopFileSystem } from '../helpers/loopfs.ts'
import { mountsBelow, openFiles } from '../../lib/driver-suite/leaks.ts'
import { loopsBelow } from '../helpers/mounts.ts'
import { tempDir } from '../helpers/temp-dir.ts'
import {
  blockAt,
  charAt,
  dirAt,
  dumpTree,
  fifoAt,
  fileAt,
  hardlinkAt,
  opaqueAt,
  symlinkAt,
  tree,
  whiteoutAt,
} from '../../lib/driver-suite/tree.ts'

const FULL = [
  dirAt('etc', { mode: 0o1777, uid: 1, gid: 2, mtime: 5 }),
  fileAt('etc/shadow', 'secret', { mode: 0o4640, uid: 7, gid: 42, mtime: 1, mtimeNsec: 123_456_789 }),
  hardlinkAt('etc/shadow-', 'etc/shadow'),
  symlinkAt('etc/mtab', '/proc/mounts'),
  fileAt(Buffer.from([0x61, 0xff, 0x0a]), '', { xattrs: { 'user.note': Buffer.from([0, 1, 0xff]) } }),
  charAt('dev/null', 1, 3, { mode: 0o666 }),
  blockAt('dev/sda', 8, 300),
  fifoAt('run/pipe', { mode: 0o600 }),
  whiteoutAt('gone'),
  opaqueAt('new'),
]

describe.skipIf(missing('hasBinding', 'canMknod', 'canTrustedXattr', 'canChown'))('tree', () => {
  it('builds what it says, byte for byte', async () => {
    using dir = tempDir()
    await tree(dir.path, FULL)
    expect(await dumpTree(dir.path, { root: false })).toEqual([
      'a\\xff\\x0a file 0644 0:0 1700000000.000000000 0 sha256:e3b0c44298fc1c14 user.note=\\x00\\x01\\xff nlink=1',
      'dev dir 0755 0:0 1700000000.000000000',
      'dev/null char 0666 0:0 1700000000.000000000 1:3 nlink=1',
      'dev/sda block 0644 0:0 1700000000.000000000 8:300 nlink=1',
      'etc dir 1777 1:2 5.000000000',
      'etc/mtab symlink 0777 0:0 1700000000.000000000 -> /proc/mounts nlink=1',
      'etc/shadow file 4640 7:42 1.123456789 6 sha256:2bb80d537b1da3e3 nlink=2',
      'etc/shadow- file 4640 7:42 1.123456789 6 sha256:2bb80d537b1da3e3 nlink=2 same-as=etc/shadow',
      'gone char 0000 0:0 1700000000.000000000 0:0 nlink=1',
      'new dir 0755 0:0 1700000000.000000000 trusted.overlay.opaque=y',
      'run dir 0755 0:0 1700000000.000000000',
      'run/pipe fifo 0600 0:0 1700000000.000000000 nlink=1',
    ])
  })

  it('agrees with stat(1) and getfattr(1)', async () => {
    using dir = tempDir()
    await tree(dir.path, FULL)
    const stat = (name: string): string =>
      execFileSync('stat', ['-c', '%a %u:%g %h %.9Y', name], { cwd: dir.path, encoding: 'utf8' })
    expect(stat('etc/shadow')).toBe('4640 7:42 2 1.123456789\n')
    expect(stat('etc')).toBe('1777 1:2 2 5.000000000\n')
    const attributes = execFileSync('getfattr', ['-d', '-m', '-', '-e', 'hex', 'new'], {
      cwd: dir.path,
      encoding: 'utf8',
    })
    expect(attributes).toContain('trusted.overlay.opaque=0x79')
  })

  it.each([
    ['a mode', fileAt('x', 'a', { mode: 0o600 })],
    ['an owner', fileAt('x', 'a', { uid: 1 })],
    ['a nanosecond', fileAt('x', 'a', { mtimeNsec: 1 })],
    ['a byte', fileAt('x', 'b')],
    ['an attribute', fileAt('x', 'a', { xattrs: { 'trusted.x': '1' } })],
    ['a type', dirAt('x')],
  ])('dumps differ by %s', async (_, node) => {
    using dir = tempDir()
    using other = tempDir()
    await tree(dir.path, [fileAt('x', 'a')])
    await tree(other.path, [node])
    const [a, b] = [await dumpTree(dir.path, { root: false }), await dumpTree(other.path, { root: false })]
    expect(a).not.toEqual(b)
  })
})

describe.skipIf(missing('canLoop', 'hasXfs', 'hasBtrfs'))('loopFileSystem', () => {
  it.each(['ext4', 'ext4-no-dtype', 'xfs', 'btrfs', 'tmpfs'] as const)(
    'mounts a %s and leaves nothing',
    (kind) => {
      const fs = loopFileSystem(kind)
      writeFileSync(join(fs.dir, 'file'), 'x')
      expect(mountsBelow(fs.dir)).toEqual([fs.dir])
      const type = execFileSync('findmnt', ['-n', '-o', 'FSTYPE', '--mountpoint', fs.dir], {
        encoding: 'utf8',
      }).trim()
      expect(type).toBe(kind.split('-')[0])
      fs.dispose()
      fs.dispose()
      expect([...mountsBelow(fs.dir), ...loopsBelow(join(fs.dir, '..'))]).toEqual([])
    },
  )

  it('notices a loop device and a file that stay', async () => {
    const fs = loopFileSystem('ext4')
    try {
      expect(loopsBelow(join(fs.dir, '..'))).toHaveLength(1)
      const { openSync, closeSync } = await import('node:fs')
      const before = openFiles()
      const fd = openSync(fs.dir, 'r')
      expect(openFiles().filter((line) => !before.includes(line))).toEqual([`${fd.toString()} ${fs.dir}`])
      closeSync(fd)
    } finally {
      fs.dispose()
    }
  })
})
