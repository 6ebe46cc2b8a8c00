import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { readRange } from '../../lib/transfer/file.ts'
import { openUnnamed, spool } from '../../lib/transfer/spool.ts'
import { collect, streamOf } from '../../lib/driver-suite/streams.ts'

let dir: string
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'spool-'))
})
afterEach(() => {
  rmSync(dir, { recursive: true })
})

const bytes = Buffer.from('0123456789'.repeat(50_000))
const fds = (): number => readdirSync('/proc/self/fd').length

describe('spool', () => {
  it('keeps a stream in a file that has no name', async () => {
    const file = await spool(streamOf(bytes, 999), { dir: join(dir, 'new'), maxBytes: bytes.length })
    try {
      expect(readdirSync(join(dir, 'new'))).toEqual([])
      const all = { offset: 0, size: bytes.length }
      expect((await collect(readRange(file, all, 'x'))).equals(bytes)).toBe(true)
      expect((await collect(readRange(file, { offset: 10, size: 3 }, 'x'))).toString()).toBe('012')
      expect(await collect(readRange(file, { offset: 10, size: 0 }, 'x'))).toHaveLength(0)
    } finally {
      await file.close()
    }
  })

  it.each([
    ['more than the limit', streamOf(bytes), { maxBytes: bytes.length - 1 }, 'ERR_LIMIT_EXCEEDED'],
    ['a stream that fails', failing(), { maxBytes: bytes.length }, 'ENOLINK'],
    [
      'an abort',
      streamOf(bytes),
      { maxBytes: bytes.length, signal: AbortSignal.abort({ code: 'MINE' }) },
      'MINE',
    ],
  ])('leaves nothing open after %s', async (_what, stream, options, code) => {
    const before = fds()
    await expect(spool(stream, { dir, ...options })).rejects.toMatchObject({ code })
    expect(fds()).toBe(before)
    expect(readdirSync(dir)).toEqual([])
  })

  it('stops at once when its signal says so, though the stream gives nothing', async () => {
    const before = fds()
    const controller = new AbortController()
    const silent = { [Symbol.asyncIterator]: () => ({ next: () => new Promise<never>(() => undefined) }) }
    const spooling = spool(silent, { dir, maxBytes: 1, signal: controller.signal })
    controller.abort(new Error('enough'))
    await expect(spooling).rejects.toThrow('enough')
    expect(fds()).toBe(before)
  })

  it('does with a name that is gone at once, where the file system has no files without', async () => {
    // A flag of 0 asks to open the folder itself for writing: EISDIR, as from a kernel that ignores O_TMPFILE.
    const file = await openUnnamed(dir, 0)
    try {
      expect(readdirSync(dir)).toEqual([])
      await file.appendFile('abc')
      expect((await collect(readRange(file, { offset: 1, size: 2 }, 'x'))).toString()).toBe('bc')
    } finally {
      await file.close()
    }
  })

  it('tells why a folder cannot be written to', async () => {
    await expect(openUnnamed(join(dir, 'missing'))).rejects.toMatchObject({ code: 'ENOENT' })
  })
})

async function* failing(): AsyncGenerator<Buffer> {
  yield await Promise.resolve(Buffer.from('x'))
  throw Object.assign(new Error('gone'), { code: 'ENOLINK' })
}
