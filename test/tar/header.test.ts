import { describe, expect, it } from 'vitest'
import { BLOCK, isZeroBlock, paddingOf, parseHeader } from '../../lib/tar/header.ts'
import { TarSyntaxError } from '../../lib/tar/syntax.ts'
import { checksummed, rawHeader } from '../helpers/rawtar.ts'

const plain = () =>
  rawHeader({ name: Buffer.from('etc/motd'), size: 5, flag: '0', mode: 0o4755, uid: 7, gid: 8 })

/** A good header with `edit` done to it and its checksum made right again. */
function edited(edit: (block: Buffer) => void): Buffer {
  const block = plain()
  edit(block)
  return checksummed(block)
}

describe('parseHeader', () => {
  it('reads the fields of a ustar header', () => {
    expect(parseHeader(plain())).toMatchObject({
      format: 'ustar',
      flag: '0',
      name: Buffer.from('etc/motd'),
      mode: 0o4755,
      uid: 7,
      gid: 8,
      size: 5,
      mtime: 1_700_000_000,
    })
  })

  it.each([
    ['v7', (b: Buffer) => b.fill(0, 257, 265), 'v7', 'etc/motd'],
    ['ustar with a prefix', (b: Buffer) => b.write('a/b', 345), 'ustar', 'a/b/etc/motd'],
    ['star', (b: Buffer) => (b.write('a/b', 345), b.write('tar\0', 508)), 'star', 'a/b/etc/motd'],
    [
      'GNU, where the prefix is times',
      (b: Buffer) => (b.write('ustar  \0', 257), b.write('00000000001', 345)),
      'gnu',
      'etc/motd',
    ],
    [
      'GNU with a prefix, as Go wrote before 1.8',
      (b: Buffer) => (b.write('ustar  \0', 257), b.write('a/b', 345)),
      'gnu',
      'a/b/etc/motd',
    ],
    [
      'GNU with neither times nor ASCII there',
      (b: Buffer) => (b.write('ustar  \0', 257), b.fill(0xff, 345, 350)),
      'gnu',
      'etc/motd',
    ],
    [
      'an unknown magic as v7',
      (b: Buffer) => (b.write('weird\0', 257), b.write('a/b', 345)),
      'v7',
      'etc/motd',
    ],
  ] as const)('reads %s', (_case, edit, format, name) => {
    const header = parseHeader(edited((block) => void edit(block)))
    expect([header.format, header.name.toString()]).toEqual([format, name])
  })

  it('reads a name that fills its field', () => {
    const name = Buffer.alloc(100, 'n')
    expect(parseHeader(rawHeader({ name, size: 0, flag: '0' })).name).toEqual(name)
  })

  it.each([
    ['padded with NULs before', '\x00\x000644\0', 0o644],
    ['padded with spaces on both sides', '  0644  ', 0o644],
    ['without an end', '00000644', 0o644],
    ['ended by a space and a NUL', '000644 \0', 0o644],
    ['empty', '\0\0\0\0\0\0\0\0', 0],
    ['blank', '        ', 0],
    ['cut short by a NUL', '644\0junk', 0o644],
  ])('reads a number %s', (_case, field, expected) => {
    expect(parseHeader(edited((b) => b.write(field, 100, 'latin1'))).mode).toBe(expected)
  })

  it.each([
    ['with a digit 8', '0000648\0'],
    ['with letters', 'rwxr-xr-'],
    ['that is negative', '-000001\0'],
    ['with a space inside', '00 0644\0'],
  ])('refuses a number %s', (_case, field) => {
    expect(() => parseHeader(edited((b) => b.write(field, 100, 'latin1')))).toThrow(
      /mode field is not a number/,
    )
  })

  it.each([
    ['8 GiB', '800000000000000200000000', 8 * 2 ** 30],
    ['-1', 'ffffffffffffffffffffffff', -1],
    ['-2^33', 'fffffffffffffffe00000000', -(2 ** 33)],
    ['0', '800000000000000000000000', 0],
  ])('reads base-256 %s', (_case, hex, expected) => {
    expect(parseHeader(edited((b) => b.write(hex, 136, 'hex'))).mtime).toBe(expected)
  })

  it.each(['80ffffffffffffffffffffff', '800000000020000000000000', 'c00000000000000000000000'])(
    'refuses base-256 %s, which passes 2^53',
    (hex) => {
      expect(() => parseHeader(edited((b) => b.write(hex, 124, 'hex')))).toThrow(
        /size field's number is too large/,
      )
    },
  )

  it('takes the checksum of signed bytes too, as old tars computed it', () => {
    const block = edited((b) => b.write('caf\u00e9', 0, 'latin1'))
    const unsigned = Number.parseInt(block.toString('latin1', 148, 154), 8)
    block.write(`${(unsigned - 256).toString(8).padStart(6, '0')}\0 `, 148, 'latin1')
    expect(parseHeader(block).name).toEqual(Buffer.from('caf\u00e9motd', 'latin1'))
  })

  it('refuses a block when any byte outside the checksum changes', () => {
    const block = plain()
    for (let at = 0; at < BLOCK; at++) {
      if (at >= 148 && at < 156) continue
      const broken = Buffer.from(block)
      broken[at] = (broken[at] ?? 0) ^ 1
      expect(() => parseHeader(broken), `byte ${String(at)}`).toThrow(TarSyntaxError)
    }
  })

  it('refuses zeros and text', () => {
    expect(isZeroBlock(Buffer.alloc(BLOCK))).toBe(true)
    expect(() => parseHeader(Buffer.alloc(BLOCK))).toThrow(/not a tar header/)
    expect(() => parseHeader(Buffer.alloc(BLOCK, 'text'))).toThrow(TarSyntaxError)
  })
})

describe('paddingOf', () => {
  it.each([
    [0, 0],
    [1, 511],
    [511, 1],
    [512, 0],
    [513, 511],
    [2 ** 33 + 1, 511],
  ])('of %d is %d', (size, expected) => {
    expect(paddingOf(size)).toBe(expected)
  })
})
