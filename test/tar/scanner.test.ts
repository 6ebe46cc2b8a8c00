import { describe, expect, it } from 'vitest'
import { checksummed, member, padded, paxMember, rawHeader, rawTar } from '../helpers/rawtar.ts'
import { readAll, Recorder } from '../helpers/tar.ts'

const gnuLong = (flag: 'L' | 'K', text: Buffer) =>
  Buffer.concat([
    rawHeader({ name: Buffer.from('././@LongLink'), size: text.length + 1, flag }),
    padded(Buffer.concat([text, Buffer.alloc(1)])),
  ])
const ZEROS = Buffer.alloc(1024)

describe('the scanner', () => {
  it('gives every kind of member', async () => {
    const archive = rawTar([
      { name: 'd/', mode: 0o1777, uid: 1, gid: 2 },
      { name: 'd/f', body: 'hello', xattrs: { 'user.a': 'b' } },
      { name: 'd/s', type: 'symlink', linkname: '../f' },
      { name: 'd/h', type: 'hardlink', linkname: 'd/f' },
      { name: 'd/c', type: 'char', devMajor: 1, devMinor: 3 },
      { name: 'd/b', type: 'block', devMajor: 8, devMinor: 1 },
      { name: 'd/p', type: 'fifo' },
    ])
    const members = await readAll(archive)
    expect(members.map(({ header }) => [header.name.toString(), header.type])).toEqual([
      ['d/', 'dir'],
      ['d/f', 'file'],
      ['d/s', 'symlink'],
      ['d/h', 'hardlink'],
      ['d/c', 'char'],
      ['d/b', 'block'],
      ['d/p', 'fifo'],
    ])
    expect(members[0]?.header).toMatchObject({ mode: 0o1777, uid: 1, gid: 2, mtimeSec: 1_700_000_000 })
    expect(members[1]?.body.toString()).toBe('hello')
    expect(members[1]?.header.xattrs).toEqual(new Map([['user.a', Buffer.from('b')]]))
    expect(members[2]?.header.linkname.toString()).toBe('../f')
    expect(members[4]?.header).toMatchObject({ devMajor: 1, devMinor: 3 })
  })

  it.each([1, 7, 511, 512, 513, 100_000])('reads the same in chunks of %d bytes', async (chunkSize) => {
    const archive = rawTar([
      { name: 'a', body: Buffer.alloc(1500, 'a') },
      { name: `${'long/'.repeat(40)}name`, body: 'b' },
    ])
    expect(await readAll(archive, { chunkSize })).toEqual(await readAll(archive))
  })

  it('lets PAX records win over the block, and GNU long names over PAX', async () => {
    const pax = paxMember([
      ['path', Buffer.from('from-pax')],
      ['linkpath', Buffer.from('link-from-pax')],
      ['uid', Buffer.from('3000000')],
      ['gid', Buffer.from('4000000')],
      ['mtime', Buffer.from('-1.25')],
      ['comment', Buffer.from('ignored')],
      ['gname', Buffer.alloc(0)],
    ])
    const link = (name: string) => member({ name, type: 'symlink', linkname: 'x' })
    const [first, second] = await readAll(
      rawTar([
        pax,
        link('a'),
        pax,
        gnuLong('L', Buffer.from('from-gnu')),
        gnuLong('K', Buffer.from('link-from-gnu')),
        link('b'),
      ]),
    )
    expect(first?.header).toMatchObject({
      uid: 3_000_000,
      gid: 4_000_000,
      mtimeSec: -2,
      mtimeNsec: 750_000_000,
    })
    expect([first?.header.name, first?.header.linkname].join(' ')).toBe('from-pax link-from-pax')
    expect([second?.header.name, second?.header.linkname].join(' ')).toBe('from-gnu link-from-gnu')
  })

  it('applies an extension to the next member only', async () => {
    const members = await readAll(
      rawTar([paxMember([['path', Buffer.from('x')]]), member({ name: 'a' }), member({ name: 'b' })]),
    )
    expect(members.map(({ header }) => header.name.toString())).toEqual(['x', 'b'])
  })

  it('ignores global headers as the peers do, but not their form', async () => {
    const global = paxMember(
      [
        ['path', Buffer.from('everything')],
        ['uid', Buffer.from('5')],
      ],
      'g',
    )
    const members = await readAll(
      rawTar([global, member({ name: 'a' }), global, member({ name: 'b', uid: 3 })]),
    )
    expect(members.map(({ header }) => [header.name.toString(), header.uid])).toEqual([
      ['a', 0],
      ['b', 3],
    ])
    const broken = Buffer.concat([
      rawHeader({ name: Buffer.from('g'), size: 3, flag: 'g' }),
      padded(Buffer.from('x\n\n')),
    ])
    await expect(readAll(rawTar([broken]))).rejects.toThrow(/PAX record/)
  })

  it('takes a size from PAX', async () => {
    const body = Buffer.alloc(700, 'b')
    const head = rawHeader({ name: Buffer.from('f'), size: 0, flag: '0' })
    const [read, after] = await readAll(
      rawTar([paxMember([['size', Buffer.from('700')]]), head, padded(body), member({ name: 'z' })]),
    )
    expect(read?.body).toEqual(body)
    expect(after?.header.name.toString()).toBe('z')
  })

  it('reads no body after members that have none, whatever size they claim', async () => {
    const claims = ['1', '2', '3', '4', '5', '6'].map((flag) =>
      rawHeader({ name: Buffer.from(`f${flag}`), size: 5000, flag, linkname: Buffer.from('x') }),
    )
    const members = await readAll(rawTar([...claims, member({ name: 'z', body: 'z' })]))
    expect(members.map(({ header }) => header.size)).toEqual([0, 0, 0, 0, 0, 0, 1])
  })

  it('knows the folders of old tars by their slash, and no others', async () => {
    const old = (name: string) => rawHeader({ name: Buffer.from(name), size: 0, flag: '\0' })
    const members = await readAll(
      rawTar([old('d/'), old('f'), rawHeader({ name: Buffer.from('g/'), size: 0, flag: '0' })]),
    )
    expect(members.map(({ header }) => header.type)).toEqual(['dir', 'file', 'file'])
  })

  it('takes an archive that ends at a header, with one zero block or with none', async () => {
    const one = member({ name: 'a', body: 'x' })
    for (const end of [0, 512, 1024, 10_240]) {
      expect(await readAll(Buffer.concat([one, Buffer.alloc(end)]))).toHaveLength(1)
    }
    expect(await readAll(Buffer.alloc(0))).toEqual([])
  })

  it('reads past the end of the archive to the end of the stream, and no members there', async () => {
    const recorder = new Recorder()
    const archive = Buffer.concat([rawTar([{ name: 'a' }]), member({ name: 'hidden' }), Buffer.from('tail')])
    expect(await readAll(archive, { observer: recorder })).toHaveLength(1)
    expect(recorder.bytes).toEqual(archive)
  })

  it('says where things are', async () => {
    const archive = rawTar([{ name: 'a', body: 'x' }, { name: 'b'.repeat(150) }])
    expect((await readAll(archive)).map(({ offset }) => offset)).toEqual([0, 1024])
  })
})

