import { describe, expect, it } from 'vitest'
import { sizeLimit, type StorageOptions } from '../../lib/store/storage-options.ts'

describe('the size among storage options', () => {
  it.each([
    ['64m', 64 * 2 ** 20],
    ['64M', 64 * 2 ** 20],
    ['64MB', 64 * 2 ** 20],
    ['64MiB', 64 * 2 ** 20],
    ['1.5g', 1.5 * 2 ** 30],
    ['2 t', 2 * 2 ** 40],
    ['1000', 1000],
    ['10b', 10],
    [4096, 4096],
  ])('%s is %d bytes, as docker reads it', (size, bytes) => {
    expect(sizeLimit({ size })).toBe(bytes)
  })

  it.each(['', 'm', '64x', '-1', '0', '64mm', '1e3', '9999999p', 0, -5, 1.5, NaN])('%s is none', (size) => {
    expect(() => sizeLimit({ size })).toThrow(
      expect.objectContaining({
        code: 'ERR_INVALID_ARGUMENT',
        hint: expect.stringContaining('64m') as string,
      }) as Error,
    )
  })

  it('is not asked for by default, and is the only one', () => {
    expect(sizeLimit({})).toBeUndefined()
    expect(() => sizeLimit({ inodes: 5 } as StorageOptions)).toThrow('"inodes" is no storage option')
  })
})
