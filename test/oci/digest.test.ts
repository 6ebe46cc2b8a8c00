import { createHash } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import {
  EMPTY_TAR_DIFF_ID,
  Measured,
  digestOf,
  hexOf,
  isDigest,
  parseCacheID,
  parseDigest,
  verified,
} from '../../lib/oci/digest.ts'
import { collect, streamOf } from '../../lib/driver-suite/streams.ts'

// printf a | sha256sum
const A = 'sha256:ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb'
const hex = A.slice(7)

describe('parseDigest', () => {
  it('takes the canonical form and nothing else', () => {
    expect(parseDigest(A)).toBe(A)
    expect(hexOf(parseDigest(A))).toBe(hex)
    expect(digestOf('a')).toBe(A)
  })

  it.each([
    ['no algorithm', hex],
    ['upper-case hex', A.toUpperCase()],
    ['63 digits', A.slice(0, -1)],
    ['65 digits', `${A}0`],
    ['a path after it', `${A}/../../etc`],
    ['a path instead', 'sha256:../../../../etc/passwd'],
    ['a newline after it', `${A}\n`],
    ['a space before it', ` ${A}`],
    ['nothing', ''],
    ['not hex', `sha256:${'g'.repeat(64)}`],
  ])('refuses %s', (_what, text) => {
    expect(isDigest(text)).toBe(false)
    expect(() => parseDigest(text)).toThrowError(expect.objectContaining({ code: 'ERR_INVALID_REFERENCE' }))
  })

  it('says of another algorithm that it is another algorithm', () => {
    const sha512 = `sha512:${createHash('sha512').update('a').digest('hex')}`
    expect(() => parseDigest(sha512, 'ERR_BAD_MANIFEST')).toThrowError(
      expect.objectContaining({
        code: 'ERR_BAD_MANIFEST',
        message: expect.stringContaining('sha512') as string,
      }),
    )
  })
})

describe('parseCacheID', () => {
  it.each([hex, `${hex}-init`, 'a0b1c2d3e4f5g6h7i8j9k0l1m'])('takes %s', (id) => {
    expect(parseCacheID(id)).toBe(id)
  })

  it.each(['', '.', '..', '../x', 'a/b', '.staging', 'a\0b', 'a\n', 'x'.repeat(129)])('refuses %j', (id) => {
    expect(() => parseCacheID(id)).toThrowError(expect.objectContaining({ code: 'ERR_DAMAGED' }))
  })
})

it('knows the archive of nothing', () => {
  expect(digestOf(Buffer.alloc(1024))).toBe(EMPTY_TAR_DIFF_ID)
})

describe('Measured', () => {
  it('knows digest and size of what has passed, however it was cut', async () => {
    const bytes = Buffer.from('some bytes')
    for (const size of [1, 3, 100]) {
      const measured = new Measured(streamOf(bytes, size))
      expect(await collect(measured)).toEqual(bytes)
      expect([measured.digest, measured.size]).toEqual([digestOf(bytes), bytes.length])
    }
  })

  it('has no digest before the end', async () => {
    const measured = new Measured(streamOf(Buffer.from('ab'), 1))
    for await (const _ of measured) break
    expect(() => measured.digest).toThrow('at its end')
  })
})

describe('verified', () => {
  const right = { digest: parseDigest(A), size: 1, what: 'the blob' }

  it('passes what is right', async () => {
    expect(await collect(verified(streamOf(Buffer.from('a')), right))).toEqual(Buffer.from('a'))
    expect(await collect(verified(streamOf(Buffer.from('zz')), { what: 'anything' }))).toHaveLength(2)
  })

  it.each([
    ['other bytes of the same size', 'b', 'ERR_DIGEST_MISMATCH'],
    ['fewer bytes', '', 'ERR_SIZE_MISMATCH'],
    ['more bytes', 'aa', 'ERR_SIZE_MISMATCH'],
  ])('refuses %s', async (_what, text, code) => {
    await expect(collect(verified(streamOf(Buffer.from(text)), right))).rejects.toMatchObject({
      code,
      message: expect.stringContaining('the blob') as string,
    })
  })

  it('does not pass on the bytes that are too many', async () => {
    const passed: Buffer[] = []
    const endless = async function* (): AsyncGenerator<Buffer> {
      for (;;) yield await Promise.resolve(Buffer.from('aa'))
    }
    const run = async (): Promise<void> => {
      for await (const chunk of verified(endless(), { size: 5, what: 'it' })) passed.push(chunk)
    }
    await expect(run()).rejects.toMatchObject({ code: 'ERR_SIZE_MISMATCH' })
    expect(Buffer.concat(passed)).toHaveLength(4)
  })
})
