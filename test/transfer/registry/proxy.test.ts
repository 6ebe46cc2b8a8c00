import { describe, expect, it } from 'vitest'
import { isLoopback, proxyFor } from '../../../lib/transfer/registry/proxy.ts'

const chosen = (url: string, env: Record<string, string>): string | undefined =>
  proxyFor(new URL(url), env)?.href

describe('proxyFor', () => {
  const env = { HTTPS_PROXY: 'http://secure:1', http_proxy: 'plain:2' }

  it('goes by the scheme of what is asked for', () => {
    expect(chosen('https://r.example/v2/', env)).toBe('http://secure:1/')
    expect(chosen('http://r.example/v2/', env)).toBe('http://plain:2/')
    expect(chosen('https://r.example/v2/', {})).toBeUndefined()
  })

  it('is none for loopback', () => {
    for (const host of ['localhost', 'a.localhost', '127.0.0.1', '127.9.9.9:5000', '[::1]:5000'])
      expect(chosen(`https://${host}/`, env)).toBeUndefined()
  })

  it.each([
    ['r.example', true],
    ['.example', true],
    ['*.example', true],
    ['example', true],
    ['*', true],
    ['other, r.example:443', true],
    ['r.example:5000', false],
    ['.r.example', true],
    ['xample', false],
    ['', false],
  ])('NO_PROXY=%s', (list, isExempt) => {
    expect(chosen('https://r.example/', { ...env, NO_PROXY: list }) === undefined).toBe(isExempt)
  })

  it('knows networks', () => {
    expect(chosen('https://10.1.2.3:5000/', { ...env, no_proxy: '10.0.0.0/8' })).toBeUndefined()
    expect(chosen('https://[fd00::1]/', { ...env, no_proxy: 'fd00::/8' })).toBeUndefined()
    expect(chosen('https://11.1.2.3/', { ...env, no_proxy: '10.0.0.0/8,fd00::/8,bad/x' })).toBeDefined()
  })

  it('refuses what is no HTTP proxy, without its text', () => {
    const refuse = (): unknown => chosen('https://r.example/', { HTTPS_PROXY: 'socks5://me:word@host' })
    expect(refuse).toThrow('$HTTPS_PROXY is not the URL of an HTTP proxy')
    expect(refuse).not.toThrow('word')
  })
})

describe('isLoopback', () => {
  it('goes by the name alone', () => {
    expect(['127.0.0.1', 'LOCALHOST', '::1', '[::1]'].map(isLoopback)).toEqual([true, true, true, true])
    const others = ['127.0.0.1.example', 'localhost.example', '128.0.0.1', '::2', '127.1.example']
    expect(others.map(isLoopback)).toEqual(others.map(() => false))
  })
})
