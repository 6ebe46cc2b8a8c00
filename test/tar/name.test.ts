import { posix } from 'node:path'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { cleanName, cleanParts, isDeeper } from '../../lib/tar/name.ts'

describe('cleanName', () => {
  it.each([
    ['a/b', 'a/b'],
    ['./a/b/', 'a/b'],
    ['/etc//passwd', 'etc/passwd'],
    ['../../etc/passwd', 'etc/passwd'],
    ['a/../../../b', 'b'],
    ['a/./b/../c', 'a/c'],
    ['.', ''],
    ['..', ''],
    ['', ''],
    ['/', ''],
    ['...', '...'],
    ['a/..b', 'a/..b'],
  ])('of %j is %j', (name, expected) => {
    expect(cleanName(Buffer.from(name)).toString()).toBe(expected)
  })

  it('is what every path library makes of the name below a root', () => {
    const part = fc.constantFrom('a', 'b', '.', '..', '', '...', 'ü')
    fc.assert(
      fc.property(fc.array(part, { maxLength: 12 }), (parts) => {
        const name = parts.join('/')
        expect(`/${cleanName(Buffer.from(name)).toString()}`).toBe(
          posix.normalize(`/${name}`).replace(/(.)\/$/, '$1'),
        )
      }),
    )
  })

  it('keeps bytes that are not UTF-8', () => {
    expect(cleanName(Buffer.from('a/\xff\xfe/', 'latin1'))).toEqual(Buffer.from('a/\xff\xfe', 'latin1'))
  })

  it('gives the components too, none for the root', () => {
    expect(cleanParts('/a//./b/../c/')).toEqual(['a', 'c'])
    expect(cleanParts('..')).toEqual([])
  })
})

describe('isDeeper', () => {
  it.each([
    ['a/b/c', 3, false],
    ['a/b/c/d', 3, true],
    ['//a//./b///c/', 3, false],
    ['long-name/b', 1, true],
    ['long-name', 1, false],
  ])('of %j and %d is %s', (name, depth, expected) => {
    expect(isDeeper(Buffer.from(name), depth)).toBe(expected)
  })
})
