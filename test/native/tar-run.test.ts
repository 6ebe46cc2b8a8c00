import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { binding } from '../../lib/native/binding.ts'
import { runReader } from '../../lib/native/tar-run.ts'
import { TarScanner } from '../../lib/tar/scanner.ts'
import { missing } from '../helpers/gates.ts'
import { checksummed, paxMember, rawHeader, rawTar, type TarSpec } from '../helpers/rawtar.ts'
import { Members, scanInPieces } from '../helpers/tar.ts'

const MANY = 40

/** What a scanner makes of an archive, or the error it ends with; and how many members came in runs. */
async function scanned(
  archive: Buffer,
  options: { runs: boolean; chunkSize?: number; maxEntries?: number },
): Promise<{ outcome: unknown; inRuns: number }> {
  const sink = new Members(undefined, true)
  const { maxEntries = 1e6, chunkSize = 1 << 20 } = options
  const scanner = new TarScanner(sink, {
    limits: { maxEntries },
    ...(options.runs && { readRun: runReader() }),
  })
  try {
    await scanInPieces(scanner, archive, chunkSize)
    return { outcome: sink.all, inRuns: sink.inRuns }
  } catch (error) {
    return { outcome: { before: sink.all, error: String(error) }, inRuns: sink.inRuns }
  }
}

/** Reads both ways, expects the same, gives how many members came in runs. */
async function inRuns(archive: Buffer, chunkSize?: number): Promise<number> {
  const more = chunkSize === undefined ? {} : { chunkSize }
  const slow = await scanned(archive, { runs: false, ...more })
  const fast = await scanned(archive, { runs: true, ...more })
  expect(fast.outcome).toEqual(slow.outcome)
  return fast.inRuns
}

function many(spec: (i: number) => TarSpec | Buffer): Buffer {
  return rawTar(Array.from({ length: MANY }, (_, i) => spec(i)))
}

const timed = (i: number): Buffer =>
  Buffer.concat([
    paxMember([
      ['mtime', Buffer.from(`17000000${String(i)}.123456789123`)],
      ['atime', Buffer.from('1.5')],
    ]),
    rawHeader({ name: Buffer.from(`d/${String(i)}`), size: 0, flag: '0' }),
  ])

