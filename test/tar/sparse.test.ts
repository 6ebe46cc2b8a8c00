import { describe, expect, it } from 'vitest'
import { checksummed, padded, paxMember, rawHeader, rawTar } from '../helpers/rawtar.ts'
import { expand, readAll, Recorder } from '../helpers/tar.ts'

/** An old GNU sparse member: runs in the header and in as many extension blocks as they need. */
function oldGnu(runs: readonly [number, number][], realSize: number, data: Buffer): Buffer {
  const head = rawHeader({ name: Buffer.from('s'), size: data.length, flag: 'S' })
  head.write('ustar  \0', 257, 'latin1')
  putRuns(head, 386, runs.slice(0, 4))
  head.write(`${realSize.toString(8).padStart(11, '0')}\0`, 483)
  head[482] = runs.length > 4 ? 1 : 0
  const blocks = [checksummed(head)]
  for (let at = 4; at < runs.length; at += 21) {
    const block = Buffer.alloc(512)
    putRuns(block, 0, runs.slice(at, at + 21))
    block[504] = runs.length > at + 21 ? 1 : 0
    blocks.push(block)
  }
  return Buffer.concat([...blocks, padded(data)])
}

function putRuns(block: Buffer, at: number, runs: readonly [number, number][]): void {
  for (const [i, [offset, length]] of runs.entries()) {
    block.write(
      `${offset.toString(8).padStart(11, '0')}\0${length.toString(8).padStart(11, '0')}\0`,
      at + 24 * i,
      'latin1',
    )
  }
}

/** A PAX 1.0 sparse member whose map is `map`. */
function pax10(map: string, data: string, realSize = '100'): Buffer {
  const body = Buffer.concat([padded(Buffer.from(map)), Buffer.from(data)])
  const records = {
    'GNU.sparse.major': '1',
    'GNU.sparse.minor': '0',
    'GNU.sparse.name': 'real/name',
    'GNU.sparse.realsize': realSize,
  }
  const pax = paxMember(Object.entries(records).map(([key, value]) => [key, Buffer.from(value)] as const))
  return Buffer.concat([
    pax,
    rawHeader({ name: Buffer.from('GNUSparseFile.0/x'), size: body.length, flag: '0' }),
    padded(body),
  ])
}

function pax01(records: Record<string, string>, data = ''): Buffer {
  const pax = paxMember(
    Object.entries(records).map(([key, value]) => [`GNU.sparse.${key}`, Buffer.from(value)] as const),
  )
  return Buffer.concat([
    pax,
    rawHeader({ name: Buffer.from('x'), size: data.length, flag: '0' }),
    padded(Buffer.from(data)),
  ])
}

