import { describe, expect, it } from 'vitest'
import {
  folderOf,
  formatLower,
  idOfLinkTarget,
  isLayerID,
  isLinkName,
  linkTarget,
  parseLower,
} from '../../lib/driver/overlay2/layout.ts'
import { newLinkName } from '../../lib/driver/overlay2/links.ts'

const LINK = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ'
const OTHER = '234567ABCDEFGHIJKLMNOPQRST'

describe('ids', () => {
  it.each(['l', 'staging', 'trash', 'backingFsBlockDev'])("%s is the home's own", (name) => {
    expect(isLayerID(name)).toBe(false)
  })

  it.each(['.tmp-x', '../x', 'a b', 'a:b', 'a,b', 'a\\b', 'a\nb', ''])('%j is none', (name) => {
    expect(isLayerID(name)).toBe(false)
    expect(() => folderOf('/home', name)).toThrow(
      expect.objectContaining({ code: 'ERR_INVALID_ARGUMENT' }) as Error,
    )
  })

  it('is one component below the home', () => {
    expect(folderOf('/home', 'a').merged).toBe('/home/a/merged')
  })
})

describe('lower', () => {
  it('round-trips', () => {
    expect(formatLower([LINK, OTHER])).toBe(`l/${LINK}:l/${OTHER}`)
    expect(parseLower(`l/${LINK}:l/${OTHER}`, 'lower')).toEqual([LINK, OTHER])
    expect(parseLower(`l/${LINK}\n`, 'lower')).toEqual([LINK])
  })

  it.each([
    '',
    `l/${LINK}:`,
    `:l/${LINK}`,
    LINK,
    `/l/${LINK}`,
    `l/${LINK}x`,
    `l/${LINK.toLowerCase()}`,
    `l/../../../etc`,
    `l/${LINK.slice(1)}0`,
    `l/${LINK},upperdir=/etc`,
    `l/${LINK} l/${OTHER}`,
  ])('refuses %j', (text) => {
    expect(() => parseLower(text, '/x/lower')).toThrow(
      expect.objectContaining({ code: 'ERR_DAMAGED', path: '/x/lower' }) as Error,
    )
  })
})

describe('names in l/', () => {
  it('are 26 characters of base 32, all different', () => {
    const names = Array.from({ length: 500 }, newLinkName)
    expect(names.filter((name) => !isLinkName(name))).toEqual([])
    expect(new Set(names).size).toBe(names.length)
    expect(new Set(names.join('')).size).toBe(32)
  })

  it('point to one layer, whose name they give back', () => {
    expect(linkTarget('abc')).toBe('../abc/diff')
    expect(idOfLinkTarget('../abc/diff')).toBe('abc')
  })

  it.each([
    '../abc',
    '../abc/diff/',
    '/abs/diff',
    '../../abc/diff',
    '../../diff',
    '../a/b/diff',
    '../l/diff',
    '',
  ])('do not point to %j', (target) => {
    expect(idOfLinkTarget(target)).toBeUndefined()
  })
})
