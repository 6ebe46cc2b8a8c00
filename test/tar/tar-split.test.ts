import { createHash, randomFillSync } from 'node:crypto'
import { closeSync, mkdirSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { gunzipSync, gzipSync } from 'node:zlib'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { assembleTar, type BodyGetter, measureTarSplit } from '../../lib/tar/assemble.ts'
import { crc64 } from '../../lib/tar/crc64.ts'
import { archiveSums } from '../../lib/native/sums.ts'
import { lineWriter, runReader } from '../../lib/native/tar-run.ts'
import type { ReadRun } from '../../lib/tar/plain-run.ts'
import { TarScanner } from '../../lib/tar/scanner.ts'
import { type ArchiveSums, PortableSums } from '../../lib/tar/sums.ts'
import { type SplitLines, type SplitRecord, TarSplitWriter } from '../../lib/tar/tar-split.ts'
import { missing } from '../helpers/gates.ts'
import { GoTar } from '../helpers/gotar.ts'
import { collect, streamOf } from '../../lib/driver-suite/streams.ts'
import { rawTar, type TarSpec } from '../helpers/rawtar.ts'
import { Members, scanInPieces } from '../helpers/tar.ts'

/** The tar-split file of an archive. */
async function split(
  archive: Buffer,
  options: { sums?: ArchiveSums; inline?: string; splitLines?: SplitLines; readRun?: ReadRun } = {},
): Promise<Buffer> {
  const { sums, inline, splitLines, readRun } = options
  const writer = new TarSplitWriter(sums, splitLines)
  const saving = collect(writer.output as AsyncIterable<Buffer>)
  const sink = new Members(inline, readRun !== undefined)
  const scanner = new TarScanner(sink, { observer: writer, ...(readRun && { readRun }) })
  await scanInPieces(scanner, archive, 10_000, writer)
  await writer.end()
  expect(writer.digest).toEqual(createHash('sha256').update(archive).digest())
  return saving
}

const records = (tarSplit: Buffer) =>
  gunzipSync(tarSplit)
    .toString()
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as SplitRecord)

const sum = (data: Buffer): string => {
  const state = Buffer.alloc(8)
  crc64(state, data)
  return state.toString('hex')
}

describe('crc64', () => {
  // From the tests of Go's hash/crc64.
  it.each([
    ['', '0000000000000000'],
    ['a', '3420000000000000'],
    ['ab', '36c4200000000000'],
  ])('of %j is %s', (text, hex) => {
    expect(sum(Buffer.from(text))).toBe(hex)
  })

  it('is the same in pieces', () => {
    const data = Buffer.from(Array.from({ length: 1000 }, (_, i) => (i * 37) % 256))
    const state = Buffer.alloc(8)
    for (let at = 0; at < data.length; at += 13) crc64(state, data.subarray(at, at + 13))
    expect(state.toString('hex')).toBe(sum(data))
  })
})

describe.skipIf(missing('hasGo'))("crc64 against Go's", () => {
  it('is the same', () => {
    using go = new GoTar()
    const data = Buffer.from(Array.from({ length: 70_000 }, (_, i) => (i * i) % 251))
    for (const length of [0, 1, 8, 70_000]) {
      expect(sum(data.subarray(0, length))).toBe(go.crc64(data.subarray(0, length)))
    }
  })
})

