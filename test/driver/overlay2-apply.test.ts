/** Unpacking one layer: what comes to lie in its folder, and what is refused. */
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { closeSync, openSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { applyLayer } from '../../lib/driver/upper/apply.ts'
import { missing } from '../helpers/gates.ts'
import { streamOf } from '../../lib/driver-suite/streams.ts'
import { LayerLab } from '../helpers/layers.ts'
import { loopFileSystem } from '../helpers/loopfs.ts'
import { watchLeaks } from '../helpers/mounts.ts'
import { type MemberSpec, paxMember, rawHeader, rawTar } from '../helpers/rawtar.ts'
import { Recorder } from '../helpers/tar.ts'
import {
  blockAt,
  charAt,
  dirAt,
  dumpTree,
  fifoAt,
  fileAt,
  hardlinkAt,
  symlinkAt,
} from '../../lib/driver-suite/tree.ts'

const CAPABILITY = Buffer.from('0100000200040000000000000000000000000000', 'hex')

describe.skipIf(missing('hasBinding', 'canMknod', 'canTrustedXattr', 'canChown', 'canMount'))(
  'applyLayer',
  () => {
    let lab: LayerLab
    beforeAll(() => {
      lab = new LayerLab()
    })
    afterAll(() => {
      lab[Symbol.dispose]()
    })
    watchLeaks(() => [])

    it('unpacks every kind of member with its metadata', async () => {
      const meta = { uid: 1000, gid: 2000, mtime: 1_234_567_890 }
      const dir = await lab.base([
        { name: './', mode: 0o711, ...meta },
        { name: 'd/', mode: 0o1777, ...meta, xattrs: { 'user.d': Buffer.from([0, 255]) } },
        {
          name: 'd/f',
          body: 'content',
          mode: 0o6755,
          ...meta,
          xattrs: { 'security.capability': CAPABILITY },
        },
        { name: 'd/s', type: 'symlink', linkname: '../nowhere', mode: 0o777, ...meta },
        { name: 'd/h', type: 'hardlink', linkname: 'd/f' },
        { name: 'd/c', type: 'char', devMajor: 1, devMinor: 3, mode: 0o666, ...meta },
        { name: 'd/b', type: 'block', devMajor: 8, devMinor: 300, mode: 0o660, ...meta },
        { name: 'd/p', type: 'fifo', mode: 0o600, ...meta },
      ])
      expect(await dumpTree(dir)).toEqual(
        await lab.expected([
          dirAt('', { mode: 0o711, ...meta }),
          dirAt('d', { mode: 0o1777, ...meta, xattrs: { 'user.d': Buffer.from([0, 255]) } }),
          fileAt('d/f', 'content', { mode: 0o6755, ...meta, xattrs: { 'security.capability': CAPABILITY } }),
          symlinkAt('d/s', '../nowhere', { mode: 0o777, ...meta }),
          hardlinkAt('d/h', 'd/f'),
          charAt('d/c', 1, 3, { mode: 0o666, ...meta }),
          blockAt('d/b', 8, 300, { mode: 0o660, ...meta }),
          fifoAt('d/p', { mode: 0o600, ...meta }),
        ]),
      )
    })

    it('keeps nanoseconds, and times before 1970', async () => {
      const dir = await lab.base([{ name: 'f', body: 'x', pax: { mtime: '-5.25' } }])
      expect(await dumpTree(dir, { root: false })).toEqual(
        await lab.expected([fileAt('f', 'x', { mtime: -6, mtimeNsec: 750_000_000 })], { root: false }),
      )
    })

    it('keeps names that are not UTF-8, with spaces, newlines and backslashes', async () => {
      const names = [
        Buffer.from('\xff\xfe', 'latin1'),
        Buffer.from('a b'),
        Buffer.from('a\nb'),
        Buffer.from('a\\b'),
        Buffer.from('ü'),
      ]
      const dir = await lab.base(names.map((name) => ({ name, body: 'x' })))
      expect(readdirSync(dir, { encoding: 'buffer' }).map(String).sort()).toEqual(names.map(String).sort())
    })

    it('gives folders their times after all that is put into them', async () => {
      const many = Array.from({ length: 700 }, (_, i): MemberSpec => ({
        name: `d/s/${String(i)}`,
        body: 'x',
      }))
      const dir = await lab.base([
        { name: 'd/', mtime: 11 },
        { name: 'd/s/', mtime: 22 },
        ...many,
        { name: 'd/l', type: 'hardlink', linkname: 'd/s/0' },
      ])
      expect([statSync(join(dir, 'd')).mtimeMs, statSync(join(dir, 'd/s')).mtimeMs]).toEqual([11_000, 22_000])
    })

    it("does not let a folder's default ACL get at what is put into it", async () => {
      // user::rwx, user:5:rwx, group::r-x, mask::rwx, other::r-x
      const acl = Buffer.from(
        '0200000001000700ffffffff020007000500000004000500ffffffff10000700ffffffff20000500ffffffff',
        'hex',
      )
      const dir = await lab.base([
        { name: 'd/', mode: 0o755, xattrs: { 'system.posix_acl_default': acl } },
        { name: 'd/f', body: 'x', mode: 0o640 },
        { name: 'd/s/', mode: 0o700 },
      ])
      const lines = await dumpTree(dir, { root: false, mtime: false })
      expect(lines.map((line) => line.split(' ').slice(0, 3).join(' '))).toEqual([
        'd dir 0755',
        'd/f file 0640',
        'd/s dir 0700',
      ])
      expect(lines.filter((line) => line.includes('posix_acl')).map((line) => line.split(' ')[0])).toEqual([
        'd',
      ])
    })

    it('writes large bodies and small ones, in any chunks', async () => {
      const large = Buffer.alloc(5 * 2 ** 20 + 123, 'large ')
      const medium = Buffer.alloc(2 ** 20, 'm')
      const layer: MemberSpec[] = [
        { name: 'large', body: large, mode: 0o4711, xattrs: { 'security.capability': CAPABILITY } },
        { name: 'medium', body: medium },
        { name: 'small', body: 's' },
        { name: 'l', type: 'hardlink', linkname: 'large' },
      ]
      for (const chunkSize of [1000, 65_536, 1 << 24]) {
        const { dir, notes } = await lab.apply(layer, {}, chunkSize)
        expect(sha256(readFileSync(join(dir, 'large')))).toBe(sha256(large))
        expect(sha256(readFileSync(join(dir, 'medium')))).toBe(sha256(medium))
        expect(statSync(join(dir, 'large'))).toMatchObject({ nlink: 2, mtimeMs: 1_700_000_000_000 })
        const [line = ''] = await dumpTree(dir, { root: false })
        expect(line).toMatch(/^l file 4711 .*security\.capability=/)
        expect(notes.size).toBe(large.length + medium.length + 1)
      }
    })

    it('makes sparse files with their holes', async () => {
      const data = Buffer.alloc(8192, 'd')
      const records: Record<string, string> = {
        major: '0',
        minor: '1',
        name: 'sparse',
        size: '20971520',
        numblocks: '2',
        map: '0,4096,10485760,4096',
      }
      const pax = paxMember(
        Object.entries(records).map(([k, v]) => [`GNU.sparse.${k}`, Buffer.from(v)] as const),
      )
      const head = rawHeader({ name: Buffer.from('x'), size: data.length, flag: '0', mode: 0o640 })
      const recorder = new Recorder()
      const archive = rawTar([pax, head, data])
      const { dir, notes } = await lab.apply(archive, { observer: recorder })
      const expected = Buffer.alloc(20 * 2 ** 20)
      data.copy(expected, 0, 0, 4096)
      data.copy(expected, 10 * 2 ** 20, 4096)
      const stat = statSync(join(dir, 'sparse'))
      expect(sha256(readFileSync(join(dir, 'sparse')))).toBe(sha256(expected))
      expect(stat.blocks * 512).toBeLessThan(2 ** 20)
      expect([stat.mode & 0o7777, stat.mtimeMs, notes.size]).toEqual([0o640, 1_700_000_000_000, 20 * 2 ** 20])
      expect(recorder.bytes.equals(archive)).toBe(true)
    })

    it('follows symlinks of the layer in the parents of names, inside it', async () => {
      const dir = await lab.base([
        { name: 'usr/' },
        { name: 'usr/bin/' },
        { name: 'bin', type: 'symlink', linkname: 'usr/bin', mode: 0o777 },
        { name: 'abs', type: 'symlink', linkname: '/usr/../usr/./bin', mode: 0o777 },
        { name: 'bin/a', body: 'a' },
        { name: 'abs/b', body: 'b' },
        { name: 'abs/../abs/c', body: 'c' },
        { name: 'l', type: 'hardlink', linkname: 'bin/a' },
      ])
      expect(readdirSync(join(dir, 'usr/bin')).sort()).toEqual(['a', 'b', 'c'])
      expect(statSync(join(dir, 'l')).ino).toBe(statSync(join(dir, 'usr/bin/a')).ino)
    })

    it('counts what is unpacked as moby does: links once, symlinks by their length, folders and devices not', async () => {
      const { notes } = await lab.apply([
        { name: 'd/' },
        { name: 'f', body: '12345' },
        { name: 'h', type: 'hardlink', linkname: 'f' },
        { name: 's', type: 'symlink', linkname: 'abc' },
        { name: 'c', type: 'char', devMajor: 1, devMinor: 3 },
        { name: '.wh.x' },
      ])
      expect(notes.size).toBe(8)
    })

    it('notes what it leaves open', async () => {
      const { notes } = await lab.apply([
        { name: 'a/b/c', body: 'x' },
        { name: 'd/' },
        { name: '.wh.w' },
        { name: 'd/.wh.w' },
        { name: '.wh.e' },
        { name: 'e/f', body: 'x' },
        { name: 'd/.wh..wh..opq' },
        { name: 'l', type: 'hardlink', linkname: './low/er' },
        { name: 'm', type: 'hardlink', linkname: 'l' },
      ])
      const text = (paths: readonly Buffer[]) => paths.map(String)
      expect(notes.implied.map(({ path, fresh }) => `${path.toString()} ${String(fresh)}`)).toEqual([
        ' false',
        'a false',
        'a/b false',
        'e true',
      ])
      expect(text(notes.whiteouts)).toEqual(['d/w', 'w'])
      expect(text(notes.opaque)).toEqual(['d', 'e'])
      expect(notes.links.map(({ path, target }) => `${path.toString()} ${target.toString()}`)).toEqual([
        'l low/er',
        'm l',
      ])
      expect(notes.rootOpaque).toBe(false)
      expect((await lab.apply([{ name: '.wh..wh..opq' }])).notes.rootOpaque).toBe(true)
    })

    it('replaces an earlier entry of the layer when nothing of the archive is lost', async () => {
      const dir = await lab.base([
        { name: 'real/' },
        { name: 'alias', type: 'symlink', linkname: 'real', mode: 0o777 },
        { name: 'real/x', body: '' },
        { name: 'alias/x', type: 'symlink', linkname: 'new', mode: 0o777 },
        { name: 'real/d/', mode: 0o700 },
        { name: 'alias/d', body: 'now a file' },
        { name: 'real/e', type: 'fifo' },
        { name: 'alias/e/', mode: 0o711 },
      ])
      const lines = await dumpTree(join(dir, 'real'), { root: false, mtime: false, nlink: false })
      expect(lines.map((line) => line.split(' ').slice(0, 3).join(' '))).toEqual([
        'd file 0644',
        'e dir 0711',
        'x symlink 0777',
      ])
    })

    it("leaves AUFS' own records out, and gives the observer their bodies", async () => {
      const archive = rawTar([
        { name: '.wh..wh.aufs', body: 'aufs' },
        { name: '.wh..wh.plnk/' },
        { name: '.wh..wh.plnk/1.2', body: 'pseudo link' },
        { name: '.wh.odd', body: 'a whiteout with a body' },
        { name: 'kept', body: 'k' },
      ])
      const recorder = new Recorder()
      const { dir } = await lab.apply(archive, { observer: recorder })
      expect(readdirSync(dir).sort()).toEqual(['kept', 'odd'])
      expect(recorder.bytes.equals(archive)).toBe(true)
      expect(recorder.log.filter((line) => line.startsWith('entry'))).toEqual([
        'entry .wh..wh.aufs 0',
        'entry .wh..wh.plnk/ 0',
        'entry .wh..wh.plnk/1.2 0',
        'entry .wh.odd 0',
        'entry kept 1',
      ])
    })

    it("drops attributes that steer overlayfs or belong to the machine, and a symlink's user attributes", async () => {
      const xattrs = {
        'trusted.overlay.opaque': 'y',
        'trusted.overlay.redirect': '/secret',
        'user.overlay.metacopy': '',
        'security.selinux': 'system_u:object_r:bin_t:s0',
        'com.apple.quarantine': 'q',
        'system.nfs4_acl': 'n',
        'trusted.kept': 't',
        'user.kept': 'u',
      }
      const dir = await lab.base([
        { name: 'd/', xattrs },
        { name: 'f', body: 'x', xattrs },
        { name: 's', type: 'symlink', linkname: 'x', xattrs: { 'user.dropped': 'x', 'trusted.kept': 't' } },
        { name: 'p', type: 'fifo', xattrs: { 'user.dropped': 'x', 'trusted.kept': 't' } },
      ])
      const lines = await dumpTree(dir, { root: false, mtime: false, xattrs: () => true })
      const names = lines.map((line) => [line.split(' ')[0], ...(line.match(/[a-z]+\.[a-z.]+(?==)/g) ?? [])])
      expect(names).toEqual([
        ['d', 'trusted.kept', 'user.kept'],
        ['f', 'trusted.kept', 'user.kept'],
        ['p', 'trusted.kept'],
        ['s', 'trusted.kept'],
      ])
    })

    const refused: [string, MemberSpec[], string, RegExp][] = [
      [
        'a file that replaces a file with content',
        [
          { name: 'a', body: 'x' },
          { name: '/a', body: 'y' },
        ],
        'ERR_BAD_TAR',
        /"\/a" replaces "a" of the same archive/,
      ],
      [
        'a folder that replaces a file with content',
        [{ name: 'a', body: 'x' }, { name: './a/' }],
        'ERR_BAD_TAR',
        /replaces "a"/,
      ],
      [
        'a symlink that replaces a folder with files',
        [
          { name: 'a/f', body: 'x' },
          { name: 'a', type: 'symlink', linkname: 'b' },
        ],
        'ERR_BAD_TAR',
        /replaces "a"/,
      ],
      [
        'a file by a second way to it',
        [
          { name: 'd/' },
          { name: 'l', type: 'symlink', linkname: 'd' },
          { name: 'd/f', body: 'x' },
          { name: 'l/f', body: 'y' },
        ],
        'ERR_BAD_TAR',
        /"l\/f" replaces "d\/f"/,
      ],
      [
        'a file in a file',
        [
          { name: 'a', body: 'x' },
          { name: 'a/b', body: 'y' },
        ],
        'ERR_BAD_TAR',
        /cannot go into "a": "a" is not a directory/,
      ],
      [
        'a file behind a symlink to a file',
        [
          { name: 'f', body: 'x' },
          { name: 'l', type: 'symlink', linkname: 'f' },
          { name: 'l/b', body: 'y' },
        ],
        'ERR_BAD_TAR',
        /is not a directory/,
      ],
      [
        'symlinks that go round in circles',
        [
          { name: 'a', type: 'symlink', linkname: 'b' },
          { name: 'b', type: 'symlink', linkname: 'a' },
          { name: 'a/f', body: 'x' },
        ],
        'ERR_BAD_TAR',
        /too many symlinks/,
      ],
      [
        'a hard link to a folder',
        [{ name: 'd/' }, { name: 'l', type: 'hardlink', linkname: 'd' }],
        'ERR_BAD_TAR',
        /hard link to a directory at byte 512/,
      ],
      [
        'a hard link to the root',
        [{ name: 'l', type: 'hardlink', linkname: '/..' }],
        'ERR_BAD_TAR',
        /hard link to the root/,
      ],
      [
        'a symlink to nothing',
        [{ name: 'l', type: 'symlink', linkname: '' }],
        'ERR_BAD_TAR',
        /a symlink to nothing/,
      ],
      [
        'a device number that does not exist',
        [{ name: 'c', type: 'char', devMajor: 4096, devMinor: 0 }],
        'ERR_BAD_TAR',
        /device number 4096:0/,
      ],
      [
        'a device number that would be cut',
        [{ name: 'c', type: 'block', devMajor: 8, devMinor: 0x100000 }],
        'ERR_BAD_TAR',
        /device number 8:1048576/,
      ],
      [
        'the whiteout of its own folder',
        [{ name: 'd/.wh..' }],
        'ERR_UNSAFE_PATH',
        /would delete its own folder/,
      ],
      ['the whiteout of the folder above', [{ name: 'd/.wh...' }], 'ERR_UNSAFE_PATH', /or the one above/],
      ['the whiteout of nothing', [{ name: '.wh.' }], 'ERR_UNSAFE_PATH', /the whiteout "\.wh\." at byte 0/],
    ]
    it.each(refused)('refuses %s', async (_case, layer, code, message) => {
      const applying = lab.apply(layer)
      await expect(applying).rejects.toMatchObject({ code })
      await expect(applying).rejects.toThrow(message)
    })

    it('says which name the file system cannot take', async () => {
      await expect(lab.apply([{ name: `d/${'n'.repeat(256)}`, body: 'x' }])).rejects.toMatchObject({
        code: 'ENAMETOOLONG',
        path: expect.stringMatching(/^d\/n+$/) as string,
      })
    })

    it('keeps the limits it is given', async () => {
      const layer: MemberSpec[] = [
        { name: 'a', body: 'x' },
        { name: 'b', body: 'y' },
      ]
      await expect(lab.apply(layer, { limits: { maxEntries: 1 } })).rejects.toMatchObject({
        code: 'ERR_LIMIT_EXCEEDED',
      })
    })

    it('stops when aborted, with nothing running any more', async () => {
      const controller = new AbortController()
      async function* source(): AsyncGenerator<Buffer> {
        let i = 0
        for await (const chunk of streamOf(
          rawTar(Array.from({ length: 3000 }, (_, n) => ({ name: `f${String(n)}`, body: 'x' }))),
          65_536,
        )) {
          if (i++ === 5) controller.abort(new Error('enough'))
          yield chunk
        }
      }
      const dir = lab.dir()
      const fd = openSync(dir, 'r')
      await expect(applyLayer(fd, source(), { signal: controller.signal })).rejects.toThrow('enough')
      closeSync(fd)
      const count = readdirSync(dir).length
      await new Promise((resolve) => setImmediate(resolve))
      expect(readdirSync(dir)).toHaveLength(count)
    })

    it('waits for what it started before it fails', async () => {
      const good = Array.from({ length: 600 }, (_, n): MemberSpec => ({
        name: `f${String(n)}`,
        body: 'x'.repeat(5000),
      }))
      const dir = lab.dir()
      const fd = openSync(dir, 'r')
      await expect(
        applyLayer(fd, streamOf(rawTar([...good, { name: '.wh.' }]), 1 << 20), {}),
      ).rejects.toMatchObject({ code: 'ERR_UNSAFE_PATH' })
      // Were anything running still, it would write to whatever gets this number next.
      closeSync(fd)
      const files = readdirSync(dir)
      expect(files.every((name) => statSync(join(dir, name)).size === 5000)).toBe(true)
    })
  },
)

describe.skipIf(missing('hasBinding', 'canMount'))('applyLayer on a file system without attributes', () => {
  it('names the attribute and the file', async () => {
    using lab = new LayerLab()
    execFileSync('mount', ['-t', 'ramfs', 'ramfs', lab.fs.dir])
    try {
      await lab.apply([{ name: 'f', body: 'x' }])
      const applying = lab.apply([{ name: 'd/f', body: 'x', xattrs: { 'user.a': 'b' } }])
      await expect(applying).rejects.toMatchObject({ code: 'ERR_UNSUPPORTED_FS', path: 'd/f' })
      await expect(applying).rejects.toThrow('the file system cannot carry the attribute user.a of d/f')
    } finally {
      execFileSync('umount', [lab.fs.dir])
    }
  })
})

describe.skipIf(missing('hasBinding', 'canMount'))('applyLayer on a full disk', () => {
  it('fails with ENOSPC and the name', async () => {
    using lab = new LayerLab(loopFileSystem('tmpfs', 2 * 2 ** 20))
    await expect(lab.apply([{ name: 'd/big', body: Buffer.alloc(4 * 2 ** 20) }])).rejects.toMatchObject({
      code: 'ENOSPC',
      path: 'd/big',
    })
    await expect(
      lab.apply([
        { name: 'd/mid', body: Buffer.alloc(900_000) },
        { name: 'd/mid2', body: Buffer.alloc(900_000) },
        { name: 'd/mid3', body: Buffer.alloc(900_000) },
      ]),
    ).rejects.toMatchObject({ code: 'ENOSPC' })
  })
})

function sha256(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex')
}
