import { describe, expect, it } from 'vitest'
import { parseChallenges } from '../../../lib/transfer/registry/challenge.ts'

const parsed = (header: string): unknown =>
  parseChallenges(header).map(({ scheme, parameters }) => [scheme, Object.fromEntries(parameters)])

describe('parseChallenges', () => {
  it.each([
    ['Basic realm="Registry Realm"', [['basic', { realm: 'Registry Realm' }]]],
    ['Basic', [['basic', {}]]],
    [
      'Bearer realm="https://auth.example/token",service="registry.example",scope="repository:a/b:pull,push"',
      [
        [
          'bearer',
          {
            realm: 'https://auth.example/token',
            service: 'registry.example',
            scope: 'repository:a/b:pull,push',
          },
        ],
      ],
    ],
    // Two headers, as Node joins them.
    [
      'Negotiate, BEARER Realm=x, Basic realm="y"',
      [
        ['negotiate', {}],
        ['bearer', { realm: 'x' }],
        ['basic', { realm: 'y' }],
      ],
    ],
    ['Bearer realm="a \\"b\\" \\\\"', [['bearer', { realm: 'a "b" \\' }]]],
    ['', []],
    ['"', []],
    ['realm="no scheme"', []],
    ['Bearer realm="not ended', [['bearer', {}]]],
  ])('%s', (header, challenges) => {
    expect(parsed(header)).toEqual(challenges)
  })

  it('takes no time for what is long and malformed', () => {
    expect(parseChallenges(`Bearer ${'a='.repeat(50_000)}`).length).toBeLessThan(2)
    expect(parseChallenges(`Bearer realm="${'\\'.repeat(50_001)}`)).toHaveLength(1)
  })
})