describe('tar-split', () => {
  let root: string
  let getter: BodyGetter & { opened: string[] }

  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'overlaid-split-'))
    getter = {
      opened: [],
      open(name) {
        const path = Buffer.from(name).toString('latin1')
        this.opened.push(path)
        return Promise.resolve(openSync(Buffer.from(join(root, path), 'latin1'), 'r'))
      },
    }
  })
  afterEach(() => {
    rmSync(root, { recursive: true })
  })

  /** Puts the files of `specs` on disk, and gives the archive. */
  function unpacked(specs: readonly TarSpec[]): Buffer {
    for (const spec of specs) {
      if (Buffer.isBuffer(spec) || spec.body === undefined) continue
      const path = join(root, Buffer.from(spec.name).toString('latin1'))
      mkdirSync(dirname(path), { recursive: true })
      writeFileSync(Buffer.from(path, 'latin1'), spec.body)
    }
    return rawTar(specs)
  }

  const again = (tarSplit: Buffer): Promise<Buffer> => collect(assembleTar(streamOf(tarSplit), getter))

  it("writes moby's records: segments, an entry for each member, sums of bodies", async () => {
    const archive = unpacked([
      { name: 'd/' },
      { name: 'd/a', body: 'a' },
      { name: Buffer.from('\xff', 'latin1') },
    ])
    const lines = records(await split(archive))
    expect(lines).toEqual([
      { type: 2, payload: archive.subarray(0, 512).toString('base64'), position: 0 },
      { type: 1, name: 'd/', payload: null, position: 1 },
      { type: 2, payload: archive.subarray(512, 1024).toString('base64'), position: 2 },
      {
        type: 1,
        name: 'd/a',
        size: 1,
        payload: Buffer.from('3420000000000000', 'hex').toString('base64'),
        position: 3,
      },
      { type: 2, payload: archive.subarray(1025, 2048).toString('base64'), position: 4 },
      { type: 1, name_raw: '/w==', payload: null, position: 5 },
      { type: 2, payload: archive.subarray(2048).toString('base64'), position: 6 },
    ])
  })

  it('gives the archive back, whatever its files are', async () => {
    const archive = Buffer.concat([
      unpacked([
        { name: 'empty', body: '' },
        { name: 'small', body: 'x' },
        { name: 'block', body: Buffer.alloc(512, 'b') },
        { name: 'large', body: Buffer.alloc(3 * 2 ** 20 + 17, 'l') },
        { name: `${'long/'.repeat(30)}name`, body: 'y', xattrs: { 'user.a': Buffer.from([0, 255, 10]) } },
        { name: Buffer.from('caf\xe9', 'latin1'), body: 'z' },
        { name: 'link', type: 'hardlink', linkname: 'small' },
        ...Array.from({ length: 100 }, (_, i) => ({ name: `many/${String(i)}`, body: String(i) })),
      ]),
      Buffer.alloc(2_500_000),
      Buffer.from('and a tail'),
    ])
    const tarSplit = await split(archive)
    const assembled = await again(tarSplit)
    expect(createHash('sha256').update(assembled).digest('hex')).toBe(
      createHash('sha256').update(archive).digest('hex'),
    )
    expect(await measureTarSplit(streamOf(tarSplit))).toBe(archive.length)
    expect(getter.opened).not.toContain('empty')
    for (const { type, payload } of records(tarSplit)) {
      if (type === 2) expect(Buffer.from(payload ?? '', 'base64').length).toBeLessThanOrEqual(2 ** 20)
    }
  })

  it('needs no file for an inlined body', async () => {
    const archive = rawTar([{ name: '.wh.x', body: 'odd' }, { name: 'y' }])
    const tarSplit = await split(archive, { inline: '.wh.x' })
    expect(await again(tarSplit)).toEqual(archive)
    expect(getter.opened).toEqual([])
  })

  it('uses the sums it is given', async () => {
    const calls: number[] = []
    const sums = new PortableSums((state, data) => {
      calls.push(data.length)
      crc64(state, data)
    })
    const archive = unpacked([{ name: 'a', body: 'abc' }])
    expect(await split(archive, { sums })).toEqual(await split(archive))
    expect(calls).toEqual([3])
  })

  describe.skipIf(missing('hasBinding'))('with the addon', () => {
    const archive = (names: (i: number) => string): Buffer =>
      rawTar(Array.from({ length: 100 }, (_, i) => ({ name: names(i), body: 'x'.repeat(i * 17) })))

    it('records runs of members in the same lines', async () => {
      const plain = archive((i) => `./d${String(i >> 3)}/f${String(i)}`)
      const fast = await split(plain, { sums: archiveSums(), splitLines: lineWriter(), readRun: runReader() })
      expect(records(fast)).toEqual(records(await split(plain)))
      expect(records(await split(plain, { readRun: runReader() }))).toEqual(records(fast))
    })

    it('refuses a name that is in a run for the second time', async () => {
      for (const other of ['d/f7', './d/f7']) {
        const twice = archive((i) => (i === 60 ? other : `d/f${String(i)}`))
        const splitting = split(twice, {
          sums: archiveSums(),
          splitLines: lineWriter(),
          readRun: runReader(),
        })
        await expect(splitting).rejects.toThrow(/in the archive twice/)
      }
    })
  })

  it.each(['a', './a', 'a/', 'b/../a', 'a//'])(
    'refuses a second member of the same cleaned name: %s',
    async (name) => {
      const archive = rawTar([
        { name: 'a', body: 'x' },
        { name, type: 'dir' },
      ])
      await expect(split(archive)).rejects.toMatchObject({ code: 'ERR_BAD_TAR' })
      await expect(split(archive)).rejects.toThrow(/in the archive twice at byte 1536/)
    },
  )

  it.each(['/a', 'A', '../a', 'a/a'])('takes %s for another name, as moby does', async (name) => {
    await split(rawTar([{ name: 'a' }, { name }]))
  })

  describe('on files that were changed', () => {
    const specs = [
      { name: 'etc/motd', body: 'hello' },
      { name: 'large', body: Buffer.alloc(2 ** 20, 'l') },
    ]
    let tarSplit: Buffer
    beforeEach(async () => {
      tarSplit = await split(unpacked(specs))
    })

    it.each([
      ['has other content', 'etc/motd', 'HELLO', /content is not what was unpacked/],
      ['is shorter', 'etc/motd', 'hell', /another size/],
      ['is longer', 'etc/motd', 'hello!', /another size/],
      ['is empty', 'etc/motd', '', /another size/],
      ['is large and longer', 'large', Buffer.alloc(2 ** 20 + 1, 'l'), /another size/],
      ['is large and has other content', 'large', Buffer.alloc(2 ** 20, 'L'), /content is not/],
    ])('fails and names the file that %s', async (_case, name, content, message) => {
      writeFileSync(join(root, name), content)
      await expect(again(tarSplit)).rejects.toMatchObject({ code: 'ERR_DAMAGED', path: name })
      await expect(again(tarSplit)).rejects.toThrow(message)
    })

    it('fails and names the file that is gone, or is none any more', async () => {
      rmSync(join(root, 'etc/motd'))
      await expect(again(tarSplit)).rejects.toMatchObject({ code: 'ERR_DAMAGED', path: 'etc/motd' })
      rmSync(join(root, 'etc'), { recursive: true })
      writeFileSync(join(root, 'etc'), '')
      await expect(again(tarSplit)).rejects.toThrow(/"etc\/motd" was changed below the store: it is gone/)
    })

    it('passes on other failures, and leaves no file open', async () => {
      const open = { open: () => Promise.reject(Object.assign(new Error('too many'), { code: 'EMFILE' })) }
      await expect(collect(assembleTar(streamOf(tarSplit), open))).rejects.toMatchObject({ code: 'EMFILE' })
    })
  })

  it('closes every file when its reader leaves early', async () => {
    const archive = unpacked(
      Array.from({ length: 40 }, (_, i) => ({ name: String(i), body: Buffer.alloc(100_000) })),
    )
    const tarSplit = await split(archive)
    const fds: number[] = []
    const tracking: BodyGetter = {
      open: async (name) => {
        const fd = await getter.open(name)
        fds.push(fd)
        return fd
      },
    }
    for await (const chunk of assembleTar(streamOf(tarSplit), tracking)) {
      expect(chunk.length).toBeGreaterThan(0)
      break
    }
    expect(fds.length).toBeGreaterThan(0)
    for (const fd of new Set(fds))
      expect(() => {
        closeSync(fd)
      }).toThrow(/EBADF/)
  })

  it.each([
    ['is not gzip', Buffer.from('plain')],
    ['is cut short', gzipSync('{"type":2,"payload":"","position":0}\n').subarray(0, 30)],
    ['is not JSON', gzipSync('{"type":2,\n')],
    ['has a record of another type', gzipSync('{"type":3,"payload":"","position":0}\n')],
  ])('that %s is damaged', async (_case, bytes) => {
    await expect(again(bytes)).rejects.toMatchObject({ code: 'ERR_DAMAGED' })
  })

  it('reads records of several gzip members, and one without a newline at its end', async () => {
    const line = (text: string, position: number) =>
      JSON.stringify({ type: 2, payload: Buffer.from(text).toString('base64'), position })
    const parts = [gzipSync(`${line('a', 0)}\n`), gzipSync(line('b', 1))]
    expect((await again(Buffer.concat(parts))).toString()).toBe('ab')
  })

  it('makes its reader wait when nobody consumes it, and fails it when it failed', async () => {
    const writer = new TarSplitWriter()
    const bytes = Buffer.alloc(1 << 20)
    const tell = async (): Promise<'told'> => {
      randomFillSync(bytes)
      writer.segment(bytes, 0, bytes.length)
      await writer.told(bytes, 0, bytes.length)
      return 'told'
    }
    const later = (): Promise<'waits'> => new Promise((resolve) => setTimeout(resolve, 500, 'waits'))
    let telling = tell()
    while ((await Promise.race([telling, later()])) === 'told') telling = tell()
    const consuming = collect(writer.output as AsyncIterable<Buffer>)
    await telling
    writer.destroy(new Error('disk full'))
    await expect(consuming).rejects.toThrow('disk full')
    await expect(tell()).rejects.toThrow('disk full')
    await expect(writer.end()).rejects.toThrow('disk full')
  })
})