describe('the observer', () => {
  it('sees every byte once, bodies between their entry and the padding', async () => {
    const archive = rawTar([
      { name: 'd/' },
      { name: 'd/f', body: Buffer.alloc(600, 'x') },
      { name: `${'n'.repeat(120)}`, body: 'y' },
      { name: 'l', type: 'hardlink', linkname: 'd/f' },
    ])
    for (const chunkSize of [1, 512, 700, 1 << 20]) {
      const recorder = new Recorder()
      await readAll(archive, { observer: recorder, chunkSize })
      expect(recorder.bytes).toEqual(archive)
      expect(recorder.log).toEqual([
        'segment 512',
        'entry d/ 0',
        'segment 512',
        'entry d/f 600',
        'body 600',
        'segment 2472'.replace('2472', String(424 + 3 * 512)),
        `entry ${'n'.repeat(120)} 1`,
        'body 1',
        'segment 1023',
        'entry l 0',
        'segment 1024',
      ])
    }
  })

  it('sees the body of an inlined member as a segment', async () => {
    const archive = rawTar([{ name: 'a', body: Buffer.alloc(600, 'a') }])
    const recorder = new Recorder()
    await readAll(archive, { observer: recorder, inline: 'a' })
    expect(recorder.log).toEqual(['segment 512', 'entry a 0', `segment ${String(1024 + 1024)}`])
    expect(recorder.bytes).toEqual(archive)
  })
})

