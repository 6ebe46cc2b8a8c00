/** Archives as images have them, unpacked over a layer; and such as nobody should have made. */
import assert from 'node:assert/strict'
import { existsSync, lstatSync, readFileSync, readlinkSync } from 'node:fs'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { type LayerMember, layerTar } from './archive.ts'
import { namesBelow } from './base.ts'
import { type Cases, type Given, ID } from './cases.ts'
import { streamOf } from './streams.ts'
import { fileAt } from './tree.ts'

const BELOW: readonly LayerMember[] = [
  { name: 'bin', linkname: 'usr/bin' },
  { name: 'dir/' },
  { name: 'dir/lower', body: 'lower' },
  { name: 'dir/sub/' },
  { name: 'dir/sub/deep', body: 'deep' },
  { name: 'file', body: 'file' },
  { name: 'tmp/', mode: 0o1777, uid: 3 },
  { name: 'usr/' },
  { name: 'usr/bin/' },
  { name: 'usr/bin/sh', body: 'sh' },
]

/** What an archive over {@link BELOW} makes of it: the names, with the content of files and the targets of links. */
const MERGES: readonly (readonly [title: string, layer: readonly LayerMember[], shown: readonly string[]])[] =
  [
    ['deletes what a whiteout names', [{ name: '.wh.file' }, { name: 'dir/.wh.sub' }], ['dir/lower=lower']],
    [
      'shows of a folder with an opaque mark only what is beside that, before it or after',
      [
        { name: 'dir/' },
        { name: 'dir/a', body: '1' },
        { name: 'dir/.wh..wh..opq' },
        { name: 'dir/b', body: '2' },
      ],
      ['dir/a=1', 'dir/b=2', 'file=file'],
    ],
    [
      'shows nothing old in a folder that is deleted and given again in one archive',
      [{ name: '.wh.dir' }, { name: 'dir/' }, { name: 'dir/new', body: 'new' }],
      ['dir/new=new', 'file=file'],
    ],
    [
      'deletes only what is below when a name is given again and then deleted',
      [{ name: 'file', body: 'new' }, { name: '.wh.file' }],
      ['dir/lower=lower', 'dir/sub/deep=deep', 'file=new'],
    ],
    [
      'puts a file in the place of a folder',
      [{ name: 'dir', body: 'file now' }],
      ['dir=file now', 'file=file'],
    ],
    [
      'puts a folder in the place of a file, and a link in the place of a folder',
      [{ name: 'file/' }, { name: 'file/inside', body: 'x' }, { name: 'dir', linkname: 'file' }],
      ['dir->file', 'file/inside=x'],
    ],
    [
      'follows a link of the layer below that stands where a folder is meant',
      [{ name: 'bin/tool', body: 'tool' }],
      ['dir/lower=lower', 'dir/sub/deep=deep', 'file=file', 'usr/bin/tool=tool'],
    ],
    [
      'links to a file of the layer below',
      [{ name: 'copy', type: 'hardlink', linkname: 'dir/lower' }],
      ['copy=lower', 'dir/lower=lower', 'dir/sub/deep=deep', 'file=file'],
    ],
    [
      'takes names with dots and slashes to spare',
      [
        { name: './dir//x/../y', body: 'y' },
        { name: '/file', body: 'abs' },
      ],
      ['dir/lower=lower', 'dir/sub/deep=deep', 'dir/y=y', 'file=abs'],
    ],
  ]

/** In each of them: BELOW's own that no archive above touches. */
const ALWAYS = ['bin->usr/bin', 'usr/bin/sh=sh']

const OUTSIDE = 'driver-suite-was-here'

/** Attempts to write outside of the layer: refused, or kept inside. */
const ESCAPES: readonly (readonly [title: string, layer: readonly LayerMember[]])[] = [
  ['a name that goes up', [{ name: `../../../../../../../../tmp/${OUTSIDE}`, body: 'x' }]],
  [
    'an absolute link, and a file through it',
    [
      { name: 'out', linkname: '/tmp' },
      { name: `out/${OUTSIDE}`, body: 'x' },
    ],
  ],
  [
    'a link that goes up, and a file through it',
    [
      { name: 'out', linkname: '../../../../../../../../tmp' },
      { name: `out/${OUTSIDE}`, body: 'x' },
    ],
  ],
  [
    'a hard link to a file outside',
    [{ name: 'passwd', type: 'hardlink', linkname: '../../../../../../../etc/passwd' }],
  ],
  ['a whiteout of its own folder', [{ name: '.wh..' }]],
  ['a whiteout of the folder above', [{ name: 'dir/' }, { name: 'dir/.wh...' }]],
]

