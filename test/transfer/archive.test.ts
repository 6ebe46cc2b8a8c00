import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, linkSync, truncateSync, writeFileSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Archive } from '../../lib/transfer/archive.ts'
import type { TarLimits } from '../../lib/tar/entry.ts'
import { collect } from '../../lib/driver-suite/streams.ts'
import { checksummed, member, paxMember, rawHeader, rawTar, type TarSpec } from '../helpers/rawtar.ts'

let dir: string
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'archive-'))
})
afterEach(() => {
  rmSync(dir, { recursive: true })
})

/** Opens an archive's bytes, or its file. Closed by the caller's scope. */
async function index(tar: Buffer | string, limits: TarLimits = {}): Promise<Archive> {
  const path = typeof tar === 'string' ? tar : join(dir, 'a.tar')
  if (typeof tar !== 'string') writeFileSync(path, tar)
  const file = await open(path)
  try {
    return await Archive.open(file, 'the archive', { limits })
  } catch (error) {
    await file.close()
    throw error
  }
}

async function contentOf(archive: Archive, path: string): Promise<string | undefined> {
  const part = await archive.find(path)
  return part === undefined ? undefined : (await collect(part.read())).toString()
}

describe('Archive', () => {
  it('finds files by path, whatever form their names have', async () => {
    const long = `${'d'.repeat(90)}/${'f'.repeat(90)}`
    await using archive = await index(
      rawTar([
        { name: 'dir/' },
        { name: './dir/a', body: 'A' },
        { name: '/b', body: 'B' },
        { name: long, body: 'long' },
        { name: 'empty' },
        { name: 'é', body: 'utf8' },
      ]),
    )
    expect(await contentOf(archive, 'dir/a')).toBe('A')
    expect(await contentOf(archive, './dir//../dir/a')).toBe('A')
    expect(await contentOf(archive, 'b')).toBe('B')
    expect(await contentOf(archive, long)).toBe('long')
    expect(await contentOf(archive, 'empty')).toBe('')
    expect(await contentOf(archive, 'é')).toBe('utf8')
    for (const missing of ['dir', 'c', '', '.', 'dir/a/b', '__proto__']) {
      expect(await archive.find(missing)).toBeUndefined()
    }
  })

  it('gives bodies of any size, several at a time and as often as asked', async () => {
    const bodies = [511, 512, 513, 65_536, 3_000_000].map((size, i) => Buffer.alloc(size, 65 + i))
    await using archive = await index(rawTar(bodies.map((body, i) => ({ name: String(i), body }))))
    const parts = await Promise.all(bodies.map((_, i) => archive.find(String(i))))
    for (let round = 0; round < 2; round++) {
      const read = await Promise.all(parts.map((part) => collect(part!.read())))
      expect(read.map((body, i) => body.equals(bodies[i]!))).toEqual(bodies.map(() => true))
    }
    expect(parts.map((part) => part?.size)).toEqual(bodies.map((body) => body.length))
  })

  it('lets the last of several members with one name count', async () => {
    const specs: TarSpec[] = [
      { name: 'a', body: 'first' },
      { name: './a', body: 'last' },
      { name: 'l', body: 'file' },
      { name: 'l', type: 'symlink', linkname: 'a' },
    ]
    await using archive = await index(rawTar(specs))
    expect(await contentOf(archive, 'a')).toBe('last')
    expect(await contentOf(archive, 'l')).toBe('last')
  })

  it('follows links inside the archive, and nowhere else', async () => {
    const link = (name: string, linkname: string): TarSpec => ({ name, type: 'symlink', linkname })
    await using archive = await index(
      rawTar([
        { name: 'x/layer.tar', body: 'X' },
        link('y/layer.tar', '../x/layer.tar'),
        link('z/layer.tar', '/y/layer.tar'),
        { name: 'h', type: 'hardlink', linkname: './x/layer.tar' },
        link('up', '../../../../etc/passwd'),
        link('etc/hosts', '/etc/passwd'),
        link('loop', 'pool'),
        link('pool', 'loop'),
        link('self', 'self'),
      ]),
    )
    for (const path of ['y/layer.tar', 'z/layer.tar', 'h']) expect(await contentOf(archive, path)).toBe('X')
    expect(await archive.find('up')).toBeUndefined()
    expect(await archive.find('etc/hosts')).toBeUndefined()
    for (const path of ['loop', 'self']) {
      await expect(archive.find(path)).rejects.toMatchObject({ code: 'ERR_BAD_TAR' })
    }
  })

  it('finds nothing behind the end of the archive', async () => {
    await using archive = await index(
      Buffer.concat([rawTar([{ name: 'a', body: 'A' }]), member({ name: 'b' })]),
    )
    expect(await contentOf(archive, 'a')).toBe('A')
    expect(await archive.find('b')).toBeUndefined()
  })

  it('takes an archive without its closing blocks, as Go does', async () => {
    await using archive = await index(member({ name: 'a', body: 'A' }))
    expect(await contentOf(archive, 'a')).toBe('A')
  })

  it('is empty for nothing', async () => {
    await using archive = await index(Buffer.alloc(0))
    expect(await archive.find('a')).toBeUndefined()
  })

  it('leaves out names that no manifest can name, and things that are no files', async () => {
    await using archive = await index(
      rawTar([
        { name: Buffer.from([0x61, 0xff]), body: 'x' },
        { name: 'fifo', type: 'fifo' },
        { name: 'dev', type: 'char', devMajor: 1, devMinor: 3 },
        { name: 'a', body: 'A' },
      ]),
    )
    expect(await archive.find('a\ufffd')).toBeUndefined()
    expect(await archive.find('fifo')).toBeUndefined()
    expect(await archive.find('dev')).toBeUndefined()
    expect(await contentOf(archive, 'a')).toBe('A')
  })
})

