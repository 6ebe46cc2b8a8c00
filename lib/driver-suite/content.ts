/** What can be in a layer, and has to come through a diff and its unpacking unchanged. */
import assert from 'node:assert/strict'
import {
  closeSync,
  linkSync,
  lstatSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import { manyFiles } from './base.ts'
import { type Cases, type Given, ID } from './cases.ts'
import { blockAt, charAt, dirAt, fifoAt, fileAt, hardlinkAt, symlinkAt, tree, type TreeNode } from './tree.ts'

const ODD_NAMES: readonly (string | Buffer)[] = [
  'co:lon',
  'com,ma',
  'back\\slash',
  'new\nline',
  ' space ',
  '"quotes\'',
  '-dash',
  'a=b',
  '%41',
  'wh.x',
  '.w',
  'naïve',
  Buffer.from([0x66, 0xff, 0xfe]),
  Buffer.from([0x01, 0x7f]),
]

/** What a capability is on disk: version 2, effective, cap_net_bind_service. */
const CAPABILITY = Buffer.from('0100000200040000000000000000000000000000', 'hex')

/** By what they are called in the title: nodes of which each has to be there after a commit as it was before. */
const CONTENTS: readonly (readonly [title: string, nodes: readonly TreeNode[]])[] = [
  ['names of odd bytes, colons and commas', ODD_NAMES.map((name) => fileAt(name, 'x'))],
  [
    'folders of odd names',
    ODD_NAMES.map((name) => fileAt(Buffer.concat([Buffer.from(name), Buffer.from('/f')]))),
  ],
  ['a file below fifty folders', [fileAt(Array<string>(50).fill('d').join('/'), 'deep')]],
  [
    'modes with setuid, setgid and sticky, and none at all',
    [
      fileAt('suid', 'x', { mode: 0o4755 }),
      fileAt('sgid', 'x', { mode: 0o2711 }),
      fileAt('none', 'x', { mode: 0 }),
      dirAt('tmp', { mode: 0o1777 }),
      dirAt('shared', { mode: 0o2775 }),
    ],
  ],
  [
    'owners of more than 16 bits',
    [fileAt('f', '', { uid: 70_000, gid: 2_100_000_000 }), dirAt('d', { uid: 65_534, gid: 65_535 })],
  ],
  ['devices and pipes', [charAt('null', 1, 3, { mode: 0o666 }), blockAt('disk', 8, 300), fifoAt('pipe')]],
  [
    'symlinks to anything',
    [
      symlinkAt('absolute', '/etc/passwd'),
      symlinkAt('up', '../../../x'),
      symlinkAt('nowhere', 'none', { uid: 5, gid: 6 }),
      symlinkAt('long', 't'.repeat(1000)),
      symlinkAt('bytes', Buffer.from([0xff, 0x0a])),
    ],
  ],
  [
    'extended attributes and capabilities',
    [
      fileAt('f', 'x', { xattrs: { 'user.note': Buffer.from([0, 1, 0xff]), 'user.empty': '' } }),
      fileAt('ping', 'x', { mode: 0o755, xattrs: { 'security.capability': CAPABILITY } }),
      dirAt('d', { xattrs: { 'user.dir': 'yes' } }),
    ],
  ],
  [
    'times before 1970 and after 2038',
    [fileAt('old', '', { mtime: -3600 }), fileAt('new', '', { mtime: 5e9 })],
  ],
  ['hundreds of files in a folder', manyFiles(300, 3)],
  ['empty folders', [dirAt('a'), dirAt('b/c')]],
]

export function contentCases(cases: Cases): void {
  cases.describe('a layer keeps', () => {
    for (const [title, nodes] of CONTENTS) keepsCase(cases, title, nodes)
    const name = 'n'.repeat(cases.supports.maxName)
    const longNames = [
      fileAt(Array<string>(8).fill(name).join('/'), 'deep'),
      symlinkAt(`l${name.slice(1)}`, 'x'),
    ]
    keepsCase(cases, `names of ${String(name.length)} bytes, and long paths`, longNames)
    linkCases(cases)
    cases.it('the kind that an entry changed to', changesOfKind)
    cases.it('large files, with their holes read as NULs', largeFiles)
  })
}

function keepsCase(cases: Cases, title: string, nodes: readonly TreeNode[]): void {
  cases.it(`${title}, new and below`, async (given) => {
    await given.commit([], (root) => tree(root, nodes))
    assert.ok((await given.dump(ID('c'))).length >= nodes.length)
    await given.driver.createReadWrite(ID('d'), ID('c'))
    assert.deepEqual(await given.dump(ID('d')), await given.dump(ID('c')))
    assert.deepEqual(await given.changes(ID('d'), ID('c')), [])
  })
}

function linkCases(cases: Cases): void {
  cases.needs('hardLinks', 'hard links of new files', async (given) => {
    await given.commit([], (root) =>
      tree(root, [fileAt('a', 'x'), hardlinkAt('b', 'a'), hardlinkAt('d/c', 'a')]),
    )
    await given.inside(ID('c'), (root) => {
      const stats = ['a', 'b', 'd/c'].map((name) => lstatSync(join(root, name)))
      assert.ok(stats.every(({ nlink }) => nlink > 1))
      assert.equal(new Set(stats.map(({ ino }) => ino)).size, 1)
    })
  })

  cases.it('hard links to files of the layer below', async (given) => {
    await given.commit([fileAt('bin/tool', 'x'.repeat(100))], (root) => {
      linkSync(join(root, 'bin/tool'), join(root, 'tool'))
    })
    await given.inside(ID('c'), (root) => {
      for (const name of ['bin/tool', 'tool']) assert.equal(readFileSync(join(root, name)).length, 100)
    })
  })

  cases.needs(
    'linksBelow',
    'the other name of a file of the layer below, when one is written to or deleted',
    async (given) => {
      const base = [fileAt('a', 'x'), hardlinkAt('b', 'a'), fileAt('c', 'y'), hardlinkAt('d', 'c')]
      await given.commit(base, (root) => {
        rmSync(join(root, 'a'))
        writeFileSync(join(root, 'c'), 'written')
      })
      await given.inside(ID('c'), (root) => {
        assert.equal(readFileSync(join(root, 'b'), 'utf8'), 'x')
        assert.equal(readFileSync(join(root, 'c'), 'utf8'), 'written')
      })
    },
  )
}

/** Each kind over each other one. */
async function changesOfKind(given: Given): Promise<void> {
  const kinds: readonly ((path: string) => TreeNode)[] = [
    (path) => fileAt(path, 'file'),
    (path) => fileAt(`${path}/inside`, 'file'),
    (path) => symlinkAt(path, 'elsewhere'),
    (path) => fifoAt(path),
  ]
  const pairs = kinds.flatMap((before, from) =>
    kinds.map((after, to) => ({ path: `${String(from)}-${String(to)}`, before, after })),
  )
  await given.commit(
    pairs.map(({ path, before }) => before(path)),
    async (root) => {
      for (const { path } of pairs) rmSync(join(root, path), { recursive: true })
      await tree(
        root,
        pairs.map(({ path, after }) => after(path)),
      )
    },
  )
  await given.inside(ID('c'), (root) => {
    const letters = pairs.map(({ path }) => {
      const stat = lstatSync(join(root, path))
      return stat.isFile() ? 0 : stat.isDirectory() ? 1 : stat.isSymbolicLink() ? 2 : 3
    })
    assert.deepEqual(letters, [0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3])
  })
}

/** Data at the begin and at the end of 4 MB, and a file full of it. */
async function largeFiles(given: Given): Promise<void> {
  const size = 4_000_001
  const full = Buffer.alloc(2_500_000, 'overlaid ')
  await given.commit([fileAt('changed', full)], async (root) => {
    await tree(root, [fileAt('full', full)])
    const fd = openSync(join(root, 'holes'), 'w')
    writeSync(fd, 'begin', 0)
    writeSync(fd, 'end', size - 3)
    closeSync(fd)
    const again = openSync(join(root, 'changed'), 'r+')
    writeSync(again, 'X', 1_000_000)
    closeSync(again)
  })
  await given.inside(ID('c'), (root) => {
    const holes = Buffer.alloc(size)
    holes.write('begin')
    holes.write('end', size - 3)
    assert.equal(readFileSync(join(root, 'holes')).equals(holes), true)
    assert.equal(readFileSync(join(root, 'full')).equals(full), true)
    const changed = Buffer.from(full)
    changed.write('X', 1_000_000)
    assert.equal(readFileSync(join(root, 'changed')).equals(changed), true)
  })
}