export function applyingCases(cases: Cases): void {
  cases.describe('unpacking', () => {
    for (const [title, layer, shown] of MERGES) {
      cases.it(title, async (given) => {
        await given.unpack(ID('a'), undefined, await layerTar(BELOW))
        await given.unpack(ID('b'), ID('a'), await layerTar(layer))
        const expected = [...new Set([...ALWAYS, ...shown])].sort()
        assert.deepEqual(await given.inside(ID('b'), leavesOf), expected)
        await given.copy(ID('b'), ID('a'), ID('c'))
        assert.deepEqual(await given.inside(ID('c'), leavesOf), expected)
      })
    }
    cases.it('gives a folder that is only implied what the same has below', implied)
    for (const [title, layer] of ESCAPES) {
      cases.it(`writes nothing outside for ${title}`, (given) => staysInside(given, layer))
    }
    cases.it('refuses what is no archive, and one that is cut off', refusesRubbish)
    cases.it('stops at the limits that it is given', limits)
    streamCases(cases)
  })
}

function streamCases(cases: Cases): void {
  cases.it("takes chunks of any size, one of Node's streams, and a source that is read", async (given) => {
    const tar = await layerTar(BELOW)
    for (const size of [1, 1000]) {
      await using staged = await given.driver.stage()
      await staged.apply(streamOf(tar, size))
      await staged.commit(ID(String(size).slice(-1)), undefined)
    }
    let at = 0
    const readInto = async (into: Buffer): Promise<number> => {
      const count = tar.copy(into, 0, at)
      at += count
      return count
    }
    const others = { 2: { readInto, close: async () => undefined }, 3: Readable.from([tar]) }
    for (const [name, stream] of Object.entries(others)) {
      await using staged = await given.driver.stage()
      await staged.apply(stream)
      await staged.commit(ID(name), undefined)
    }
    const shown = await given.dump(ID('1'))
    for (const name of ['0', '2', '3']) assert.deepEqual(await given.dump(ID(name)), shown)
  })

  cases.it('tells an observer of every byte, in order', async (given) => {
    const tar = await layerTar([...BELOW, { name: 'big', body: Buffer.alloc(200_000, 3) }])
    const parts: Buffer[] = []
    const see = (bytes: Buffer, start: number, end: number): void => {
      parts.push(Buffer.from(bytes.subarray(start, end)))
    }
    await using staged = await given.driver.stage()
    const observer = { segment: see, body: see, entry: () => undefined }
    await staged.apply(streamOf(tar), { observer })
    assert.equal(Buffer.concat(parts).equals(tar), true)
  })
}

/** Every entry that has nothing in it, with what it holds. */
function leavesOf(root: string): string[] {
  return namesBelow(root)
    .filter((name) => !name.startsWith('tmp') && !lstatSync(join(root, name)).isDirectory())
    .map((name) => {
      const path = join(root, name)
      const isLink = lstatSync(path).isSymbolicLink()
      return isLink ? `${name}->${readlinkSync(path)}` : `${name}=${readFileSync(path, 'utf8')}`
    })
    .sort()
}

async function implied(given: Given): Promise<void> {
  await given.unpack(ID('a'), undefined, await layerTar(BELOW))
  await given.unpack(ID('b'), ID('a'), await layerTar([{ name: 'tmp/file', body: 'x' }]))
  await given.inside(ID('b'), (root) => {
    const { mode, uid } = lstatSync(join(root, 'tmp'))
    assert.deepEqual([mode & 0o7777, uid], [0o1777, 3])
    assert.equal(readFileSync(join(root, 'tmp/file'), 'utf8'), 'x')
  })
}

async function staysInside(given: Given, layer: readonly LayerMember[]): Promise<void> {
  await given.layer(ID('a'), undefined, [fileAt('kept', 'x'), fileAt('dir/kept', 'x')])
  const before = await given.dump(ID('a'))
  const tar = await layerTar(layer)
  await given.unpack(ID('b'), ID('a'), tar).catch((error: unknown) => {
    const { code = '' } = error as { readonly code?: string }
    assert.ok(['ERR_UNSAFE_PATH', 'ERR_BAD_TAR'].includes(code), String(error))
  })
  assert.equal(existsSync(join('/tmp', OUTSIDE)), false)
  assert.deepEqual(await given.dump(ID('a')), before)
  if (!(await given.driver.exists(ID('b')))) return
  await given.inside(ID('b'), (root) => {
    assert.equal(readFileSync(join(root, 'kept'), 'utf8'), 'x')
    assert.equal(readFileSync(join(root, 'dir/kept'), 'utf8'), 'x')
  })
}

async function refusesRubbish({ driver }: Given): Promise<void> {
  const tar = await layerTar([{ name: 'big', body: Buffer.alloc(100_000, 1) }])
  for (const bytes of [Buffer.alloc(2048, 'no tar '), tar.subarray(0, 50_000)]) {
    await using staged = await driver.stage()
    await assert.rejects(staged.apply(streamOf(bytes)), { code: 'ERR_BAD_TAR' })
  }
  assert.deepEqual(await driver.check(new Map()), [])
}

async function limits({ driver }: Given): Promise<void> {
  const tar = await layerTar(BELOW)
  for (const bounds of [{ maxEntries: 3 }, { maxBytes: 5 }, { maxDepth: 2 }]) {
    await using staged = await driver.stage()
    await assert.rejects(staged.apply(streamOf(tar), { limits: bounds }), { code: 'ERR_LIMIT_EXCEEDED' })
  }
  assert.deepEqual(await driver.list(), [])
}
