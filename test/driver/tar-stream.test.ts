/** An archive as bytes and into a descriptor: the same, from a tree that is quiet and from one that is not. */
import { execFileSync } from 'node:child_process'
import { closeSync, openSync, readFileSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { openOverlay2, type Overlay2Driver } from '../../lib/driver/overlay2/driver.ts'
import type { TarStream } from '../../lib/driver/tar-stream.ts'
import { missing } from '../helpers/gates.ts'
import { collect } from '../../lib/driver-suite/streams.ts'
import { type LoopFileSystem, loopFileSystem } from '../helpers/loopfs.ts'
import { watchLeaks } from '../helpers/mounts.ts'
import { MIB } from '../helpers/sizes.ts'
import { readAll } from '../helpers/tar.ts'
import { dumpTree, fileAt, hardlinkAt, symlinkAt, tree } from '../../lib/driver-suite/tree.ts'

const ID = 'a'.repeat(64)

describe.skipIf(missing('hasBinding', 'canMount', 'canMknod', 'canTrustedXattr'))('a diff', () => {
  let fs: LoopFileSystem
  let driver: Overlay2Driver
  let diffDir: string
  watchLeaks(() => [fs.dir])
  beforeEach(async () => {
    fs = loopFileSystem('ext4')
    driver = openOverlay2(join(fs.dir, 'overlay2'), { durability: 'none' })
    await driver.createReadWrite(ID, undefined)
    diffDir = join(fs.dir, 'overlay2', ID, 'diff')
  })
  afterEach(() => {
    fs.dispose()
  })

  const diff = (signal?: AbortSignal): TarStream => driver.diff(ID, undefined, signal && { signal })
  const written = async (stream: TarStream, path = join(fs.dir, 'out.tar')): Promise<Buffer> => {
    const fd = openSync(path, 'w')
    try {
      const bytes = await stream.writeTo(fd)
      expect(bytes).toBe(statSync(path).size)
    } finally {
      closeSync(fd)
    }
    return readFileSync(path)
  }

  /** Bodies below, at and above each bound, headers with and without PAX. */
  const mixed = (): Promise<unknown> =>
    tree(diffDir, [
      ...[0, 1, 511, 512, 513, 70_000, 256 * 1024, 256 * 1024 + 1, MIB, 3 * MIB + 7].map((size) =>
        fileAt(`files/${String(size)}`, Buffer.alloc(size, size & 0xff)),
      ),
      fileAt(`long/${'n'.repeat(120)}`, 'long name'),
      fileAt(`long/${'d'.repeat(90)}/${'e'.repeat(90)}/f`, 'split name'),
      fileAt('long/é', 'not ASCII'),
      symlinkAt('long/link', 't'.repeat(150)),
      fileAt('marked', 'x', {
        mode: 0o4755,
        uid: 3_000_000,
        gid: 7,
        xattrs: { 'user.a': 'a', 'trusted.b': 'b' },
      }),
      fileAt('two', Buffer.alloc(300_000, 2)),
      hardlinkAt('zwei', 'two'),
      ...Array.from({ length: 3000 }, (_, i) => fileAt(`many/${String(i)}`, String(i))),
    ])

  it('is the same bytes however it is taken, and GNU tar reads the tree from it', async () => {
    await mixed()
    const bytes = await collect(diff())
    expect((await written(diff())).equals(bytes)).toBe(true)
    execFileSync('mkdir', [join(fs.dir, 'again')])
    execFileSync('tar', [
      '-xpf',
      join(fs.dir, 'out.tar'),
      '--xattrs',
      '--xattrs-include=*',
      '--numeric-owner',
      '-C',
      join(fs.dir, 'again'),
    ])
    const options = { nanoseconds: false, root: false }
    expect(await dumpTree(join(fs.dir, 'again'), options)).toEqual(await dumpTree(diffDir, options))
  })

  it('goes to another file system, and leaves the holes of a sparse file', async () => {
    await tree(diffDir, [fileAt('sparse', 'start')])
    truncateSync(join(diffDir, 'sparse'), 200 * MIB)
    using other = loopFileSystem('tmpfs')
    const path = join(other.dir, 'out.tar')
    const bytes = await written(diff(), path)
    expect(bytes.length).toBe(200 * MIB + 512 + 1024)
    expect(statSync(path).blocks * 512).toBeLessThan(2 * MIB)
    expect((await collect(diff())).equals(bytes)).toBe(true)
  })

  it('stays whole when files shrink and grow while it is written', async () => {
    await tree(diffDir, [
      fileAt('a', 'first'),
      ...['b', 'c', 'd'].map((name) => fileAt(name, Buffer.alloc(3 * MIB, 7))),
    ])
    let stop = false
    const changing = (async (): Promise<void> => {
      for (let round = 0; !stop; round++) {
        const path = join(diffDir, ['b', 'c', 'd'][round % 3] ?? '')
        if (round % 2 === 0) truncateSync(path, (round * 99_991) % (4 * MIB))
        else writeFileSync(path, Buffer.alloc((round * 77_777) % (5 * MIB), 7))
        await new Promise((resolve) => setImmediate(resolve))
      }
    })()
    try {
      for (let round = 0; round < 30; round++) {
        const found = await readAll(round % 2 === 0 ? await written(diff()) : await collect(diff()))
        expect(found.map(({ header }) => header.name.toString())).toEqual(['a', 'b', 'c', 'd'])
        for (const { header, body } of found) expect(body.length).toBe(header.size)
      }
    } finally {
      stop = true
      await changing
    }
  })

  it('ends when it is told to, between copies too', async () => {
    await mixed()
    const reason = new Error('enough')
    await expect(written(diff(AbortSignal.abort(reason)))).rejects.toThrow(reason)
    const controller = new AbortController()
    const reading = async (): Promise<void> => {
      for await (const chunk of diff(controller.signal)) {
        expect(chunk.length).toBeGreaterThan(0)
        controller.abort(reason)
      }
    }
    await expect(reading()).rejects.toThrow(reason)
  })

  it('fails with what the descriptor says', async () => {
    await mixed()
    await expect(written(diff(), '/dev/full')).rejects.toMatchObject({ code: 'ENOSPC' })
  })
})
