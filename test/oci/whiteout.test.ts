import { describe, expect, it } from 'vitest'
import { parseWhiteout, whiteoutName } from '../../lib/oci/whiteout.ts'

describe('parseWhiteout', () => {
  it.each([
    ['motd', 'none'],
    ['.wh', 'none'],
    ['wh.motd', 'none'],
    ['.WH.motd', 'none'],
    ['.wh..wh..opq', 'opaque'],
    ['.wh..wh..opqx', 'reserved'],
    ['.wh..wh.plnk', 'reserved'],
    ['.wh..wh.aufs', 'reserved'],
    ['.wh..wh.', 'reserved'],
    ['.wh.', 'invalid'],
    ['.wh..', 'invalid'],
    ['.wh...', 'invalid'],
  ])('takes %j for: %s', (component, kind) => {
    expect(parseWhiteout(Buffer.from(component))).toEqual({ kind })
  })

  it.each(['motd', '....', '.hidden', '.wh', 'wh.x', '\xff'])('finds the name %j again', (name) => {
    const bytes = Buffer.from(name, 'latin1')
    expect(parseWhiteout(whiteoutName(bytes))).toEqual({ kind: 'whiteout', name: bytes })
  })
})