describe.skipIf(missing('hasBinding'))('a run of plain members', () => {
  it.each<[string, Buffer]>([
    [
      'files in folders',
      many((i) => ({ name: `d${String(i >> 2)}/f${String(i)}`, body: 'x'.repeat(i * 50) })),
    ],
    ['names that begin with ./', many((i) => ({ name: `./d/${String(i)}`, body: 'x' }))],
    ['folders', many((i) => ({ name: `a/b${String(i)}/` }))],
    [
      'links',
      many((i) => ({ name: String(i), type: i % 2 === 0 ? 'symlink' : 'hardlink', linkname: '../\xff"' })),
    ],
    ['times in PAX headers', many(timed)],
    [
      'files that are executable by all',
      many((i) => ({ name: String(i), mode: 0o7755, uid: 7, gid: 0o777777 })),
    ],
  ])('is read: %s', async (_, archive) => {
    expect(await inRuns(archive)).toBe(MANY)
    for (const chunkSize of [512, 5000, 1537]) await inRuns(archive, chunkSize)
  })

  const header = (edit: (block: Buffer) => void): Buffer => {
    const block = rawHeader({ name: Buffer.from('odd'), size: 0, flag: '0' })
    edit(block)
    return checksummed(block)
  }
  it.each<[string, TarSpec | Buffer]>([
    ['a whiteout', { name: 'd/.wh.x' }],
    ['a name that climbs', { name: 'd/../../x' }],
    ['an absolute name', { name: '/etc/x' }],
    ['an empty component', { name: 'd//x' }],
    ['a dot', { name: 'd/./x' }],
    ['the root', { name: './' }],
    ['a quote in the name', { name: 'a"b' }],
    ['a name that is not ASCII', { name: 'ü' }],
    ['a long name', { name: 'n'.repeat(300) }],
    ['an attribute', { name: 'x', xattrs: { 'user.a': 'b' } }],
    ['a device', { name: 'x', type: 'char', devMajor: 1, devMinor: 3 }],
    ['a symlink to nothing', { name: 'x', type: 'symlink', linkname: '' }],
    ['a number in base 256', header((b) => b.write('80000000000000ff', 108, 'hex'))],
    ['a number with a space before it', header((b) => b.write('   1750\0', 108))],
    ['a number that is none', header((b) => b.write('12z4567\0', 108))],
    ['a folder with a size', header((b) => b.write('5', 156))],
    ['a type that is not known', header((b) => b.write('Z', 156))],
    ['old GNU times', header((b) => b.write('ustar  \0', 257) + b.write('12345670123\0', 345))],
    ['a prefix', header((b) => b.write('ustar\x0000', 257, 'latin1') + b.write('some/prefix', 345))],
    ['star', header((b) => b.write('ustar\x0000', 257, 'latin1') + b.write('tar\0', 508, 'latin1'))],
    [
      'a checksum that is wrong',
      Buffer.from(rawHeader({ name: Buffer.from('x'), size: 0, flag: '0' }).fill(1, 0, 1)),
    ],
    ['a checksum of nothing', Buffer.alloc(512, 0).fill('x', 0, 10)],
    ['a global header', rawTar([paxMember([['mtime', Buffer.from('1')]])]).fill('g', 156, 157)],
    [
      'a PAX path',
      Buffer.concat([
        paxMember([['path', Buffer.from('else')]]),
        rawHeader({ name: Buffer.from('x'), size: 0, flag: '0' }),
      ]),
    ],
    [
      'a PAX time that is none',
      Buffer.concat([
        paxMember([['mtime', Buffer.from('soon')]]),
        rawHeader({ name: Buffer.from('x'), size: 0, flag: '0' }),
      ]),
    ],
    ['a zero block', Buffer.alloc(512)],
    ['the end', Buffer.alloc(1024)],
  ])('leaves %s to the scanner, amid others', async (_, odd) => {
    const archive = rawTar([
      ...Array.from({ length: 20 }, (__, i) => ({ name: `before/${String(i)}`, body: 'x' })),
      odd,
      ...Array.from({ length: 60 }, (__, i) => ({ name: `after/${String(i)}`, body: 'x' })),
    ])
    expect(await inRuns(archive)).toBeGreaterThanOrEqual(20)
    await inRuns(archive, 1300)
  })

  it('goes on after a member that is not plain', async () => {
    const group = (i: number): (TarSpec | Buffer)[] => [
      ...Array.from({ length: 9 }, (_, j) => ({ name: `${String(i)}/${String(j)}`, body: 'x' })),
      { name: `${String(i)}/é`, body: 'x' },
    ]
    const groups = Array.from({ length: 10 }, (_, i) => group(i))
    expect(await inRuns(rawTar(groups.flat()))).toBe(90)
  })

  it('comes to the member that is one too many', async () => {
    const archive = many((i) => ({ name: String(i) }))
    for (const maxEntries of [1, 20, MANY - 1]) {
      const slow = await scanned(archive, { runs: false, maxEntries })
      expect((await scanned(archive, { runs: true, maxEntries })).outcome).toEqual(slow.outcome)
      expect(slow.outcome).toHaveProperty('error')
    }
  })

  it('is read alike whatever bytes are changed', async () => {
    const base = many((i) =>
      i % 5 === 0 ? timed(i) : { name: `d${String(i >> 3)}/f${String(i)}`, body: 'x' },
    )
    const edit = fc.tuple(fc.nat({ max: base.length - 1 }), fc.nat({ max: 255 }))
    await fc.assert(
      fc.asyncProperty(
        fc.array(edit, { minLength: 1, maxLength: 4 }),
        fc.boolean(),
        async (edits, reseal) => {
          const archive = Buffer.from(base)
          for (const [at, byte] of edits) {
            archive[at] = byte
            const block = archive.subarray(at - (at % 512), at - (at % 512) + 512)
            if (reseal && block.length === 512 && block.toString('latin1', 257, 262) === 'ustar')
              checksummed(block)
          }
          await inRuns(archive)
        },
      ),
      { numRuns: 300 },
    )
  })
})

describe.skipIf(missing('hasBinding'))('tarSplitLines', () => {
  const names = Buffer.from('name')
  const run = (words: Partial<Record<number, number>>): Uint32Array =>
    Uint32Array.from({ length: 20 }, (_, i) => words[i] ?? 0)

  it.each<[string, Uint32Array, number]>([
    ['a body that begins outside', run({ 1: 2000 }), 0],
    ['a body that ends outside', run({ 1: 512, 2: 600 }), 0],
    ['a body before the one before', run({ 1: 512 }), 513],
    ['a name outside', run({ 1: 512, 10: 2, 11: 3 }), 0],
    ['a name that begins outside', run({ 1: 512, 10: 5 }), 0],
  ])('refuses %s', async (_, members, previousEnd) => {
    await expect(
      binding.tarSplitLines(Buffer.alloc(1024), members, names, previousEnd, 0, Buffer.alloc(4096)),
    ).rejects.toMatchObject({ code: 'EINVAL' })
  })

  it('refuses memory that is too small', async () => {
    const lines = binding.tarSplitLines(
      Buffer.alloc(512),
      run({ 1: 512, 11: 4 }),
      names,
      0,
      0,
      Buffer.alloc(500),
    )
    await expect(lines).rejects.toMatchObject({ code: 'EINVAL' })
  })

  it('encodes bytes of any length', async () => {
    for (const length of [0, 1, 2, 3, 23, 24, 25, 26, 48, 71, 512, 1000]) {
      const chunk = Buffer.from(Array.from({ length: 1024 }, (_, i) => (i % 97 < 60 ? 0 : (i * 131) % 256)))
      const out = Buffer.alloc(2048)
      const size = await binding.tarSplitLines(chunk, run({ 1: 10 + length, 11: 4 }), names, 10, 5, out)
      const payload = chunk.toString('base64', 10, 10 + length)
      expect(out.toString('utf8', 0, size)).toBe(
        `{"type":2,"payload":"${payload}","position":5}\n{"type":1,"name":"name","payload":null,"position":6}\n`,
      )
    }
  })
})
