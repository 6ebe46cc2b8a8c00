import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  familiar,
  familiarName,
  formatReference,
  idPrefixOf,
  imageIDOf,
  parseReference,
} from '../../lib/oci/reference.ts'

const hex = 'a'.repeat(64)
const digest = `sha256:${hex}`

/** Typed, normalized, familiar: what docker's `reference.ParseNormalizedNamed` and `FamiliarString` give. */
const READ = [
  ['alpine', 'docker.io/library/alpine:latest', 'alpine:latest'],
  ['alpine:3.20', 'docker.io/library/alpine:3.20', 'alpine:3.20'],
  ['library/alpine', 'docker.io/library/alpine:latest', 'alpine:latest'],
  ['docker.io/alpine', 'docker.io/library/alpine:latest', 'alpine:latest'],
  ['index.docker.io/library/alpine', 'docker.io/library/alpine:latest', 'alpine:latest'],
  ['me/tool:1', 'docker.io/me/tool:1', 'me/tool:1'],
  ['docker.io/library/x/y', 'docker.io/library/x/y:latest', 'library/x/y:latest'],
  ['localhost/x', 'localhost/x:latest', 'localhost/x:latest'],
  ['localhost', 'docker.io/library/localhost:latest', 'localhost:latest'],
  ['localhost:5000', 'docker.io/library/localhost:5000', 'localhost:5000'],
  ['localhost:5000/x', 'localhost:5000/x:latest', 'localhost:5000/x:latest'],
  ['host:5000/a/b:t', 'host:5000/a/b:t', 'host:5000/a/b:t'],
  ['ghcr.io/a/b', 'ghcr.io/a/b:latest', 'ghcr.io/a/b:latest'],
  ['[2001:db8::1]:5000/x', '[2001:db8::1]:5000/x:latest', '[2001:db8::1]:5000/x:latest'],
  ['127.0.0.1/x', '127.0.0.1/x:latest', '127.0.0.1/x:latest'],
  ['Registry/x', 'Registry/x:latest', 'Registry/x:latest'],
  ['foo.bar', 'docker.io/library/foo.bar:latest', 'foo.bar:latest'],
  // Without its registry this would be read as baz on foo.bar.
  ['docker.io/foo.bar/baz', 'docker.io/foo.bar/baz:latest', 'docker.io/foo.bar/baz:latest'],
  ['a__b/c.d-e--f', 'docker.io/a__b/c.d-e--f:latest', 'a__b/c.d-e--f:latest'],
  [`alpine@${digest}`, `docker.io/library/alpine@${digest}`, `alpine@${digest}`],
  [`alpine:3.20@${digest}`, `docker.io/library/alpine@${digest}`, `alpine@${digest}`],
  [`host:1/a:t@${digest}`, `host:1/a@${digest}`, `host:1/a@${digest}`],
  ['x:' + 'T'.repeat(128), `docker.io/library/x:${'T'.repeat(128)}`, `x:${'T'.repeat(128)}`],
  ['x:_under', 'docker.io/library/x:_under', 'x:_under'],
  ['cafe', 'docker.io/library/cafe:latest', 'cafe:latest'],
] as const

describe('parseReference', () => {
  it.each(READ)('reads %s as %s', (text, normalized, short) => {
    const ref = parseReference(text)
    expect(formatReference(ref)).toBe(normalized)
    expect(familiar(ref)).toBe(short)
    expect(short.startsWith(familiarName(ref))).toBe(true)
    expect(parseReference(short)).toEqual(ref)
    expect(parseReference(normalized)).toEqual(ref)
  })

  it.each([
    '',
    ':tag',
    'Alpine',
    'me/Tool',
    'a//b',
    '/a',
    'a/',
    '-a',
    'a-',
    'a..b',
    'a___b',
    '.a',
    'a b',
    'a:',
    'a:-x',
    'a:.x',
    'a:b:c',
    `x:${'t'.repeat(129)}`,
    'a@',
    'a@sha256:abc',
    `a@${digest}@${digest}`,
    `a@sha512:${hex}${hex}`,
    'https://host/x',
    'host:port/x',
    '-host.io/x',
    hex,
    'sha256:latest',
    'sha256',
    digest,
    `library/sha256@${digest}`,
    '../etc',
    'a/../b',
    'a\0b',
    'ä',
    `${'a'.repeat(256)}`,
    `registry.io/${'a/'.repeat(130)}a`,
  ])('refuses %j', (text) => {
    expect(() => parseReference(text)).toThrowError(
      expect.objectContaining({ code: 'ERR_INVALID_REFERENCE' }),
    )
  })

  it('counts the registry in the length of a name', () => {
    const fits = `docker.io/library/${'a'.repeat(255 - 'docker.io/library/'.length)}`
    expect(formatReference(parseReference(fits))).toBe(`${fits}:latest`)
    expect(() => parseReference(`${fits}a`)).toThrow('255')
  })

  it('reads its own output again, whatever it accepted', () => {
    const name = fc.stringMatching(/^[a-zA-Z0-9.:_/@-]{1,40}$/)
    fc.assert(
      fc.property(name, (text) => {
        let ref
        try {
          ref = parseReference(text)
        } catch {
          return
        }
        expect(parseReference(familiar(ref))).toEqual(ref)
        expect(parseReference(formatReference(ref))).toEqual(ref)
      }),
      { numRuns: 2000 },
    )
  })
})

describe('ids', () => {
  it('tells a whole id from a prefix and from a name', () => {
    expect(imageIDOf(digest)).toBe(digest)
    expect(imageIDOf(hex)).toBe(digest)
    expect(imageIDOf('cafe')).toBeUndefined()
    expect(idPrefixOf('cafe')).toBe('cafe')
    expect(idPrefixOf('sha256:12')).toBe('12')
    expect(idPrefixOf(digest)).toBe(hex)
    for (const text of ['', 'sha256:', 'alpine', 'CAFE', `${hex}a`, 'cafe:1']) {
      expect(idPrefixOf(text)).toBeUndefined()
    }
  })
})
