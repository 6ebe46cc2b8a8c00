/** Layers whose ids are mapped: what the container has, what is on disk, and that nothing below is touched. */
import { execFileSync } from 'node:child_process'
import { chownSync, existsSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { IDMap } from '../../lib/driver/id-map.ts'
import { openOverlay2, type Overlay2Driver } from '../../lib/driver/overlay2/driver.ts'
import { mountOverlay } from '../../lib/driver/overlay2/mount.ts'
import { expectIDMap, inverse, openUserNamespace } from '../../lib/driver/id-map.ts'
import { takesMappedFds } from '../../lib/native/rung.ts'
import { missing } from '../helpers/gates.ts'
import { collect, streamOf } from '../../lib/driver-suite/streams.ts'
import { type LoopFileSystem, loopFileSystem } from '../helpers/loopfs.ts'
import { insideMapped, MAP, owner, OWNED_TAR, RANGES } from '../helpers/mapped.ts'
import { watchLeaks } from '../helpers/mounts.ts'
import { rawTar } from '../helpers/rawtar.ts'
import { readAll } from '../helpers/tar.ts'

describe.skipIf(missing('hasBinding', 'canMount', 'canLoop', 'canUserNamespace'))('an id map', () => {
  let fs: LoopFileSystem
  let driver: Overlay2Driver
  watchLeaks(() => [fs.dir])
  beforeEach(async () => {
    fs = loopFileSystem('ext4')
    driver = openOverlay2(join(fs.dir, 'overlay2'), { durability: 'none' })
    for (const [id, parent] of [['base', undefined] as const, ['mid', 'base'] as const]) {
      await using staged = await driver.stage()
      await staged.apply(
        streamOf(id === 'base' ? OWNED_TAR : rawTar([{ name: 'etc/' }, { name: 'etc/motd', body: 'hi' }])),
      )
      await staged.commit(id, parent)
    }
  })
  afterEach(async () => {
    await driver.cleanup()
    fs.dispose()
  })

  /** Everything below the layers, as find sees it. */
  const layers = (): string =>
    ['base', 'mid']
      .map((id) =>
        execFileSync('find', [join(driver.home, id, 'diff'), '-printf', '%p %U:%G %m %s %T@ %C@\n']),
      )
      .join('')

  it('shows the files of the layers below with the ids from outside, and those inside their own', async () => {
    const before = layers()
    await driver.createReadWrite('top', 'mid', { idMap: MAP })
    const merged = await driver.get('top')
    expect(['.', 'bin/sh', 'home', 'home/file', 'etc/motd'].map((name) => owner(join(merged, name)))).toEqual(
      ['100000:100000', '100000:100000', '101000:101000', '101000:101001', '100000:100000'],
    )
    expect(await insideMapped(merged, 'stat -c %u:%g . bin/sh home/file')).toBe('0:0\n0:0\n1000:1001\n')
    await driver.put('top')
    expect(layers()).toBe(before)
  })

  it('lets the root inside write everywhere, and stores what it writes with the ids from outside', async () => {
    await driver.createReadWrite('top', 'mid', { idMap: MAP })
    const merged = await driver.get('top')
    await insideMapped(merged, 'echo new >new && echo more >>home/file && rm gone && mkdir d && chown 5:6 d')
    await driver.put('top')
    const diff = (name: string): string => join(driver.home, 'top/diff', name)
    expect([owner(diff('new')), owner(diff('home/file')), owner(diff('d'))]).toEqual([
      '100000:100000',
      '101000:101001',
      '100005:100006',
    ])
    expect(readFileSync(diff('home/file'), 'utf8')).toBe('minemore\n')
  })

  it('is undone in the diff: the layer is that of the same changes without a map', async () => {
    const change =
      'echo new >new; echo more >>home/file; rm gone; mkdir d; chown 5:6 d; chmod 4755 bin/sh; ln new link'
    await driver.createReadWrite('mapped', 'mid', { idMap: MAP })
    await driver.createReadWrite('plain', 'mid')
    await insideMapped(await driver.get('mapped'), change)
    execFileSync('sh', ['-c', change], { cwd: await driver.get('plain') })
    for (const id of ['mapped', 'plain']) {
      await driver.put(id)
      // Whiteouts have times as well, which no one can set in the merged view.
      execFileSync('find', [
        join(driver.home, id, 'diff'),
        '-exec',
        'touch',
        '-h',
        '-d',
        '@1700000000',
        '{}',
        '+',
      ])
    }
    const tars = await Promise.all(['mapped', 'plain'].map((id) => collect(driver.diff(id, 'mid'))))
    expect((await readAll(tars[0] ?? Buffer.alloc(0))).map(({ header }) => header.name.toString())).toContain(
      '.wh.gone',
    )
    expect(tars[0]?.equals(tars[1] ?? Buffer.alloc(0))).toBe(true)
    const changes = async (id: string): Promise<string[]> => {
      const lines: string[] = []
      for await (const { kind, path } of driver.changes(id, 'mid')) lines.push(`${kind} ${path.toString()}`)
      return lines
    }
    expect(await changes('mapped')).toEqual(await changes('plain'))
    expect(await driver.diffSize('mapped', 'mid')).toBe(await driver.diffSize('plain', 'mid'))
  })

  it('is undone in what is opened to be read unmapped, while it is mounted too', async () => {
    await driver.createReadWrite('top', 'mid', { idMap: MAP })
    await insideMapped(await driver.get('top'), 'echo new >new')
    await using view = await driver.open('top', { readOnly: true, unmapped: true })
    const at = (name: string): string => owner(`/proc/self/fd/${String(view.fd.fd)}/${name}`)
    expect([at('new'), at('home/file'), at('.')]).toEqual(['0:0', '1000:1001', '0:0'])
    await expect(driver.open('top', { unmapped: true })).rejects.toMatchObject({
      code: 'ERR_INVALID_ARGUMENT',
    })
    await driver.put('top')
  })

  it('holds for a read-only mount, by another process as well', async () => {
    await driver.createReadWrite('top', 'mid', { idMap: MAP })
    const other = openOverlay2(driver.home, { durability: 'none' })
    await using view = await other.open('top', { readOnly: true })
    expect(owner(`/proc/self/fd/${String(view.fd.fd)}/home/file`)).toBe('101000:101001')
  })

  it.for(['fds', 'mount2'] as const)('is mounted by %s', async (via, { skip }) => {
    await driver.createReadWrite('top', 'mid', { idMap: MAP })
    using userns = await openUserNamespace(MAP)
    const takesFds = await takesMappedFds(driver.home, ['l', 'trash'], userns.fd)
    skip(via === 'fds' && !takesFds, 'before Linux 6.15 overlayfs takes no clones by descriptor')
    const lowers = ['mid/diff', 'base/diff']
    const request = { home: driver.home, lowers, upper: 'top/diff', work: 'top/work', via }
    const { fd, rung } = await mountOverlay({ ...request, idMap: { usernsFd: userns.fd } })
    expect(rung).toBe(via)
    const root = `/proc/self/fd/${String(fd.fd)}`
    expect(owner(join(root, 'home/file'))).toBe('101000:101001')
    writeFileSync(join(root, 'home/file'), 'rewritten')
    await fd.closeAsync()
    expect(owner(join(driver.home, 'top/diff/home/file'))).toBe('101000:101001')
    expect(existsSync(join(driver.home, 'trash/0'))).toBe(false)
  })

  it('takes no layer from outside the home, whose ids would not be mapped', async ({ skip }) => {
    using userns = await openUserNamespace(MAP)
    const takesFds = await takesMappedFds(driver.home, ['l', 'trash'], userns.fd)
    skip(!takesFds, 'before Linux 6.15 each layer is a clone of its own')
    symlinkSync(join(fs.dir, 'lost+found'), join(driver.home, 'l/OUT'))
    for (const outside of ['l/OUT', join(fs.dir, 'lost+found')]) {
      const request = { home: driver.home, lowers: ['mid/diff', outside] }
      await expect(mountOverlay({ ...request, idMap: { usernsFd: userns.fd } })).rejects.toMatchObject({
        code: 'ENOENT',
        syscall: 'openat2',
      })
    }
  })

  it('goes over 100 layers', async () => {
    let parent = 'mid'
    for (let i = 0; i < 98; i++) {
      const id = `layer-${String(i)}`
      await driver.create(id, parent)
      writeFileSync(join(driver.home, id, 'diff/last'), id)
      parent = id
    }
    await driver.createReadWrite('top', parent, { idMap: MAP })
    const merged = await driver.get('top')
    expect([readFileSync(join(merged, 'last'), 'utf8'), owner(join(merged, 'last'))]).toEqual([
      'layer-97',
      '100000:100000',
    ])
    await driver.put('top')
  })

  it('of several ranges leaves the ids between to nobody', async () => {
    const uid = [
      { container: 0, host: 100_000, size: 1000 },
      { container: 2000, host: 300_000, size: 10 },
    ]
    chownSync(join(driver.home, 'base/diff/bin/sh'), 2003, 0)
    await driver.createReadWrite('top', 'mid', { idMap: { uid, gid: RANGES } })
    const merged = await driver.get('top')
    expect(owner(join(merged, 'bin/sh'))).toBe('300003:100000')
    expect(owner(join(merged, 'home/file'))).toBe('65534:101001')
    await driver.put('top')
    expect(readFileSync(join(driver.home, 'top/idmap'), 'utf8')).toBe(
      'uid 0 100000 1000\nuid 2000 300000 10\ngid 0 100000 65536\n',
    )
    expect(statSync(join(driver.home, 'top/idmap')).mode & 0o777).toBe(0o600)
  })

  it('that is damaged is told, and never taken for none', async () => {
    await driver.createReadWrite('top', 'mid', { idMap: MAP })
    writeFileSync(join(driver.home, 'top/idmap'), 'uid 0 100000\n')
    await expect(driver.get('top')).rejects.toMatchObject({ code: 'ERR_DAMAGED' })
    await expect(collect(driver.diff('top', 'mid'))).rejects.toMatchObject({ code: 'ERR_DAMAGED' })
    rmSync(join(driver.home, 'top/idmap'))
  })

  it('allows no layer on top', async () => {
    await driver.createReadWrite('top', 'mid', { idMap: MAP })
    await expect(driver.create('over', 'top')).rejects.toMatchObject({ code: 'ERR_INVALID_ARGUMENT' })
    expect(existsSync(join(driver.home, 'top/committed'))).toBe(false)
  })
})

describe('an id map', () => {
  const refused = (uid: IDMap['uid'], gid = RANGES) => {
    expect(() => expectIDMap({ uid, gid })).toThrow(
      expect.objectContaining({ code: 'ERR_INVALID_ARGUMENT' }) as Error,
    )
  }

  it('has ranges that are whole, apart and include 0', () => {
    expectIDMap(MAP)
    refused([])
    refused([{ container: 1, host: 100_000, size: 10 }])
    refused([{ container: 0, host: -1, size: 10 }])
    refused([{ container: 0, host: 100_000, size: 0 }])
    refused([{ container: 0, host: 2 ** 32 - 5, size: 10 }])
    refused([...RANGES, { container: 65_535, host: 500_000, size: 1 }])
    refused([...RANGES, { container: 70_000, host: 100_001, size: 1 }])
  })

  it('turned round twice is itself', () => {
    expect(inverse(inverse(MAP))).toEqual(MAP)
  })
})
