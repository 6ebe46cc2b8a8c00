import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  escapeBytes,
  escapeControl,
  humanAge,
  humanSize,
  plural,
  shortID,
  splitName,
  truncate,
} from '../../lib/cli/format.ts'

describe('humanSize', () => {
  it.each([
    [0, '0B'],
    [1, '1B'],
    [999, '999B'],
    [1000, '1kB'],
    [1234, '1.23kB'],
    [7_380_000, '7.38MB'],
    [13_256, '13.3kB'],
    [999_499, '999kB'],
    // docker itself prints 1e+03kB here
    [999_600, '1MB'],
    [40_200_000_000, '40.2GB'],
    [2e18, '2000PB'],
  ])('prints %d as %s', (bytes, text) => {
    expect(humanSize(bytes)).toBe(text)
  })

  it('never has more than three digits before the unit, below the last one', () => {
    fc.assert(
      fc.property(fc.nat({ max: 999_000_000_000_000 }), (bytes) => {
        expect(humanSize(bytes)).toMatch(/^\d{1,3}(\.\d{1,2})?(B|kB|MB|GB|TB)$/)
      }),
    )
  })
})

describe('humanAge', () => {
  const now = new Date('2026-11-20T12:00:00Z')
  const ago = (seconds: number): string =>
    humanAge(new Date(now.getTime() - seconds * 1000).toISOString(), now)
  const [minute, hour, day] = [60, 3600, 86400] as const

  it.each([
    [0.5, 'Less than a second ago'],
    [1, '1 second ago'],
    [59, '59 seconds ago'],
    [minute, 'About a minute ago'],
    [59 * minute, '59 minutes ago'],
    [hour, 'About an hour ago'],
    [89 * minute, 'About an hour ago'],
    [90 * minute, '2 hours ago'],
    [47 * hour, '47 hours ago'],
    [2 * day, '2 days ago'],
    [13 * day, '13 days ago'],
    [14 * day, '2 weeks ago'],
    [59 * day, '8 weeks ago'],
    [60 * day, '2 months ago'],
    [729 * day, '24 months ago'],
    [730 * day, '2 years ago'],
  ])('calls %d seconds what docker does: %s', (seconds, text) => {
    expect(ago(seconds)).toBe(text)
  })

  it('does not go below now, when a clock was ahead', () => {
    expect(ago(-hour)).toBe('Less than a second ago')
  })

  it.each([undefined, '', 'yesterday'])('has nothing to say of %o', (created) => {
    expect(humanAge(created, now)).toBe('N/A')
  })
})

describe('splitName', () => {
  it.each([
    ['alpine:3.20', 'alpine', '3.20'],
    ['localhost:5000/x/y:1', 'localhost:5000/x/y', '1'],
    ['localhost:5000/x', 'localhost:5000/x', '<none>'],
    [`alpine@sha256:${'a'.repeat(64)}`, 'alpine', '<none>'],
    [undefined, '<none>', '<none>'],
  ])('splits %s', (name, repository, tag) => {
    expect(splitName(name)).toEqual([repository, tag])
  })
})

describe('shortID', () => {
  it.each([`sha256:${'ab'.repeat(32)}`, 'ab'.repeat(32)])('cuts %s to 12 digits', (id) => {
    expect(shortID(id)).toBe('abababababab')
  })

  it('has nothing of nothing', () => {
    expect(shortID('')).toBe('')
  })
})

describe('plural and truncate', () => {
  it('count and cut', () => {
    expect([plural(0, 'layer'), plural(1, 'layer'), plural(2, 'layer')]).toEqual([
      '0 layers',
      '1 layer',
      '2 layers',
    ])
    expect([truncate('abcd', 4), truncate('abcde', 4)]).toEqual(['abcd', 'abc…'])
  })
})

describe('escapeControl', () => {
  it.each([
    ['a\nb\tc\r', 'a\\nb\\tc\\r'],
    ['\u001b[31mred', '\\e[31mred'],
    ['\u0000\u007f', '\\x00\\x7f'],
    ['\u009b31m', '\\x9b31m'],
    ['\u202egnp.exe', '\\u202egnp.exe'],
    ['grün 🎉 日本', 'grün 🎉 日本'],
  ])('spells %j out', (text, escaped) => {
    expect(escapeControl(text)).toBe(escaped)
  })
})

describe('escapeBytes', () => {
  it('keeps UTF-8 and spells out other bytes', () => {
    expect(escapeBytes(Buffer.from('grün\n'))).toBe('grün\\n')
    expect(escapeBytes(Buffer.from([0x61, 0xff, 0x1b, 0xc3]))).toBe('a\\xff\\e\\xc3')
  })

  it('never lets a byte through that a terminal acts on', () => {
    fc.assert(
      fc.property(fc.uint8Array(), (bytes) => {
        expect(escapeBytes(Buffer.from(bytes))).not.toMatch(/\p{Cc}/u)
      }),
    )
  })
})