describe('sparse members', () => {
  it('in old GNU form have their runs where they belong, also past the extension blocks', async () => {
    const runs = Array.from({ length: 50 }, (_, i): [number, number] => [i * 10, 2])
    const data = Buffer.from('ab'.repeat(50))
    const [read] = await readAll(rawTar([oldGnu(runs, 600, data)]))
    const expected = Buffer.alloc(600)
    for (const [offset] of runs) expected.write('ab', offset)
    expect(read && expand(read)).toEqual(expected)
    expect(read?.header).toMatchObject({ type: 'file', size: 100 })
  })

  it('in PAX 1.0 form have their own name, and a body without the map', async () => {
    const [read] = await readAll(rawTar([pax10('2\n10\n3\n90\n4\n', 'abcdefg')]))
    expect(read?.header).toMatchObject({ name: Buffer.from('real/name'), size: 7, sparse: { realSize: 100 } })
    expect(read && expand(read).subarray(10, 13).toString()).toBe('abc')
    expect(read && expand(read).subarray(90, 94).toString()).toBe('defg')
  })

  it('may be one hole', async () => {
    const [a, b] = await readAll(rawTar([pax10('0\n', ''), oldGnu([[100, 0]], 100, Buffer.alloc(0))]))
    expect(a?.header.sparse).toEqual({ runs: [], realSize: 100 })
    expect(b?.header.sparse).toEqual({ runs: [], realSize: 100 })
  })

  it('are told to an observer as segments: their file has other bytes than the archive', async () => {
    const archive = rawTar([pax10('1\n10\n3\n', 'abc'), oldGnu([[5, 3]], 100, Buffer.from('xyz'))])
    const recorder = new Recorder()
    await readAll(archive, { observer: recorder })
    expect(recorder.bytes).toEqual(archive)
    expect(recorder.log.filter((line) => !line.startsWith('segment'))).toEqual([
      'entry real/name 0',
      'entry s 0',
    ])
  })

  it('of an unknown version are read as the files they say they are', async () => {
    const [read] = await readAll(rawTar([pax01({ major: '2', minor: '0' }, 'plain')]))
    expect(read?.body.toString()).toBe('plain')
    expect(read?.header.sparse).toBeUndefined()
  })

  it.each([
    [
      'runs out of order',
      oldGnu(
        [
          [10, 2],
          [5, 2],
        ],
        100,
        Buffer.alloc(4),
      ),
      /overlap or lie outside/,
    ],
    [
      'runs that overlap',
      oldGnu(
        [
          [0, 3],
          [2, 2],
        ],
        100,
        Buffer.alloc(5),
      ),
      /overlap or lie outside/,
    ],
    ['a run past the end', oldGnu([[99, 2]], 100, Buffer.alloc(2)), /overlap or lie outside/],
    ['less data than runs', oldGnu([[0, 9]], 100, Buffer.alloc(8)), /9 bytes of data, the member 8/],
    ['more data than runs', oldGnu([[0, 9]], 100, Buffer.alloc(10)), /9 bytes of data, the member 10/],
    [
      'extension blocks cut off',
      oldGnu(
        [
          [0, 1],
          [2, 1],
          [4, 1],
          [6, 1],
          [8, 1],
        ],
        100,
        Buffer.alloc(5),
      ).subarray(0, 512),
      /./,
    ],
    ['a map that is no number', pax10('1\nx\n3\n', 'abc'), /not a number/],
    ['a map of too many lines', pax10('99999999999999999\n', ''), /not a number/],
    ['a map without an end', pax10(`9\n${'1'.repeat(100)}`, ''), /sparse map has no end/],
    ['a count of runs it does not have', pax10('200000\n', ''), /sparse map has no end/],
    ['a real size that is no number', pax10('0\n', '', '-5'), /not a number/],
    ['a list of an odd length', pax01({ map: '1,2,3', numblocks: '1', size: '9' }), /wrong number of runs/],
    ['a list with something else', pax01({ map: '1,b', numblocks: '1', size: '9' }), /not a number/],
  ])('with %s are refused', async (_case, bytes, message) => {
    const reading = readAll(rawTar([bytes]))
    await expect(reading).rejects.toThrow(message)
    await expect(reading).rejects.toMatchObject({ code: 'ERR_BAD_TAR' })
  })

  it('keep the limit on extensions', async () => {
    const lines = Array.from({ length: 2000 }, (_, i) => `${String(i * 10)}\n1\n`).join('')
    const archive = rawTar([pax10(`2000\n${lines}`, 'x'.repeat(2000), '99999')])
    const [read] = await readAll(archive)
    expect(read?.header.sparse?.runs).toHaveLength(2000)
    await expect(readAll(archive, { limits: { maxExtensionBytes: 4096 } })).rejects.toMatchObject({
      code: 'ERR_LIMIT_EXCEEDED',
    })
  })

  it('with a map of many blocks are read in one pass over it', async () => {
    const lines = Array.from({ length: 60_000 }, (_, i) => `${String(i * 10)}\n1\n`).join('')
    const archive = rawTar([pax10(`60000\n${lines}`, 'x'.repeat(60_000), '999999')])
    const [read] = await readAll(archive, { chunkSize: 1 << 20 })
    expect(read?.header.sparse?.runs).toHaveLength(60_000)
  })
})
