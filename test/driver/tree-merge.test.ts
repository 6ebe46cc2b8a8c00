/** Putting a layer onto a tree: by rename, and by copying where the two are on two devices. */
import { execFileSync } from 'node:child_process'
import { closeSync, mkdirSync, openSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { mergeUpper } from '../../lib/driver/tree/merge.ts'
import { applyLayer } from '../../lib/driver/upper/apply.ts'
import { PASSING_MARKS } from '../../lib/driver/upper/marks.ts'
import { settleLayer } from '../../lib/driver/upper/settle.ts'
import { missing } from '../helpers/gates.ts'
import { streamOf } from '../../lib/driver-suite/streams.ts'
import { type LoopFileSystem, loopFileSystem } from '../helpers/loopfs.ts'
import { watchLeaks } from '../helpers/mounts.ts'
import { rawTar, type MemberSpec } from '../helpers/rawtar.ts'
import {
  dirAt,
  dumpTree,
  fifoAt,
  fileAt,
  hardlinkAt,
  symlinkAt,
  tree,
  type TreeNode,
} from '../../lib/driver-suite/tree.ts'

const folder = (name: string, extra: Partial<MemberSpec> = {}): MemberSpec => ({
  name: `${name}/`,
  type: 'dir',
  ...extra,
})
const ROOT = folder('.')

interface Case {
  readonly what: string
  readonly below: readonly TreeNode[]
  readonly layer: readonly MemberSpec[]
  readonly merged: readonly TreeNode[]
}

const CASES: readonly Case[] = [
  {
    what: 'a whiteout removes a file, and a folder with all in it',
    below: [fileAt('d/f', 'x'), fileAt('d/kept', 'x'), fileAt('e/deep/er', 'x')],
    layer: [folder('d'), { name: 'd/.wh.f' }, { name: '.wh.e' }],
    merged: [dirAt('d'), fileAt('d/kept', 'x')],
  },
  {
    what: 'a whiteout of what is not there does nothing',
    below: [dirAt('d')],
    layer: [{ name: 'd/.wh.f' }, { name: 'n/.wh.x' }, { name: '.wh.y' }],
    merged: [dirAt('d')],
  },
  {
    what: 'an opaque folder has only what the layer gives it',
    below: [fileAt('d/f', 'x'), fileAt('d/e/g', 'x'), fileAt('d/s/old', 'x')],
    layer: [
      folder('d', { mode: 0o700, mtime: 9 }),
      { name: 'd/.wh..wh..opq' },
      folder('d/s'),
      { name: 'd/s/new', body: 'n' },
      { name: 'd/s/.wh.old' },
    ],
    merged: [dirAt('d', { mode: 0o700, mtime: 9 }), dirAt('d/s'), fileAt('d/s/new', 'n')],
  },
  {
    what: 'an opaque root hides all',
    below: [fileAt('f', 'x'), fileAt('d/g', 'x'), fileAt('k/old', 'x')],
    layer: [{ name: '.wh..wh..opq' }, folder('k'), { name: 'k/new', body: 'n' }],
    merged: [dirAt('k'), fileAt('k/new', 'n')],
  },
  {
    what: 'a file takes the place of a folder, a folder that of a file',
    below: [fileAt('d/f', 'x'), fileAt('f', 'x')],
    layer: [{ name: 'd', body: 'file' }, folder('f'), { name: 'f/g', body: 'g' }],
    merged: [fileAt('d', 'file'), dirAt('f'), fileAt('f/g', 'g')],
  },
  {
    what: 'a symlink and a folder take the place of each other, and none is followed',
    below: [fileAt('d/f', 'x'), fileAt('t/kept', 'x'), symlinkAt('l', 't'), symlinkAt('m', 't')],
    layer: [
      { name: 'd', type: 'symlink', linkname: 't', mode: 0o777 },
      folder('l'),
      { name: 'l/new', body: 'n' },
      { name: 'm', body: 'file' },
    ],
    merged: [
      symlinkAt('d', 't'),
      fileAt('t/kept', 'x'),
      dirAt('l'),
      fileAt('l/new', 'n'),
      fileAt('m', 'file'),
    ],
  },
  {
    what: 'a file replaces a name of a file, not its other names',
    below: [fileAt('a', 'x'), hardlinkAt('b', 'a')],
    layer: [{ name: 'a', body: 'new' }],
    merged: [fileAt('a', 'new'), fileAt('b', 'x')],
  },
  {
    what: 'hard links are links, in folders that are there and in new ones, and to files below',
    below: [dirAt('d'), fileAt('old', 'old')],
    layer: [
      folder('d'),
      { name: 'd/a', body: 'x' },
      folder('n'),
      { name: 'n/b', type: 'hardlink', linkname: 'd/a' },
      { name: 'c', type: 'hardlink', linkname: 'd/a' },
      { name: 'd/old', type: 'hardlink', linkname: 'old' },
    ],
    merged: [
      dirAt('d'),
      fileAt('d/a', 'x'),
      dirAt('n'),
      hardlinkAt('n/b', 'd/a'),
      hardlinkAt('c', 'd/a'),
      fileAt('d/old', 'old'),
      hardlinkAt('old', 'd/old'),
    ],
  },
  {
    what: 'a folder has the owner, mode, time and attributes that the layer gives, and no others',
    below: [
      dirAt('d', { mode: 0o1777, uid: 4, xattrs: { 'user.gone': 'x', 'user.kept': 'x' } }),
      fileAt('d/f', 'x'),
    ],
    layer: [
      folder('d', { mode: 0o2750, uid: 5, gid: 6, mtime: 99, xattrs: { 'user.kept': 'y', 'user.new': 'z' } }),
    ],
    merged: [
      dirAt('d', { mode: 0o2750, uid: 5, gid: 6, mtime: 99, xattrs: { 'user.kept': 'y', 'user.new': 'z' } }),
      fileAt('d/f', 'x'),
    ],
  },
  {
    what: 'so has the root',
    below: [dirAt('', { xattrs: { 'user.gone': 'x' } }), fileAt('f', 'x')],
    layer: [folder('.', { mode: 0o700, mtime: 5, xattrs: { 'user.new': 'z' } }), { name: 'g', body: 'g' }],
    merged: [
      dirAt('', { mode: 0o700, mtime: 5, xattrs: { 'user.new': 'z' } }),
      fileAt('f', 'x'),
      fileAt('g', 'g'),
    ],
  },
  {
    what: 'a folder that is only implied stays as it is, its time too',
    below: [dirAt('d', { mode: 0o1777, mtime: 42, mtimeNsec: 5, xattrs: { 'user.a': 'b' } }), fifoAt('d/p')],
    layer: [{ name: 'd/new', body: 'n' }, { name: 'd/.wh.p' }],
    merged: [
      dirAt('d', { mode: 0o1777, mtime: 42, mtimeNsec: 5, xattrs: { 'user.a': 'b' } }),
      fileAt('d/new', 'n'),
    ],
  },
  {
    what: 'names are bytes',
    below: [fileAt(Buffer.from('\xff/\xfe', 'latin1'), 'x'), fileAt(Buffer.from('\xff/k', 'latin1'), 'x')],
    layer: [
      { name: Buffer.from('\xff/.wh.\xfe', 'latin1') },
      { name: Buffer.from('\xff/\xfd', 'latin1'), body: 'y' },
    ],
    merged: [fileAt(Buffer.from('\xff/k', 'latin1'), 'x'), fileAt(Buffer.from('\xff/\xfd', 'latin1'), 'y')],
  },
]

const gates = ['hasBinding', 'canMount', 'canLoop', 'hasBtrfs', 'canMknod', 'canTrustedXattr'] as const

describe.skipIf(missing(...gates)).each(['folders', 'subvolumes'])('merging two %s', (kind) => {
  let fs: LoopFileSystem
  let count = 0
  beforeAll(() => {
    fs = loopFileSystem(kind === 'folders' ? 'tmpfs' : 'btrfs')
  })
  afterAll(() => fs.dispose())
  watchLeaks(() => [fs.dir])

  const make = (path: string): void => {
    if (kind === 'folders') mkdirSync(path)
    else execFileSync('btrfs', ['subvolume', 'create', path], { stdio: 'pipe' })
  }

  /** Opens the folders for the time of `work`. */
  const opened = async <T>(paths: readonly string[], work: (...fds: number[]) => Promise<T>): Promise<T> => {
    const fds = paths.map((path) => openSync(path, 'r'))
    try {
      return await work(...fds)
    } finally {
      fds.forEach((fd) => closeSync(fd))
    }
  }

  const merge = async (root: string, layer: readonly MemberSpec[], signal?: AbortSignal): Promise<void> => {
    const [upper, onto] = [join(root, 'diff'), join(root, 'tree')]
    await opened([upper, onto], async (diffFd = -1, treeFd = -1) => {
      const notes = await applyLayer(diffFd, streamOf(rawTar(layer)), { marks: PASSING_MARKS })
      const settled = await settleLayer(diffFd, treeFd, notes, { marks: PASSING_MARKS })
      await mergeUpper({ home: root, upper, tree: onto, settled, signal })
    })
  }

  const newRoot = (): string => {
    const root = join(fs.dir, `root-${String(count++)}`)
    mkdirSync(root)
    for (const name of ['diff', 'tree', 'expected']) make(join(root, name))
    return root
  }

  it.each(CASES)('$what', async ({ below, layer, merged }) => {
    const root = newRoot()
    await tree(join(root, 'tree'), [dirAt(''), ...below])
    await tree(join(root, 'expected'), [dirAt(''), ...merged])
    await merge(root, [ROOT, ...layer])
    expect(await dumpTree(join(root, 'tree'))).toEqual(await dumpTree(join(root, 'expected')))
  })

  it('stops when it is aborted', async () => {
    const root = newRoot()
    const reason = new Error('enough')
    await expect(merge(root, [ROOT, { name: 'f' }], AbortSignal.abort(reason))).rejects.toBe(reason)
  })
})
