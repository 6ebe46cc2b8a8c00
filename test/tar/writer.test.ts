import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { encodeHeader, type TarMember } from '../../lib/tar/encode.ts'
import { padding, type TarSource, writeTar } from '../../lib/tar/writer.ts'
import { missing } from '../helpers/gates.ts'
import { GO_TYPES, GoTar } from '../helpers/gotar.ts'
import { collect } from '../../lib/driver-suite/streams.ts'
import { readAll } from '../helpers/tar.ts'

const file = (name: string | Buffer, extra: Partial<TarMember> = {}): TarMember => ({
  name: Buffer.from(name),
  type: 'file',
  mode: 0o644,
  uid: 0,
  gid: 0,
  size: 0,
  mtimeSec: 1_700_000_000,
  ...extra,
})

interface Sample {
  readonly member: TarMember
  readonly body?: Buffer
}

const write = (samples: readonly Sample[], options = {}): Promise<Buffer> =>
  collect(
    writeTar(
      samples.map(({ member, body }): TarSource => ({ member, ...(body && { body: () => [body] }) })),
      options,
    ),
  )

/** One of everything that makes a difference to the bytes. */
const SAMPLES: readonly Sample[] = [
  { member: file('plain', { size: 3 }), body: Buffer.from('abc') },
  { member: file('d/', { type: 'dir', mode: 0o1777 }) },
  { member: file('link', { type: 'symlink', linkname: Buffer.from('../target') }) },
  { member: file('hard', { type: 'hardlink', linkname: Buffer.from('plain') }) },
  { member: file('null', { type: 'char', devMajor: 1, devMinor: 3 }) },
  { member: file('sda', { type: 'block', devMajor: 8, devMinor: 0 }) },
  { member: file('pipe', { type: 'fifo' }) },
  { member: file('n'.repeat(100)) },
  { member: file('n'.repeat(101)) },
  { member: file(`${'p'.repeat(60)}/${'n'.repeat(60)}`) },
  { member: file(`${'p'.repeat(155)}/${'n'.repeat(100)}`) },
  { member: file(`${'p'.repeat(156)}/${'n'.repeat(100)}`) },
  { member: file(`${'p'.repeat(99)}/${'n'.repeat(99)}/`, { type: 'dir' }) },
  { member: file(`/${'n'.repeat(100)}`) },
  { member: file(`${'d'.repeat(150)}/${'d'.repeat(20)}/x/`, { type: 'dir' }) },
  { member: file('café') },
  { member: file(Buffer.from('not-utf8-\xff', 'latin1')) },
  { member: file('a\nb') },
  { member: file(`${'é/'.repeat(60)}x`) },
  { member: file('./dotted/../name', { xattrs: new Map([['user.a', Buffer.from('1')]]) }) },
  { member: file('/abs/../../x', { xattrs: new Map([['user.a', Buffer.from('1')]]) }) },
  { member: file('../up', { xattrs: new Map([['user.a', Buffer.from('1')]]) }) },
  { member: file('long-link', { type: 'symlink', linkname: Buffer.alloc(101, 'l') }) },
  { member: file('slashed-link', { type: 'symlink', linkname: Buffer.from(`${'l'.repeat(99)}/x`) }) },
  { member: file('utf8-link', { type: 'symlink', linkname: Buffer.from('ü') }) },
  { member: file('owned', { uid: 2_097_151, gid: 2_097_151 }) },
  { member: file('far-owned', { uid: 2_097_152, gid: 4_294_967_294 }) },
  { member: file('named', { uname: Buffer.from('root'), gname: Buffer.from('wheel') }) },
  { member: file('named-ü', { uname: Buffer.from('ü'), gname: Buffer.alloc(33, 'g') }) },
  { member: file('old', { mtimeSec: -1 }) },
  { member: file('epoch', { mtimeSec: 0 }) },
  { member: file('far-future', { mtimeSec: 8 ** 11 }) },
  { member: file('setuid', { mode: 0o7755 }) },
  {
    member: file('xattrs', {
      xattrs: new Map([
        ['user.z', Buffer.from('last')],
        ['security.capability', Buffer.from('0100000220a0000000000000ffff0000', 'hex')],
        ['user.ünï', Buffer.from('\0=\n')],
        ['user.empty', Buffer.alloc(0)],
      ]),
    }),
  },
  {
    member: file(`${'p'.repeat(60)}/${'n'.repeat(60)}`, { xattrs: new Map([['user.a', Buffer.from('1')]]) }),
  },
]