describe('archives of the tar command', () => {
  it.each(['gnu', 'pax', 'ustar', 'v7'])('are read in the format %s', async (format) => {
    const source = join(dir, 'source')
    mkdirSync(join(source, 'd'), { recursive: true })
    writeFileSync(join(source, 'd/a'), 'A')
    symlinkSync('a', join(source, 'd/s'))
    linkSync(join(source, 'd/a'), join(source, 'd/h'))
    const deep = `${'p'.repeat(60)}/${'q'.repeat(60)}`
    const isShort = format === 'v7'
    if (!isShort) {
      mkdirSync(join(source, 'p'.repeat(60)))
      writeFileSync(join(source, deep), 'deep')
    }
    execFileSync('tar', [`--format=${format}`, '-C', source, '-cf', join(dir, 'x.tar'), '.'])
    await using archive = await index(join(dir, 'x.tar'))
    for (const path of ['d/a', 'd/s', 'd/h']) expect(await contentOf(archive, path)).toBe('A')
    if (!isShort) expect(await contentOf(archive, deep)).toBe('deep')
  })

  it.each(['gnu', 'pax'])('say so when a file is packed as sparse, in the format %s', async (format) => {
    writeFileSync(join(dir, 'sparse'), 'x')
    truncateSync(join(dir, 'sparse'), 1_000_000)
    writeFileSync(join(dir, 'z'), 'Z')
    execFileSync('tar', [`--format=${format}`, '-C', dir, '-Scf', join(dir, 'x.tar'), 'sparse', 'z'])
    await using archive = await index(join(dir, 'x.tar'))
    expect(await contentOf(archive, 'z')).toBe('Z')
    await expect(archive.find('sparse')).rejects.toMatchObject({
      code: 'ERR_BAD_TAR',
      message: expect.stringContaining('sparse') as string,
    })
  })
})

