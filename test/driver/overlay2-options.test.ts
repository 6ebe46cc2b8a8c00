import { describe, expect, it } from 'vitest'
import type { MountOptions } from '../../lib/driver/driver.ts'
import { mountAttributes, mountFlags } from '../../lib/driver/mount-attributes.ts'
import {
  escapeValue,
  MAX_OPTION_BYTES,
  optionString,
  overlayOptions,
} from '../../lib/driver/overlay2/options.ts'
import { countLowers } from '../../lib/driver/overlay2/shown-options.ts'
import { MOUNT_ATTR, MS } from '../../lib/native/flags.ts'

const bytes = (text: string): Buffer => Buffer.from(text)

describe('overlayOptions', () => {
  it('pins what makes the upper the diff', () => {
    expect(overlayOptions({}, true)).toEqual([
      ['index', 'off'],
      ['redirect_dir', 'nofollow'],
      ['metacopy', 'off'],
    ])
  })

  it('turns redirects on with metacopy, which cannot be without', () => {
    const options = overlayOptions({ metacopy: true }, true)
    expect(options).toContainEqual(['redirect_dir', 'on'])
    expect(options).toContainEqual(['metacopy', 'on'])
  })

  it('passes on what a caller may ask for', () => {
    const asked = { xino: 'auto', userxattr: true, volatile: true, context: 'a:b:c:s0:c1,c2' } as const
    expect(overlayOptions(asked, true).slice(3)).toEqual([
      ['xino', 'auto'],
      ['userxattr'],
      ['volatile'],
      ['context', 'a:b:c:s0:c1,c2'],
    ])
  })

  const contradictions: readonly (readonly [string, MountOptions, boolean])[] = [
    ['userxattr and metacopy', { userxattr: true, metacopy: true }, true],
    ['userxattr and redirectDir', { userxattr: true, redirectDir: true }, true],
    ['metacopy without redirectDir', { metacopy: true, redirectDir: false }, true],
    ['volatile without an upper', { volatile: true }, false],
    ['a context with a quote', { context: 'a",upperdir=/,"b' }, true],
  ]
  it.each(contradictions)('refuses %s in words', (_, options, hasUpper) => {
    expect(() => overlayOptions(options, hasUpper)).toThrow(
      expect.objectContaining({ code: 'ERR_INVALID_ARGUMENT', hint: expect.any(String) as string }),
    )
  })
})

describe('optionString', () => {
  it('has the upper first, the lowers last, each escaped for its place', () => {
    const layers = {
      lowers: [bytes('a:b'), bytes('c,d'), bytes('e\\')],
      upper: bytes('u:,\\'),
      work: bytes('w'),
    }
    expect(optionString(layers, [['volatile'], ['context', 's0:c1,c2']]).toString()).toBe(
      String.raw`upperdir=u:\,\\,workdir=w,volatile,context="s0:c1,c2",lowerdir=a\:b:c\,d:e` + '\\\\',
    )
  })

  it('holds 128 short links with room for the upper, and not a byte more than the kernel reads', () => {
    const lowers = Array.from({ length: 128 }, () => bytes(`l/${'A'.repeat(26)}`))
    const id = 'f'.repeat(64)
    const layers = { lowers, upper: bytes(`${id}/diff`), work: bytes(`${id}/work`) }
    expect(optionString(layers, overlayOptions({}, true)).length).toBeLessThanOrEqual(MAX_OPTION_BYTES)
    const exact = [bytes('x'.repeat(MAX_OPTION_BYTES - 'lowerdir='.length))]
    expect(optionString({ lowers: exact }, [])).toHaveLength(MAX_OPTION_BYTES)
    const longer = [Buffer.concat([...exact, bytes('x')])]
    expect(() => optionString({ lowers: longer }, [])).toThrow(
      expect.objectContaining({ code: 'ERR_CHAIN_TOO_DEEP' }),
    )
  })
})

it('escapeValue doubles backslashes and nothing else', () => {
  expect(escapeValue(bytes('a\\b:c,d'))).toEqual(bytes('a\\\\b:c,d'))
  expect(escapeValue(Buffer.from([0xff, 0x5c]))).toEqual(Buffer.from([0xff, 0x5c, 0x5c]))
})

it('mountAttributes and mountFlags name the same things', () => {
  const options = { nosuid: true, noexec: true, readOnly: true, nodev: false }
  expect(mountFlags(options)).toBe(MS.MS_NOSUID | MS.MS_NOEXEC | MS.MS_RDONLY)
  expect(mountAttributes(options)).toBe(
    MOUNT_ATTR.MOUNT_ATTR_NOSUID | MOUNT_ATTR.MOUNT_ATTR_NOEXEC | MOUNT_ATTR.MOUNT_ATTR_RDONLY,
  )
})

describe('countLowers', () => {
  it.each([
    ['rw,lowerdir=a:b:c,upperdir=u', 3],
    ['ro,lowerdir+=/a,lowerdir+=/b,index=off', 2],
    ['rw,upperdir=u,workdir=w', 0],
    [String.raw`ro,lowerdir=a\134:b:c`, 2],
    [String.raw`ro,lowerdir=a\134\134:b`, 2],
    [String.raw`ro,lowerdir=a\072b:c\054d`, 2],
    [String.raw`ro,lowerdir=a\134\054b\040c`, 1],
  ])('of %s', (options, count) => {
    expect(countLowers(options)).toBe(count)
  })
})
