import { describe, expect, it } from 'vitest'
import { CHUNK_BYTES, ChunkPool } from '../../lib/tar/chunk-pool.ts'

describe('ChunkPool', () => {
  it('gives memory again when its last user is done with it', () => {
    const pool = new ChunkPool(1000)
    const chunk = pool.take()
    pool.retain(chunk)
    pool.release(chunk)
    expect(pool.take()).not.toBe(chunk)
    pool.release(chunk)
    expect(pool.take()).toBe(chunk)
  })

  it('gives what one stream is done with to the next', () => {
    const [one, other] = [new ChunkPool(), new ChunkPool()]
    const chunk = one.take()
    one.release(chunk)
    expect(other.take(10)).toBe(chunk)
    expect(chunk).toHaveLength(CHUNK_BYTES)
    other.release(chunk)
  })

  it('keeps no more than a stream needs, and no longer one', () => {
    const pool = new ChunkPool(10)
    const long = pool.take(11)
    pool.release(long)
    expect(pool.take()).toHaveLength(10)
    const chunks = Array.from({ length: 40 }, () => pool.take())
    for (const chunk of chunks) pool.release(chunk)
    const again = new Set(Array.from({ length: 40 }, () => pool.take()))
    expect(chunks.filter((chunk) => again.has(chunk))).toHaveLength(16)
  })

  it('refuses memory that nobody uses: it may be in use elsewhere by now', () => {
    const pool = new ChunkPool(10)
    const chunk = pool.take()
    pool.release(chunk)
    expect(() => {
      pool.release(chunk)
    }).toThrow(RangeError)
    expect(() => {
      pool.retain(chunk)
    }).toThrow(RangeError)
  })
})
