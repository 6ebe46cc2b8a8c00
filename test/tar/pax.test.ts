import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { formatPax, formatPaxRecord, formatPaxTime, parsePax, parsePaxTime } from '../../lib/tar/pax.ts'
import { TarSyntaxError } from '../../lib/tar/syntax.ts'

describe('PAX records', () => {
  it('reads records whose values are binary, empty or contain newlines and equal signs', () => {
    const records = new Map([
      ['SCHILY.xattr.security.capability', Buffer.from('0100000220a0000000000000', 'hex')],
      ['path', Buffer.from('a=b\nc')],
      ['comment', Buffer.alloc(0)],
    ])
    expect(parsePax(formatPax(records))).toEqual(new Map([...records].sort(([a], [b]) => (a < b ? -1 : 1))))
  })

  it.each([
    ['where the length gains a digit by counting itself', 'x'.repeat(5), 90, '101 '],
    ['just below', 'x'.repeat(5), 89, '99 '],
    ['of four digits', 'k', 993, '1001 '],
  ])('writes a length %s', (_case, key, valueLength, start) => {
    const record = formatPaxRecord(key, Buffer.alloc(valueLength, 'v'))
    expect(record.toString('latin1').startsWith(start)).toBe(true)
    expect(record.length).toBe(Number(start))
  })

  it('reads back what it writes, for every key and value', () => {
    const key = fc.string({ minLength: 1, unit: 'binary' }).filter((k) => !/[=\0]|^GNU\.sparse/.test(k))
    const safe = key.filter((k) => !['path', 'linkpath', 'uname', 'gname'].includes(k))
    const value = fc.uint8Array({ maxLength: 2000 }).map((v) => Buffer.from(v))
    fc.assert(
      fc.property(fc.dictionary(safe, value), (records) => {
        const map = new Map(Object.entries(records))
        expect(Object.fromEntries(parsePax(formatPax(map)))).toEqual(records)
      }),
    )
  })

  it('takes the second of two records with one key', () => {
    expect(parsePax(Buffer.from('7 a=x\n7 a=y\n'.replaceAll('7', '6')))).toEqual(
      new Map([['a', Buffer.from('y')]]),
    )
  })

  it.each([
    ['no space after the length', '12path=x\n'],
    ['a length that is no number', 'x path=x\n'],
    ['a negative length', '-9 path=x\n'],
    ['a length past the end', '30 path=x\n'],
    ['a length that ends inside the record', '8 path=x\n'],
    ['a length of nothing but itself', '3 \n'],
    ['no newline at its end', '10 path=xy'],
    ['no equal sign', '9 pathxy\n'],
    ['an empty key', '6 =ab\n'],
    ['a NUL in the key', '8 a\0b=c\n'],
    ['a NUL in a path', '11 path=a\0\n'],
    ['a NUL in a linkpath', '14 linkpath=\0\n'],
    ['rubbish after the last record', '6 a=b\nrubbish'],
  ])('refuses a record with %s', (_case, text) => {
    expect(() => parsePax(Buffer.from(text, 'latin1'))).toThrow(TarSyntaxError)
  })

  it('turns the repeated keys of sparse format 0.0 into a list, and refuses them out of order', () => {
    const pair = (key: string, value: string) => formatPaxRecord(`GNU.sparse.${key}`, Buffer.from(value))
    const good = Buffer.concat([
      pair('offset', '0'),
      pair('numbytes', '5'),
      pair('offset', '9'),
      pair('numbytes', '1'),
    ])
    expect(parsePax(good).get('GNU.sparse.map')?.toString()).toBe('0,5,9,1')
    expect(() => parsePax(Buffer.concat([pair('numbytes', '5'), pair('offset', '0')]))).toThrow(
      /out of order/,
    )
    expect(() => parsePax(pair('offset', '0,1'))).toThrow(/out of order/)
  })
})

describe('PAX times', () => {
  it.each([
    ['0', 0, 0],
    ['1700000000', 1_700_000_000, 0],
    ['1.5', 1, 500_000_000],
    ['1.', 1, 0],
    ['1.000000001', 1, 1],
    ['1.1234567899999', 1, 123_456_789],
    ['-1', -1, 0],
    ['-1.5', -2, 500_000_000],
    ['-0.5', -1, 500_000_000],
    ['-0', 0, 0],
  ])('reads %s', (text, sec, nsec) => {
    expect(parsePaxTime(Buffer.from(text))).toEqual({ sec, nsec })
  })

  it.each(['', 'x', '1e3', '1.5x', '--1', '1.-5', '99999999999999999999', ' 1', '+1'])(
    'refuses %j',
    (text) => {
      expect(() => parsePaxTime(Buffer.from(text))).toThrow(TarSyntaxError)
    },
  )

  it('reads back what it writes', () => {
    const sec = fc.integer({ min: -(2 ** 40), max: 2 ** 40 })
    fc.assert(
      fc.property(sec, fc.integer({ min: 0, max: 999_999_999 }), (s, nsec) => {
        expect(parsePaxTime(Buffer.from(formatPaxTime({ sec: s, nsec })))).toEqual({ sec: s, nsec })
      }),
    )
  })
})
