import { describe, expect, it } from 'vitest'
import { byteSource } from '../../lib/tar/byte-source.ts'
import { ChunkPool } from '../../lib/tar/chunk-pool.ts'
import { feed, type FeedOptions } from '../../lib/tar/feed.ts'
import { TarScanner } from '../../lib/tar/scanner.ts'
import { streamOf } from '../../lib/driver-suite/streams.ts'
import { member, paxMember, rawHeader, rawTar } from '../helpers/rawtar.ts'
import { Members, Recorder } from '../helpers/tar.ts'

/** Room for what the scanner leaves, and a little more: each piece is small. */
const SMALL = 4096 + 700

async function fed(
  stream: AsyncIterable<Buffer>,
  options: Partial<FeedOptions> = {},
): Promise<{ names: string[]; bodies: string[] }> {
  const sink = new Members(undefined)
  const scanner = new TarScanner(sink, options.observer && { observer: options.observer })
  await feed(byteSource(stream), scanner, { pool: new ChunkPool(SMALL), ...options })
  return {
    names: sink.all.map(({ header }) => header.name.toString()),
    bodies: sink.all.map(({ body }) => body.toString()),
  }
}

describe('feed', () => {
  it.each([1, 100, 512, 701, 1 << 20])('reads an archive that comes in chunks of %i bytes', async (size) => {
    const archive = Buffer.concat([
      rawTar([
        { name: 'a', body: 'x'.repeat(5000) },
        { name: 'n'.repeat(300), body: 'y' },
        { name: 'b', body: 'z' },
      ]),
      Buffer.from('tail'),
    ])
    const recorder = new Recorder()
    const { names, bodies } = await fed(streamOf(archive, size), { observer: recorder })
    expect(names).toEqual(['a', 'n'.repeat(300), 'b'])
    expect(bodies).toEqual(['x'.repeat(5000), 'y', 'z'])
    expect(recorder.bytes).toEqual(archive)
  })

  it('reads an extension header that is larger than its pieces', async () => {
    const pax = paxMember([['SCHILY.xattr.user.big', Buffer.alloc(60_000, 'v')]])
    const archive = rawTar([pax, rawHeader({ name: Buffer.from('f'), size: 0, flag: '0' })])
    expect((await fed(streamOf(archive, 900))).names).toEqual(['f'])
  })

  it('that begins after an abort fails with the reason, and leaves no failure to nobody', async () => {
    const unhandled: unknown[] = []
    const note = (reason: unknown): void => void unhandled.push(reason)
    process.on('unhandledRejection', note)
    try {
      const reason = new Error('another layer failed')
      const signal = AbortSignal.abort(reason)
      const failing = async function* (): AsyncGenerator<Buffer> {
        yield* [] as Buffer[]
        signal.throwIfAborted()
      }
      await expect(fed(failing(), { signal })).rejects.toBe(reason)
      await new Promise((resolve) => setImmediate(resolve))
      expect(unhandled).toEqual([])
    } finally {
      process.off('unhandledRejection', note)
    }
  })

  it('waits for an observer that is behind, and uses its memory again only after', async () => {
    const open: (() => void)[] = []
    let told = 0
    const observer = Object.assign(new Recorder(), {
      told: () => {
        told++
        return new Promise<void>((resolve) => open.push(resolve))
      },
    })
    const archive = rawTar([{ name: 'a', body: Buffer.alloc(20_000) }])
    const feeding = fed(streamOf(archive), { observer })
    for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve))
    expect(told).toBe(3)
    const timer = setInterval(() => open.shift()?.(), 1)
    await feeding
    clearInterval(timer)
    expect(observer.bytes).toEqual(archive)
  })

  it('fails with what an observer fails with', async () => {
    const observer = Object.assign(new Recorder(), {
      told: () => Promise.reject(new Error('the record is gone')),
    })
    await expect(fed(streamOf(rawTar([{ name: 'a' }])), { observer })).rejects.toThrow('the record is gone')
  })

  it('fails with what its source fails with', async () => {
    async function* source(): AsyncGenerator<Buffer> {
      yield* streamOf(member({ name: 'a', body: 'x' }).subarray(0, 512))
      throw new Error('the disk is gone')
    }
    await expect(fed(source())).rejects.toThrow('the disk is gone')
  })

  it('can be aborted while a source never answers', async () => {
    const controller = new AbortController()
    const silent: AsyncIterable<Buffer> = {
      [Symbol.asyncIterator]: () => ({ next: () => new Promise<never>(() => undefined) }),
    }
    const reading = fed(silent, { signal: controller.signal })
    controller.abort(new Error('enough'))
    await expect(reading).rejects.toThrow('enough')
    await expect(fed(silent, { signal: AbortSignal.abort(new Error('never')) })).rejects.toThrow('never')
  })
})

describe('byteSource', () => {
  it('fills what it is given, until the end', async () => {
    const source = byteSource(streamOf(Buffer.from('abcdefgh'), 3))
    const into = Buffer.alloc(5)
    expect(await source.readInto(into)).toBe(5)
    expect(into.toString()).toBe('abcde')
    expect(await source.readInto(into)).toBe(3)
    expect(into.toString('latin1', 0, 3)).toBe('fgh')
    expect(await source.readInto(into)).toBe(0)
  })

  it('ends a stream that is left early', async () => {
    let closed = false
    async function* stream(): AsyncGenerator<Buffer> {
      try {
        yield* streamOf(Buffer.alloc(100), 10)
      } finally {
        closed = true
      }
    }
    const source = byteSource(stream())
    await source.readInto(Buffer.alloc(10))
    await source.close()
    expect(closed).toBe(true)
  })
})