describe('a bad archive', () => {
  const good = rawTar([
    { name: 'a', body: 'x'.repeat(700) },
    { name: 'n'.repeat(200), body: 'y'.repeat(10) },
  ])
  const header = rawHeader({ name: Buffer.from('a'), size: 0, flag: '0' })

  it('is one that is cut off anywhere but between members', async () => {
    // Headers of a, its body, the PAX header and its body, the header of n…, its body.
    const edges = new Set([0, 512 + 1024, good.length - 1024, good.length - 512])
    for (let length = 0; length < good.length - 512; length += 128) {
      const opening = index(good.subarray(0, length))
      if (edges.has(length)) await (await opening)[Symbol.asyncDispose]()
      else {
        await expect(opening, `${String(length)} bytes`).rejects.toMatchObject({
          code: 'ERR_BAD_TAR',
          message: expect.stringMatching(/at byte \d+/) as string,
        })
      }
    }
  })

  it.each([
    ['no tar', Buffer.from('x'.repeat(2000)), 'ERR_BAD_TAR'],
    ['a wrong checksum', Buffer.concat([header.fill('b', 0, 1), Buffer.alloc(1024)]), 'ERR_BAD_TAR'],
    [
      'a PAX header and no member',
      Buffer.concat([paxMember([['path', Buffer.from('a')]]), Buffer.alloc(1024)]),
      'ERR_BAD_TAR',
    ],
    ['a wrong PAX record', rawTar([member({ name: 'a', pax: {} }), paxRaw('7 path=x\n')]), 'ERR_BAD_TAR'],
    [
      'a huge PAX header',
      rawTar([rawHeader({ name: Buffer.from('x'), size: 2 ** 30, flag: 'x' })]),
      'ERR_LIMIT_EXCEEDED',
    ],
    [
      'a body beyond the end of the file',
      rawTar([rawHeader({ name: Buffer.from('x'), size: 2 ** 30, flag: '0' })]),
      'ERR_BAD_TAR',
    ],
    ['a negative size', rawTar([negativeSize()]), 'ERR_BAD_TAR'],
    ['an unknown type', rawTar([rawHeader({ name: Buffer.from('x'), size: 0, flag: 'Z' })]), 'ERR_BAD_TAR'],
  ])('is %s', async (_what, bytes, code) => {
    await expect(index(bytes)).rejects.toMatchObject({ code })
  })

  it('may have no more entries than the limit', async () => {
    await expect(index(good, { maxEntries: 1 })).rejects.toMatchObject({ code: 'ERR_LIMIT_EXCEEDED' })
    await (await index(good, { maxEntries: 2 }))[Symbol.asyncDispose]()
  })

  it('says which member ends early when the file has become shorter', async () => {
    await using archive = await index(good)
    const part = await archive.find('a')
    truncateSync(join(dir, 'a.tar'), 600)
    await expect(collect(part!.read())).rejects.toMatchObject({
      code: 'ERR_SIZE_MISMATCH',
      message: expect.stringContaining('the archive: a') as string,
    })
  })
})

it('stops reading a body when its signal says so', async () => {
  await using archive = await index(rawTar([{ name: 'a', body: Buffer.alloc(5_000_000) }]))
  const part = await archive.find('a')
  const controller = new AbortController()
  const reading = (async () => {
    for await (const _ of part!.read(controller.signal)) controller.abort(new Error('enough'))
  })()
  await expect(reading).rejects.toThrow('enough')
})

function paxRaw(body: string): Buffer {
  const bytes = Buffer.from(body)
  const head = rawHeader({ name: Buffer.from('x'), size: bytes.length, flag: 'x' })
  return Buffer.concat([head, bytes, Buffer.alloc(512 - bytes.length), member({ name: 'a' })])
}

/** GNU's base-256 with all bits set: -1. */
function negativeSize(): Buffer {
  const block = rawHeader({ name: Buffer.from('x'), size: 0, flag: '0' })
  block.fill(0xff, 124, 136)
  return checksummed(block)
}