describe('a bad archive', () => {
  const truncatable = rawTar([
    { name: `${'n'.repeat(120)}`, body: Buffer.alloc(700, 'x'), xattrs: { 'user.a': 'b' } },
    { name: 'b', type: 'symlink', linkname: 'a' },
  ])
  /** Where a cut leaves a whole archive: before the first member, between members, in the closing blocks. */
  const ends = [0, 1536 + 1024, 1536 + 1024 + 512, 1536 + 1024 + 1024, 1536 + 1024 + 1536]

  it('is refused when cut anywhere but at a member, at each of its bytes', async () => {
    for (let length = 0; length < truncatable.length; length++) {
      const reading = readAll(truncatable.subarray(0, length))
      if (ends.includes(length)) await reading
      else await expect(reading, `${String(length)} bytes`).rejects.toMatchObject({ code: 'ERR_BAD_TAR' })
    }
  })

  it('is refused with the place and the entry', async () => {
    const archive = rawTar([{ name: 'good' }, { name: 'bad\n', body: Buffer.alloc(600) }])
    await expect(readAll(archive.subarray(0, 1200))).rejects.toThrow(
      /^bad tar: the archive ends inside a body, 424 bytes before its end at byte 512 \(entry "bad\\n"\)$/,
    )
    const broken = Buffer.from(archive)
    broken[600] = 1
    await expect(readAll(broken)).rejects.toThrow(/not a tar header.* at byte 512$/)
  })

  const edited = (edit: (block: Buffer) => void, flag = '0') => {
    const block = rawHeader({ name: Buffer.from('f'), size: 0, flag })
    edit(block)
    return checksummed(block)
  }
  const withPax = (key: string, value: string | Buffer) =>
    Buffer.concat([
      paxMember([[key, Buffer.from(value)]]),
      rawHeader({ name: Buffer.from('f'), size: 0, flag: '0' }),
    ])

  it.each([
    [
      'a zero block before something else',
      Buffer.concat([Buffer.alloc(512), member({ name: 'a' })]),
      /block of zeros/,
    ],
    ['only text', Buffer.alloc(2048, 'text'), /not a tar header/],
    ['a negative size', edited((b) => b.write('ff'.repeat(12), 124, 'hex')), /size is negative/],
    [
      'a negative size of an extension',
      edited((b) => b.write('ff'.repeat(12), 124, 'hex'), 'x'),
      /size is negative/,
    ],
    ['a negative owner', edited((b) => b.write('ff'.repeat(8), 108, 'hex')), /uid -1 is out of range/],
    ['an owner past 32 bits', withPax('uid', '4294967295'), /uid 4294967295 is out of range/],
    ['a PAX size that is no number', withPax('size', '0x10'), /PAX size is not a number/],
    ['a PAX size past 2^53', withPax('size', '9007199254740993'), /PAX size is not a number/],
    ['a negative PAX size', withPax('size', '-1'), /PAX size is not a number/],
    ['a negative PAX gid', withPax('gid', '-1'), /PAX gid is not a number/],
    ['a PAX time that is none', withPax('mtime', 'today'), /PAX time/],
    ['a NUL in a PAX path', withPax('path', 'a\0b'), /PAX path contains a NUL/],
    ['a path of 4096 bytes', withPax('path', 'a/'.repeat(2048)), /name has more than 4095 bytes/],
    ['an xattr without a name', withPax('SCHILY.xattr.', 'v'), /xattr name/],
    ['an xattr name of 256 bytes', withPax(`SCHILY.xattr.user.${'n'.repeat(251)}`, 'v'), /xattr name/],
    [
      'an xattr name that is not UTF-8',
      Buffer.concat([
        edited((b) => b.write('00000000026\0', 124), 'x'),
        padded(Buffer.from('22 SCHILY.xattr.u.\xff=v\n', 'latin1')),
        rawHeader({ name: Buffer.from('f'), size: 0, flag: '0' }),
      ]),
      /xattr name/,
    ],
    ['an xattr value over 64 KiB', withPax('SCHILY.xattr.user.big', Buffer.alloc(65_537)), /65537 bytes/],
    [
      'a libarchive xattr name that is not URL-encoded',
      withPax('LIBARCHIVE.xattr.user.%zz', 'dg=='),
      /not URL-encoded/,
    ],
    ['a member of unknown type', edited(() => undefined, 'M'), /members of type "M" are not supported/],
    [
      'an extension without its member',
      paxMember([['path', Buffer.from('x')]]),
      /ends after an extension header/,
    ],
    ['a sparse member without the GNU magic', edited(() => undefined, 'S'), /without the GNU magic/],
  ])('is refused: %s', async (_case, bytes, message) => {
    await expect(readAll(Buffer.concat([bytes, ZEROS]))).rejects.toThrow(message)
    await expect(readAll(Buffer.concat([bytes, ZEROS]))).rejects.toMatchObject({ code: 'ERR_BAD_TAR' })
  })
})

describe('limits', () => {
  const archive = rawTar([
    { name: 'a/b/c', body: Buffer.alloc(100) },
    { name: 'x'.repeat(200), body: Buffer.alloc(100) },
  ])

  it.each([
    [{ maxEntries: 1 }, /more than 1 entries at byte 1024/],
    [{ maxBytes: 199 }, /more than 199 bytes of content/],
    [{ maxDepth: 2 }, /a path deeper than 2 at byte 0 \(entry "a\/b\/c"\)/],
    [{ maxExtensionBytes: 100 }, /extension header has \d+ bytes, the limit is 100/],
  ])('%o is kept', async (limits, message) => {
    await expect(readAll(archive, { limits })).rejects.toThrow(message)
    await expect(readAll(archive, { limits })).rejects.toMatchObject({ code: 'ERR_LIMIT_EXCEEDED' })
  })

  it('are met exactly', async () => {
    const limits = { maxEntries: 2, maxBytes: 200, maxDepth: 3, maxExtensionBytes: 512 }
    expect(await readAll(archive, { limits })).toHaveLength(2)
  })

  it('count what follows the end, so that a stream cannot go on for ever', async () => {
    const tail = Buffer.concat([archive, Buffer.alloc(10_000)])
    await expect(readAll(tail, { limits: { maxBytes: 5000 } })).rejects.toMatchObject({
      code: 'ERR_LIMIT_EXCEEDED',
    })
  })

  it('hold before a claimed size is read', async () => {
    const huge = rawHeader({ name: Buffer.from('f'), size: 8 ** 11 - 1, flag: 'x' })
    await expect(readAll(huge)).rejects.toMatchObject({ code: 'ERR_LIMIT_EXCEEDED' })
  })
})
