import { describe, expect, it } from 'vitest'
import { collect, streamOf } from '../../lib/driver-suite/streams.ts'
import { digestOf } from '../../lib/oci/digest.ts'
import { byteSource } from '../../lib/tar/byte-source.ts'
import { verifiedSource } from '../../lib/transfer/verified-source.ts'

const BYTES = Buffer.from(Array.from({ length: 10_000 }, (_, i) => i % 251))
const EXPECTED = { digest: digestOf(BYTES), size: BYTES.length, what: 'the blob' }

describe('verifiedSource', () => {
  it('passes what is right, in either form', async () => {
    expect(await collect(verifiedSource(streamOf(BYTES, 997), EXPECTED))).toEqual(BYTES)
    const source = verifiedSource(byteSource(streamOf(BYTES, 997)), EXPECTED)
    const into = [Buffer.alloc(7000), Buffer.alloc(7000), Buffer.alloc(7000)]
    expect(await source.readInto(into[0] as Buffer)).toBe(7000)
    expect(await source.readInto(into[1] as Buffer)).toBe(3000)
    expect(await source.readInto(into[2] as Buffer)).toBe(0)
    expect(Buffer.concat(into).subarray(0, 10_000)).toEqual(BYTES)
  })

  it('asks nothing where nothing is expected', async () => {
    expect(await collect(verifiedSource(streamOf(BYTES), { what: 'anything' }))).toEqual(BYTES)
  })

  it.each([
    ['other bytes of the same size', Buffer.alloc(10_000, 1), 'ERR_DIGEST_MISMATCH'],
    ['fewer bytes', BYTES.subarray(1), 'ERR_SIZE_MISMATCH'],
    ['more bytes', Buffer.concat([BYTES, BYTES]), 'ERR_SIZE_MISMATCH'],
    ['nothing', Buffer.alloc(0), 'ERR_SIZE_MISMATCH'],
  ])('refuses %s', async (_what, bytes, code) => {
    const refusal = { code, message: expect.stringContaining('the blob') as string }
    await expect(collect(verifiedSource(streamOf(bytes, 999), EXPECTED))).rejects.toMatchObject(refusal)
    const source = verifiedSource(streamOf(bytes, 999), EXPECTED)
    const all = async (): Promise<void> => {
      while ((await source.readInto(Buffer.alloc(512))) > 0);
    }
    await expect(all()).rejects.toMatchObject(refusal)
  })

  it('refuses bytes that are too many before it gives them', async () => {
    const source = verifiedSource(streamOf(BYTES, 1000), { size: 5000, what: 'it' })
    expect(await source.readInto(Buffer.alloc(5000))).toBe(5000)
    await expect(source.readInto(Buffer.alloc(100))).rejects.toMatchObject({ code: 'ERR_SIZE_MISMATCH' })
  })
})