describe('writeTar', () => {
  it('writes what readTar reads', async () => {
    const members = await readAll(await write(SAMPLES))
    expect(members.map(({ header }) => header.name)).toEqual(SAMPLES.map(({ member }) => member.name))
    for (const [i, { header, body }] of members.entries()) {
      const sample = SAMPLES[i] as Sample
      const { mtimeNsec: _, uname: _u, gname: _g, xattrs = new Map(), ...said } = sample.member
      expect(header).toMatchObject({ ...said, mtimeNsec: 0 })
      expect(Object.fromEntries(header.xattrs)).toEqual(Object.fromEntries(xattrs))
      expect(body).toEqual(sample.body ?? Buffer.alloc(0))
    }
  })

  it('keeps a binary security.capability', async () => {
    const capability = Buffer.from('0100000220a00080000000000000ffff', 'hex')
    const [read] = await readAll(
      await write([{ member: file('f', { xattrs: new Map([['security.capability', capability]]) }) }]),
    )
    expect(read?.header.xattrs.get('security.capability')).toEqual(capability)
  })

  it('writes whole seconds, and nanoseconds only when asked', async () => {
    const sample = { member: file('f', { mtimeSec: -5, mtimeNsec: 123_000_000 }) }
    const times = async (options: object) =>
      (await readAll(await write([sample], options))).map(({ header }) => [header.mtimeSec, header.mtimeNsec])
    expect(await times({})).toEqual([[-5, 0]])
    expect(await times({ nanoseconds: true })).toEqual([[-5, 123_000_000]])
    expect((await write([{ member: file('f', { mtimeNsec: 0 }) }], { nanoseconds: true })).length).toBe(1536)
  })

  it('writes what fits in ustar without a PAX header', () => {
    expect(encodeHeader(file('f')).length).toBe(512)
    expect(encodeHeader(file(`${'p'.repeat(155)}/${'n'.repeat(100)}`)).length).toBe(512)
    expect(encodeHeader(file('n'.repeat(101))).length).toBe(1536)
  })

  it('puts the size of a file over 8 GiB in PAX', () => {
    expect(encodeHeader(file('f', { size: 8 ** 11 - 1 })).length).toBe(512)
    const header = encodeHeader(file('f', { size: 8 ** 11 }))
    expect(header.toString('latin1', 512, 1024)).toMatch(/^19 size=8589934592\n\0/)
  })

  it.each([
    ['a NUL in the name', file('a\0b')],
    ['a file whose name ends in a slash', file('f/')],
    ['a body of a directory', file('d/', { type: 'dir', size: 1 })],
    ['a device number past the field', file('c', { type: 'char', devMajor: 8 ** 7 })],
  ])('refuses %s', (_case, member) => {
    expect(() => encodeHeader(member)).toThrow(expect.objectContaining({ code: 'ERR_INVALID_ARGUMENT' }))
  })

  it.each([
    ['shorter', 'ab', /"f" has 2 bytes, its header says 3/],
    ['longer', 'abcd', /"f" has more than 3 bytes/],
  ])('refuses a body that is %s than its header says', async (_case, body, message) => {
    const writing = write([{ member: file('f', { size: 3 }), body: Buffer.from(body) }])
    await expect(writing).rejects.toThrow(message)
    await expect(writing).rejects.toMatchObject({ code: 'ERR_SIZE_MISMATCH' })
  })

  it('gathers small members, and passes large bodies on as they come', async () => {
    const small = Array.from({ length: 1000 }, (_, i) => ({ member: file(String(i)) }))
    const chunks: Buffer[] = []
    for await (const chunk of writeTar(small)) chunks.push(chunk)
    expect(chunks.length).toBeLessThan(20)
    expect(padding(1).length).toBe(511)
  })

  it('stops when aborted', async () => {
    const signal = AbortSignal.abort(new Error('enough'))
    await expect(write(SAMPLES, { signal })).rejects.toThrow('enough')
  })
})

describe.skipIf(missing('hasGo'))("against Go's archive/tar", () => {
  let go: GoTar
  beforeAll(() => {
    go = new GoTar()
  })
  afterAll(() => {
    go[Symbol.dispose]()
  })

  it.each(
    SAMPLES.map(
      (sample, i) => [`${String(i)} ${sample.member.name.slice(0, 20).toString()}`, sample] as const,
    ),
  )('writes the same bytes: sample %s', async (_name, sample) => {
    expect((await write([sample])).toString('latin1')).toBe(go.write([sample]).toString('latin1'))
  })

  it('writes the same bytes for any member', async () => {
    const part = fc.string({
      minLength: 1,
      maxLength: 70,
      unit: fc.constantFrom('a', 'é', '.', ' ', '\n', '-'),
    })
    const name = fc.array(part, { minLength: 1, maxLength: 6 }).map((parts) => Buffer.from(parts.join('/')))
    const member = fc.record({
      name,
      type: fc.constantFrom('file', 'dir', 'symlink', 'hardlink', 'char'),
      mode: fc.integer({ min: 0, max: 0o7777 }),
      uid: fc.integer({ min: 0, max: 2 ** 32 - 2 }),
      gid: fc.integer({ min: 0, max: 3_000_000 }),
      size: fc.constant(0),
      mtimeSec: fc.integer({ min: -(2 ** 34), max: 2 ** 34 }),
      linkname: fc.string({ maxLength: 120, unit: 'binary' }).map((s) => Buffer.from(s.replaceAll('\0', ''))),
      xattrs: fc
        .dictionary(
          fc.constantFrom('user.a', 'user.b', 'trusted.ü'),
          fc.uint8Array({ minLength: 1, maxLength: 200 }),
        )
        .map((d) => new Map(Object.entries(d))),
    })
    const samples = fc.sample(member, { numRuns: 300, seed: 20_261_124 }).map((m) => ({
      member: m.type === 'dir' ? { ...m, name: Buffer.concat([m.name, Buffer.from('/')]) } : m,
    }))
    expect((await write(samples)).toString('latin1')).toBe(go.write(samples).toString('latin1'))
  })

  it('Go reads what we write', async () => {
    const members = go.dump(await write(SAMPLES, { nanoseconds: true }))
    expect(members.map(({ name }) => name)).toEqual(SAMPLES.map(({ member }) => member.name))
    for (const [i, read] of members.entries()) {
      const { member, body } = SAMPLES[i] as Sample
      expect(read).toMatchObject({
        type: GO_TYPES[member.type],
        mode: member.mode,
        uid: member.uid,
        gid: member.gid,
      })
      expect([read.mtimeSec, read.linkname]).toEqual([member.mtimeSec, member.linkname ?? Buffer.alloc(0)])
      expect(read.body).toEqual(body ?? Buffer.alloc(0))
      expect(Object.fromEntries(read.xattrs)).toEqual(Object.fromEntries(member.xattrs ?? []))
    }
  })
})
