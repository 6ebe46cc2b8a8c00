/** What a layer means once the layers below are known: the merged view, as the kernel gives it. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openOverlay2 } from '../../lib/driver/overlay2/driver.ts'
import { openVfs } from '../../lib/driver/vfs/driver.ts'
import { missing } from '../helpers/gates.ts'
import { LayerLab, type LayerSpec } from '../helpers/layers.ts'
import { loopFileSystem } from '../helpers/loopfs.ts'
import { watchLeaks } from '../helpers/mounts.ts'
import type { MemberSpec } from '../helpers/rawtar.ts'
import {
  charAt,
  dirAt,
  fifoAt,
  fileAt,
  hardlinkAt,
  type Meta,
  symlinkAt,
  type TreeNode,
} from '../../lib/driver-suite/tree.ts'

const EPOCH: Meta = { mtime: 0 }

const dir = (name: string, extra: Partial<MemberSpec> = {}): MemberSpec => ({
  name: `${name}/`,
  type: 'dir',
  ...extra,
})
const file = (name: string, body = name, extra: Partial<MemberSpec> = {}): MemberSpec => ({
  name,
  body,
  ...extra,
})
const symlink = (name: string, linkname: string): MemberSpec => ({
  name,
  type: 'symlink',
  linkname,
  mode: 0o777,
})
const hardlink = (name: string, linkname: string): MemberSpec => ({ name, type: 'hardlink', linkname })
const whiteout = (name: string): MemberSpec => ({ name: name.replace(/([^/]*)$/, '.wh.$1') })
const opaque = (name: string): MemberSpec => ({ name: `${name}/.wh..wh..opq` })
const ROOT = dir('.')

describe.skipIf(missing('hasBinding', 'canMount', 'canMknod', 'canTrustedXattr')).each([
  ['overlay2', openOverlay2],
  ['vfs', openVfs],
] as const)('a settled layer on %s', (_, open) => {
  let lab: LayerLab
  beforeAll(() => {
    lab = new LayerLab(loopFileSystem('tmpfs'), open)
  })
  afterAll(() => {
    lab[Symbol.dispose]()
  })
  watchLeaks(() => [])

  /** Every layer begins with its root, so that only what a test is about is implied. */
  const check = async (layers: readonly (readonly MemberSpec[])[], nodes: readonly TreeNode[]) => {
    const { lines } = await lab.merged(layers.map((layer): LayerSpec => [ROOT, ...layer]))
    expect(lines).toEqual(await lab.expected([dirAt(''), ...nodes]))
  }

  describe('whose folder is only implied', () => {
    it('has the owner, mode, time and attributes of the folder below', async () => {
      const tmp = { mode: 0o1777, uid: 5, gid: 6, mtime: 1_600_000_000, xattrs: { 'user.a': 'b' } }
      await check([[dir('tmp', tmp)], [file('tmp/y')]], [dirAt('tmp', tmp), fileAt('tmp/y', 'tmp/y')])
    })

    it('has them from the nearest layer that says anything, through implied ones between', async () => {
      await check(
        [
          [dir('a', { mode: 0o700 }), dir('a/b', { mode: 0o711 })],
          [dir('a', { mode: 0o750 })],
          [file('a/b/c')],
          [file('a/b/d')],
        ],
        [
          dirAt('a', { mode: 0o750 }),
          dirAt('a/b', { mode: 0o711 }),
          fileAt('a/b/c', 'a/b/c'),
          fileAt('a/b/d', 'a/b/d'),
        ],
      )
    })

    it("is root's, 0755 and of no time when nothing is below", async () => {
      await check(
        [[file('a/b/c')], [file('x/y')]],
        [
          dirAt('a', EPOCH),
          dirAt('a/b', EPOCH),
          fileAt('a/b/c', 'a/b/c'),
          dirAt('x', EPOCH),
          fileAt('x/y', 'x/y'),
        ],
      )
    })

    it('hides a file below', async () => {
      await check([[file('a')], [file('a/b')]], [dirAt('a', EPOCH), fileAt('a/b', 'a/b')])
    })

    it('counts as given when the archive gives it later', async () => {
      await check(
        [[dir('a', { mode: 0o700 })], [file('a/b'), dir('a', { mode: 0o711 })]],
        [dirAt('a', { mode: 0o711 }), fileAt('a/b', 'a/b')],
      )
    })

    it('can be the root', async () => {
      const { lines } = await lab.merged([
        [dir('.', { mode: 0o700, uid: 3, mtime: 5 }), file('a')],
        [file('b')],
      ])
      const nodes = [dirAt('', { mode: 0o700, uid: 3, mtime: 5 }), fileAt('a', 'a'), fileAt('b', 'b')]
      expect(lines).toEqual(await lab.expected(nodes))
      const rootless = await lab.merged([[file('a')]])
      expect(rootless.lines).toEqual(await lab.expected([dirAt('', EPOCH), fileAt('a', 'a')]))
    })
  })

  describe('with whiteouts', () => {
    it('hides what is below, and nothing that it brings, in either order', async () => {
      const below = [file('f', 'old'), dir('d', { mode: 0o700 }), file('d/old'), file('g', 'old')]
      const nodes = [dirAt('d', { mode: 0o711 }), fileAt('d/new', 'd/new'), fileAt('f', 'new')]
      const given = [dir('d', { mode: 0o711 }), file('d/new'), file('f', 'new')]
      const gone = [whiteout('d'), whiteout('f'), whiteout('g')]
      await check([below, [...gone, ...given]], nodes)
      await check([below, [...given, ...gone]], nodes)
    })

    it('deletes a folder that is given again by what is in it alone', async () => {
      const below = [dir('d', { mode: 0o700 }), file('d/old')]
      const nodes = [dirAt('d', EPOCH), fileAt('d/new', 'd/new')]
      await check([below, [whiteout('d'), file('d/new')]], nodes)
      await check([below, [file('d/new'), whiteout('d')]], nodes)
    })

    it('deletes the folder all the same when it deletes things in it too', async () => {
      const below = [dir('d'), dir('d/e'), file('d/e/f'), file('k')]
      await check([below, [whiteout('d'), whiteout('d/e'), whiteout('d/e/f')]], [fileAt('k', 'k')])
      await check([below, [whiteout('d/e/f'), whiteout('d/e'), whiteout('d')]], [fileAt('k', 'k')])
    })

    it('deletes what a symlink leads to, though nothing but a mark is to be in it', async () => {
      const below = [dir('c'), file('c/old'), dir('b'), symlink('b/a', '../c')]
      const nodes = [dirAt('b'), symlinkAt('b/a', '../c', { mode: 0o777 })]
      await check([below, [whiteout('c'), opaque('b/a')]], nodes)
      await check([below, [opaque('b/a'), whiteout('c')]], nodes)
    })

    it('makes a folder opaque, given or implied, wherever the mark stands', async () => {
      const below = [dir('d', { mode: 0o700, mtime: 7 }), file('d/old'), dir('d/sub'), file('d/sub/old')]
      await check([below, [dir('d'), opaque('d'), file('d/new')]], [dirAt('d'), fileAt('d/new', 'd/new')])
      await check([below, [file('d/new'), opaque('d'), dir('d')]], [dirAt('d'), fileAt('d/new', 'd/new')])
      await check(
        [below, [opaque('d'), file('d/sub/new')]],
        [dirAt('d', { mode: 0o700, mtime: 7 }), dirAt('d/sub', EPOCH), fileAt('d/sub/new', 'd/sub/new')],
      )
      await check([below, [opaque('d')]], [dirAt('d', { mode: 0o700, mtime: 7 })])
    })

    it('makes the root opaque, name by name', async () => {
      const below = [
        file('a', 'old'),
        dir('d', { mode: 0o700 }),
        file('d/old'),
        file('gone'),
        dir('e', { mode: 0o700 }),
      ]
      await check(
        [below, [{ name: '.wh..wh..opq' }, file('a', 'new'), dir('d'), file('d/new'), file('e/x')]],
        [fileAt('a', 'new'), dirAt('d'), fileAt('d/new', 'd/new'), dirAt('e', EPOCH), fileAt('e/x', 'e/x')],
      )
    })

    it('lists none of them: not in base layers, opaque folders, or folders that are not below', async () => {
      await check([[dir('d'), whiteout('d/x'), whiteout('y')]], [dirAt('d')])
      await check(
        [[file('k')], [whiteout('nowhere/x'), dir('d'), whiteout('d/x')]],
        [dirAt('d'), fileAt('k', 'k')],
      )
      await check(
        [
          [dir('d'), file('d/x')],
          [dir('d'), opaque('d'), whiteout('d/x'), dir('d/s'), whiteout('d/s/y')],
        ],
        [dirAt('d'), dirAt('d/s')],
      )
      await check([[file('d')], [dir('d'), whiteout('d/x')]], [dirAt('d')])
    })

    it('reaches through layers, and stops at what hides them', async () => {
      await check(
        [[dir('d'), file('d/1')], [file('d/2')], [whiteout('d/1')], [file('d/3')]],
        [dirAt('d'), fileAt('d/2', 'd/2'), fileAt('d/3', 'd/3')],
      )
      await check(
        [[dir('d'), file('d/1')], [file('d', 'a file')], [dir('d'), file('d/2')]],
        [dirAt('d'), fileAt('d/2', 'd/2')],
      )
      await check(
        [[dir('d'), file('d/1')], [whiteout('d')], [file('d/2')]],
        [dirAt('d', EPOCH), fileAt('d/2', 'd/2')],
      )
    })

    it('takes a character device 0:0 for one', async () => {
      const device: MemberSpec = { name: 'd/x', type: 'char', devMajor: 0, devMinor: 0 }
      await check(
        [
          [dir('d'), file('d/x'), file('d/y')],
          [dir('d'), device],
        ],
        [dirAt('d'), fileAt('d/y', 'd/y')],
      )
    })

    it('puts back the time of a given folder that whiteouts are taken from', async () => {
      await check([[dir('d', { mtime: 42 }), whiteout('d/x')]], [dirAt('d', { mtime: 42 })])
    })
  })

  describe('over a symlink', () => {
    const merged = [
      dir('usr'),
      dir('usr/bin', { mode: 0o711 }),
      file('usr/bin/old'),
      symlink('bin', 'usr/bin'),
    ]
    const kept = [
      dirAt('usr'),
      dirAt('usr/bin', { mode: 0o711 }),
      symlinkAt('bin', 'usr/bin', { mode: 0o777 }),
    ]

    it('is followed when the folder is implied', async () => {
      await check(
        [merged, [file('bin/new')]],
        [...kept, fileAt('usr/bin/old', 'usr/bin/old'), fileAt('usr/bin/new', 'bin/new')],
      )
    })

    it.each([
      ['absolute', '/usr/bin'],
      ['that climbs above the root', '../../../usr/bin'],
      ['with dots', './usr/./../usr/bin/'],
    ])('is followed inside the root: %s', async (_case, target) => {
      const below = [dir('usr'), dir('usr/bin', { mode: 0o711 }), symlink('bin', target)]
      await check(
        [below, [file('bin/new')]],
        [
          dirAt('usr'),
          dirAt('usr/bin', { mode: 0o711 }),
          symlinkAt('bin', target, { mode: 0o777 }),
          fileAt('usr/bin/new', 'bin/new'),
        ],
      )
    })

    it('is hidden by a folder that the layer gives', async () => {
      await check(
        [merged, [dir('bin'), file('bin/new')]],
        [
          ...kept.slice(0, 2),
          fileAt('usr/bin/old', 'usr/bin/old'),
          dirAt('bin'),
          fileAt('bin/new', 'bin/new'),
        ],
      )
    })

    it('is gone when the layer deletes it', async () => {
      const nodes = [
        ...kept.slice(0, 2),
        fileAt('usr/bin/old', 'usr/bin/old'),
        dirAt('bin', EPOCH),
        fileAt('bin/new', 'bin/new'),
      ]
      await check([merged, [whiteout('bin'), file('bin/new')]], nodes)
      await check([merged, [file('bin/new'), whiteout('bin')]], nodes)
    })

    it('is followed through chains, with folders and whiteouts', async () => {
      const below = [
        dir('real'),
        dir('real/sub', { mode: 0o700 }),
        file('real/sub/gone'),
        file('real/sub/kept'),
        symlink('b', 'real'),
        symlink('a', 'b'),
      ]
      await check(
        [below, [whiteout('a/sub/gone'), file('a/sub/new'), file('b/other')]],
        [
          dirAt('real'),
          dirAt('real/sub', { mode: 0o700 }),
          fileAt('real/sub/kept', 'real/sub/kept'),
          fileAt('real/sub/new', 'a/sub/new'),
          fileAt('real/other', 'b/other'),
          symlinkAt('b', 'real', { mode: 0o777 }),
          symlinkAt('a', 'b', { mode: 0o777 }),
        ],
      )
    })

    it('is followed where it lies in what a symlink leads to', async () => {
      const below = [dir('x'), dir('y'), symlink('x/in', '../y'), symlink('a', 'x')]
      await check(
        [below, [file('a/in/f')]],
        [
          dirAt('x'),
          dirAt('y'),
          symlinkAt('x/in', '../y', { mode: 0o777 }),
          symlinkAt('a', 'x', { mode: 0o777 }),
          fileAt('y/f', 'a/in/f'),
        ],
      )
    })

    it('leads to folders that the layer brings itself', async () => {
      await check(
        [
          merged,
          [
            dir('usr'),
            dir('usr/bin', { mode: 0o700 }),
            file('usr/bin/a'),
            file('bin/b'),
            dir('bin/d', { mode: 0o750 }),
            file('usr/bin/d/x'),
          ],
        ],
        [
          dirAt('usr'),
          dirAt('usr/bin', { mode: 0o700 }),
          symlinkAt('bin', 'usr/bin', { mode: 0o777 }),
          fileAt('usr/bin/old', 'usr/bin/old'),
          fileAt('usr/bin/a', 'usr/bin/a'),
          fileAt('usr/bin/b', 'bin/b'),
          dirAt('usr/bin/d', { mode: 0o750 }),
          fileAt('usr/bin/d/x', 'usr/bin/d/x'),
        ],
      )
    })

    it('leads to nothing yet: the folder is made there', async () => {
      await check(
        [[symlink('a', 'no/where')], [file('a/f')]],
        [
          symlinkAt('a', 'no/where', { mode: 0o777 }),
          dirAt('no', EPOCH),
          dirAt('no/where', EPOCH),
          fileAt('no/where/f', 'a/f'),
        ],
      )
    })

    it.each([
      ['to itself', [symlink('a', 'a')]],
      ['round in circles', [symlink('a', 'b'), symlink('b', 'a')]],
      ['to a file', [symlink('a', 'f'), file('f')]],
    ])('that leads %s is hidden by the folder', async (_case, below) => {
      const others = below
        .slice(1)
        .map((m) => (m.type === 'symlink' ? symlinkAt('b', 'a', { mode: 0o777 }) : fileAt('f', 'f')))
      await check([below, [file('a/x')]], [dirAt('a', EPOCH), fileAt('a/x', 'a/x'), ...others])
    })

    it('carries an opaque mark and whiteouts to the folder behind it', async () => {
      await check([merged, [opaque('bin'), file('bin/new')]], [...kept, fileAt('usr/bin/new', 'bin/new')])
      await check([merged, [whiteout('bin/old')]], kept)
      await check(
        [merged, [whiteout('bin/old'), file('usr/bin/old', 'new')]],
        [...kept, fileAt('usr/bin/old', 'new')],
      )
      await check(
        [merged, [file('bin/old', 'new'), whiteout('usr/bin/old')]],
        [...kept, fileAt('usr/bin/old', 'new')],
      )
    })

    it('deletes and gives a folder behind it at once', async () => {
      const below = [
        dir('usr'),
        dir('usr/bin', { mode: 0o711 }),
        dir('usr/bin/d'),
        file('usr/bin/d/old'),
        symlink('bin', 'usr/bin'),
      ]
      const nodes = [...kept, dirAt('usr/bin/d', EPOCH), fileAt('usr/bin/d/new', 'new')]
      await check([below, [whiteout('bin/d'), file('usr/bin/d/new', 'new')]], nodes)
      await check([below, [file('bin/d/new', 'new'), whiteout('usr/bin/d')]], nodes)
    })

    it('refuses two files that fall together behind it', async () => {
      await expect(lab.merged([merged, [file('bin/x'), file('usr/bin/x')]])).rejects.toThrow(
        /^bad tar: "bin\/x" and "usr\/bin\/x" are one file, since "bin" is a symlink below$/,
      )
      await expect(
        lab.merged([[...merged], [hardlink('bin/x', 'usr/bin/old'), file('usr/bin/x')]]),
      ).rejects.toMatchObject({
        code: 'ERR_BAD_TAR',
      })
    })

    it('keeps the time of a given folder that something is moved into', async () => {
      await check(
        [merged, [dir('usr', { mtime: 3 }), dir('usr/bin', { mtime: 4 }), file('bin/new')]],
        [
          dirAt('usr', { mtime: 3 }),
          dirAt('usr/bin', { mtime: 4 }),
          symlinkAt('bin', 'usr/bin', { mode: 0o777 }),
          fileAt('usr/bin/old', 'usr/bin/old'),
          fileAt('usr/bin/new', 'bin/new'),
        ],
      )
    })
  })

  describe('with hard links to files below', () => {
    it('copies the file up, with its metadata, and links to it', async () => {
      const body = 'x'.repeat(200_000)
      const capability = Buffer.from('0100000200040000000000000000000000000000', 'hex')
      const xattrs = { 'user.a': 'b', 'security.capability': capability }
      const meta = { mode: 0o4755, uid: 7, gid: 8, mtime: 9, xattrs }
      await check(
        [
          [dir('d', { mode: 0o700 }), file('d/f', body, meta)],
          [hardlink('l', 'd/f'), hardlink('m', '/d/f')],
        ],
        [
          dirAt('d', { mode: 0o700 }),
          fileAt('d/f', body, meta),
          hardlinkAt('l', 'd/f'),
          hardlinkAt('m', 'd/f'),
        ],
      )
    })

    it('counts the copy in its size', async () => {
      const { size } = await lab.merged([
        [ROOT, file('f', 'x'.repeat(1000))],
        [ROOT, file('g', 'gg'), hardlink('l', 'f'), hardlink('m', 'l')],
      ])
      expect(size).toBe(1002)
    })

    it('links to symlinks, devices and fifos', async () => {
      await check(
        [
          [
            symlink('s', 'nowhere'),
            { name: 'c', type: 'char', devMajor: 1, devMinor: 3 },
            { name: 'p', type: 'fifo' },
          ],
          [hardlink('s2', 's'), hardlink('c2', 'c'), hardlink('p2', 'p')],
        ],
        [
          symlinkAt('s', 'nowhere', { mode: 0o777 }),
          hardlinkAt('s2', 's'),
          charAt('c', 1, 3),
          hardlinkAt('c2', 'c'),
          fifoAt('p'),
          hardlinkAt('p2', 'p'),
        ],
      )
    })

    it('follows symlinks to the file, of its own and below', async () => {
      const below = [dir('usr'), dir('usr/bin'), file('usr/bin/f', 'f'), symlink('bin', 'usr/bin')]
      await check(
        [
          below,
          [symlink('sbin', 'bin'), hardlink('l', 'bin/f'), hardlink('m', 'sbin/f'), hardlink('bin/n', 'l')],
        ],
        [
          dirAt('usr'),
          dirAt('usr/bin'),
          fileAt('usr/bin/f', 'f'),
          hardlinkAt('l', 'usr/bin/f'),
          hardlinkAt('m', 'usr/bin/f'),
          hardlinkAt('usr/bin/n', 'usr/bin/f'),
          symlinkAt('bin', 'usr/bin', { mode: 0o777 }),
          symlinkAt('sbin', 'bin', { mode: 0o777 }),
        ],
      )
    })

    it('renames: the name below is deleted, the file stays by the new ones', async () => {
      const nodes = [fileAt('b', 'a'), hardlinkAt('c', 'b')]
      await check([[file('a', 'a')], [hardlink('b', 'a'), whiteout('a'), hardlink('c', 'a')]], nodes)
      await check([[file('a', 'a')], [whiteout('a'), hardlink('b', 'a'), hardlink('c', 'b')]], nodes)
      await check(
        [
          [dir('d'), file('d/a', 'a')],
          [dir('d'), opaque('d'), hardlink('b', 'd/a'), hardlink('c', 'd/a')],
        ],
        [dirAt('d'), ...nodes],
      )
    })

    it('links to a file that the archive brings only later', async () => {
      await check(
        [[file('k')], [hardlink('b', 'a'), hardlink('c', 'b'), file('a', 'new')]],
        [fileAt('k', 'k'), fileAt('a', 'new'), hardlinkAt('b', 'a'), hardlinkAt('c', 'a')],
      )
    })

    it('keeps a file of the folder that it takes the place of', async () => {
      const below = [dir('c'), file('c/x', 'x')]
      await check([below, [hardlink('c', 'c/x')]], [fileAt('c', 'x')])
    })

    it('of the same name copies the file up', async () => {
      await check(
        [[file('a', 'a', { mode: 0o600 })], [hardlink('a', 'a')]],
        [fileAt('a', 'a', { mode: 0o600 })],
      )
    })

    it.each([
      ['that is nowhere', [file('x')], [hardlink('l', 'nowhere')]],
      ['in a folder that is nowhere', [file('x')], [hardlink('l', 'no/where')]],
      ['that is a folder below', [dir('d')], [hardlink('l', 'd')]],
      ['that was deleted below', [file('x')], [hardlink('l', 'gone')]],
      ['that is a link to this one', [file('x')], [hardlink('l', 'm'), hardlink('m', 'l')]],
    ])('to one %s are refused', async (_case, below, layer) => {
      const merging = lab.merged([below, layer])
      await expect(merging).rejects.toThrow(/^bad tar: the hard link ".*" leads to ".*", a file that neither/)
      await expect(merging).rejects.toMatchObject({ code: 'ERR_BAD_TAR' })
    })
  })
})
