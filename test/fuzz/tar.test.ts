/**
 * Random damage to archives: the reader either reads them or says ERR_BAD_TAR or ERR_LIMIT_EXCEEDED, its observer
 * has seen every byte that was read, and nothing hangs or grows. Bounded; the seed is printed, and taken from
 * FUZZ_SEED to repeat a run; FUZZ_RUNS sets how many.
 */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { hasCode } from '../../lib/errors.ts'
import type { TarMember } from '../../lib/tar/encode.ts'
import { writeTar } from '../../lib/tar/writer.ts'
import { collect } from '../../lib/driver-suite/streams.ts'
import { member, paxMember, rawHeader, rawTar } from '../helpers/rawtar.ts'
import { readAll, Recorder } from '../helpers/tar.ts'

const seed = Number(process.env['FUZZ_SEED'] ?? Date.now() % 2 ** 31)
const numRuns = Number(process.env['FUZZ_RUNS'] ?? 3000)
process.stderr.write(`fuzz: FUZZ_SEED=${String(seed)} FUZZ_RUNS=${String(numRuns)}\n`)
const settings = { seed, numRuns }

const LIMITS = { maxBytes: 1 << 20, maxEntries: 100, maxExtensionBytes: 1 << 16 }

const sparse = paxMember([
  ['GNU.sparse.major', Buffer.from('1')],
  ['GNU.sparse.minor', Buffer.from('0')],
  ['GNU.sparse.realsize', Buffer.from('100')],
])
const map = Buffer.alloc(512)
map.write('1\n10\n3\n')

const seeds: readonly Buffer[] = [
  rawTar([
    { name: 'd/' },
    { name: 'd/f', body: 'hello', xattrs: { 'user.a': 'b' } },
    { name: 'l', type: 'symlink', linkname: 'd/f' },
  ]),
  rawTar([
    { name: 'n'.repeat(300), body: Buffer.alloc(2000, 'x') },
    { name: 'h', type: 'hardlink', linkname: 'n'.repeat(300) },
  ]),
  rawTar([
    sparse,
    rawHeader({ name: Buffer.from('s'), size: 515, flag: '0' }),
    map,
    Buffer.alloc(512, 'y'),
    member({ name: 'z' }),
  ]),
]

/** Reads damaged bytes; any other failure than the two documented ones fails the test. */
async function survive(archive: Buffer, chunkSize: number): Promise<void> {
  const recorder = new Recorder()
  try {
    await readAll(archive, { limits: LIMITS, observer: recorder, chunkSize })
    expect(recorder.bytes.equals(archive)).toBe(true)
  } catch (error) {
    if (!hasCode(error, 'ERR_BAD_TAR', 'ERR_LIMIT_EXCEEDED')) throw error
    expect(archive.subarray(0, recorder.bytes.length).equals(recorder.bytes)).toBe(true)
  }
}

/** Makes the checksum of every block right that could be a header, so that damage gets past it. */
function resealed(archive: Buffer): Buffer {
  for (let at = 0; at + 512 <= archive.length; at += 512) {
    const block = archive.subarray(at, at + 512)
    if (!block.toString('latin1', 257, 262).startsWith('ustar')) continue
    block.fill(' ', 148, 156)
    block.write(
      `${block
        .reduce((sum, byte) => sum + byte, 0)
        .toString(8)
        .padStart(6, '0')}\0 `,
      148,
      'latin1',
    )
  }
  return archive
}

const damage = fc.array(fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 })), { minLength: 1, maxLength: 8 })

