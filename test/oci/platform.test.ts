import { describe, expect, it } from 'vitest'
import { formatPlatform, hostPlatform, parsePlatform, suitability } from '../../lib/oci/platform.ts'

describe('hostPlatform', () => {
  it.each([
    ['x64', 'amd64'],
    ['arm64', 'arm64'],
    ['ia32', '386'],
    ['ppc64', 'ppc64le'],
    ['riscv64', 'riscv64'],
  ])('calls %s %s, as Go does', (node, go) => {
    expect(hostPlatform(node)).toEqual({ os: 'linux', architecture: go })
  })

  it('is that of this process by default', () => {
    expect(hostPlatform()).toEqual(hostPlatform(process.arch))
  })
})

describe('parsePlatform', () => {
  it('reads what formatPlatform writes, or an architecture', () => {
    for (const text of ['linux/amd64', 'linux/arm/v7']) expect(formatPlatform(parsePlatform(text))).toBe(text)
    expect(parsePlatform('arm64')).toEqual({ os: 'linux', architecture: 'arm64' })
  })

  it.each(['', 'linux/', 'a/b/c/d', 'linux/AMD64', 'linux/../x'])('refuses %j', (text) => {
    expect(() => parsePlatform(text)).toThrow(`${JSON.stringify(text)} is not a platform`)
  })

  it('with a variant takes that and what comes after it', () => {
    const rank = (asked: string, there: string): number | undefined =>
      suitability(parsePlatform(there), parsePlatform(asked))
    expect(rank('linux/arm/v6', 'linux/arm/v7')).toBeUndefined()
    expect(rank('linux/arm/v6', 'linux/arm/v6')).toBe(0)
    expect(rank('linux/arm/v6', 'linux/arm/v5')).toBe(1)
    expect(rank('linux/amd64/v3', 'linux/amd64/v3')).toBe(0)
    expect(rank('linux/amd64', 'linux/amd64/v3')).toBeUndefined()
  })
})

describe('suitability', () => {
  const best = (host: string, candidates: readonly string[]): string | undefined => {
    const ranked = candidates
      .map((text) => {
        const [os = '', architecture = '', variant] = text.split('/')
        return { text, rank: suitability({ os, architecture, variant }, hostPlatform(host)) }
      })
      .filter(({ rank }) => rank !== undefined)
    return ranked.sort((a, b) => (a.rank ?? 0) - (b.rank ?? 0))[0]?.text
  }

  it.each([
    ['x64', ['linux/arm64', 'linux/amd64'], 'linux/amd64'],
    ['x64', ['linux/amd64/v3', 'linux/amd64/v1'], 'linux/amd64/v1'],
    ['x64', ['linux/amd64/v3'], undefined],
    ['x64', ['windows/amd64', 'linux/386', 'unknown/unknown'], undefined],
    ['arm64', ['linux/arm64', 'linux/arm64/v8'], 'linux/arm64/v8'],
    ['arm64', ['linux/arm/v7'], undefined],
    ['arm', ['linux/arm/v5', 'linux/arm/v7', 'linux/arm/v6'], 'linux/arm/v7'],
    ['arm', ['linux/arm/v8'], undefined],
  ])('on %s of %j takes %s', (host, candidates, expected) => {
    expect(best(host, candidates)).toBe(expected)
  })

  it('is printed with its variant, when it has one', () => {
    expect(formatPlatform({ os: 'linux', architecture: 'arm', variant: 'v7' })).toBe('linux/arm/v7')
    expect(formatPlatform({ os: 'linux', architecture: 'amd64', variant: '' })).toBe('linux/amd64')
  })
})