describe('readTar', () => {
  it('survives changed bytes, with right checksums', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...seeds),
        damage,
        fc.integer({ min: 1, max: 2000 }),
        async (base, edits, size) => {
          const archive = Buffer.from(base)
          for (const [at, byte] of edits) archive[at % archive.length] = byte
          await survive(resealed(archive), size)
        },
      ),
      settings,
    )
  })

  it('survives changed number fields', async () => {
    const field = fc.constantFrom(
      [100, 8],
      [108, 8],
      [124, 12],
      [136, 12],
      [148, 8],
      [329, 8],
      [386, 24],
      [483, 12],
    )
    const value = fc.oneof(
      fc.uint8Array({ minLength: 12, maxLength: 12 }).map((bytes) => Buffer.from(bytes)),
      fc
        .constantFrom(
          '77777777777\0',
          '00000000000\0',
          '-0000000001\0',
          '\x80'.padEnd(12, '\xff'),
          '\xff'.repeat(12),
        )
        .map((text) => Buffer.from(text, 'latin1')),
    )
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...seeds),
        fc.nat({ max: 8 }),
        field,
        value,
        async (base, block, [at, width], bytes) => {
          const archive = Buffer.from(base)
          const start = ((block * 512) % archive.length) + (at ?? 0)
          bytes.copy(archive, start, 0, width)
          await survive(resealed(archive), 700)
        },
      ),
      settings,
    )
  })

  it('survives blocks that are cut, repeated or moved', async () => {
    const slice = fc.record({
      from: fc.nat({ max: 20 }),
      count: fc.nat({ max: 6 }),
      cut: fc.nat({ max: 511 }),
    })
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...seeds), fc.array(slice, { maxLength: 8 }), async (base, slices) => {
        const parts = slices.map(({ from, count, cut }) =>
          base.subarray(from * 512, (from + count) * 512 - cut),
        )
        await survive(Buffer.concat(parts), 4096)
      }),
      settings,
    )
  })

  it('survives PAX records of random bytes', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 700 }), async (bytes) => {
        const body = Buffer.alloc(Math.ceil(bytes.length / 512) * 512)
        body.set(bytes)
        const head = rawHeader({ name: Buffer.from('x'), size: bytes.length, flag: 'x' })
        await survive(Buffer.concat([head, body, member({ name: 'f' }), Buffer.alloc(1024)]), 512)
      }),
      settings,
    )
  })
})

describe('writeTar and readTar', () => {
  it('give every member back', async () => {
    const bytes = (max: number) =>
      fc
        .uint8Array({ minLength: 1, maxLength: max })
        .map((b) => Buffer.from(b.map((byte) => (byte === 0 || byte === 0x2f ? 1 : byte))))
    const arbitrary: fc.Arbitrary<{ member: TarMember; body: Buffer }> = fc
      .record({
        name: fc.array(bytes(120), { minLength: 1, maxLength: 5 }),
        type: fc.constantFrom<TarMember['type']>(
          'file',
          'dir',
          'symlink',
          'hardlink',
          'char',
          'block',
          'fifo',
        ),
        mode: fc.integer({ min: 0, max: 0o7777 }),
        uid: fc.integer({ min: 0, max: 2 ** 32 - 2 }),
        gid: fc.integer({ min: 0, max: 2 ** 32 - 2 }),
        mtimeSec: fc.integer({ min: -(2 ** 40), max: 2 ** 40 }),
        mtimeNsec: fc.integer({ min: 0, max: 999_999_999 }),
        linkname: bytes(300),
        dev: fc.tuple(fc.nat({ max: 0o7777777 }), fc.nat({ max: 0o7777777 })),
        xattrs: fc.dictionary(fc.constantFrom('user.a', 'user.ü', 'security.capability'), bytes(300), {
          noNullPrototype: true,
        }),
        body: fc.uint8Array({ maxLength: 1500 }),
      })
      .map(({ name, dev, xattrs, body, linkname, ...rest }) => {
        const isDevice = rest.type === 'char' || rest.type === 'block'
        const isLink = rest.type === 'symlink' || rest.type === 'hardlink'
        const content = rest.type === 'file' ? Buffer.from(body) : Buffer.alloc(0)
        const path = Buffer.from(
          name.map((part) => part.toString('latin1')).join('/') + (rest.type === 'dir' ? '/' : ''),
          'latin1',
        )
        return {
          body: content,
          member: {
            ...rest,
            name: path,
            size: content.length,
            linkname: isLink ? linkname : Buffer.alloc(0),
            devMajor: isDevice ? dev[0] : 0,
            devMinor: isDevice ? dev[1] : 0,
            xattrs: new Map(Object.entries(xattrs)),
          },
        }
      })
    await fc.assert(
      fc.asyncProperty(fc.array(arbitrary, { maxLength: 5 }), async (members) => {
        const sources = members.map(({ member: m, body }) => ({ member: m, body: () => [body] }))
        const read = await readAll(await collect(writeTar(sources, { nanoseconds: true })))
        expect(read.map(({ header, body }) => ({ header: plain(header), body }))).toEqual(
          members.map(({ member: m, body }) => ({ header: plain(m), body })),
        )
      }),
      { seed, numRuns: Math.ceil(numRuns / 10) },
    )
  })
})

/** Maps compare by their order too, and records are sorted. */
function plain<T extends { readonly xattrs?: ReadonlyMap<string, Uint8Array> }>(header: T): object {
  return { ...header, xattrs: Object.fromEntries(header.xattrs ?? []) }
}
