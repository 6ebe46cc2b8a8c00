/** What the btrfs driver does that no other can: snapshots, subvolumes that go as a whole, limits. */
import { execFileSync, spawnSync } from 'node:child_process'
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { openBtrfs } from '../../lib/driver/btrfs/driver.ts'
import type { Driver } from '../../lib/driver/driver.ts'
import { missing } from '../helpers/gates.ts'
import { collect, streamOf, listed } from '../../lib/driver-suite/streams.ts'
import { type LoopFileSystem, loopFileSystem } from '../helpers/loopfs.ts'
import { watchLeaks } from '../helpers/mounts.ts'
import { rawTar } from '../helpers/rawtar.ts'
import { MIB } from '../helpers/sizes.ts'
import { dumpTree } from '../../lib/driver-suite/tree.ts'
import { ID } from '../../lib/driver-suite/cases.ts'

let fs: LoopFileSystem
let home: string
let driver: Driver

const subvolume = (id: string): string => join(home, 'subvolumes', id)
const quotaFile = (id: string): string => join(home, 'quotas', id)

/** Subvolumes below the home, by btrfs' own tool. */
const subvolumes = (): string[] =>
  execFileSync('btrfs', ['subvolume', 'list', fs.dir], { encoding: 'utf8' })
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => line.slice(line.indexOf(' path root/btrfs/') + ' path root/btrfs/'.length))
    .sort()

/** The number of a subvolume that `path` is a snapshot of, and its own. */
function uuids(path: string): { readonly own: string; readonly parent: string } {
  const text = execFileSync('btrfs', ['subvolume', 'show', path], { encoding: 'utf8' })
  const value = (key: string): string => new RegExp(`^\\s*${key}:\\s*(\\S+)`, 'm').exec(text)?.[1] ?? ''
  return { own: value('UUID'), parent: value('Parent UUID') }
}

async function commit(id: string, parent: string | undefined, tar: Buffer): Promise<void> {
  await using staged = await driver.stage()
  await staged.apply(streamOf(tar))
  await staged.commit(id, parent)
}

async function inside<T>(id: string, work: (root: string) => T): Promise<T> {
  const root = await driver.get(id)
  try {
    return work(root)
  } finally {
    await driver.put(id)
  }
}

/** BTRFS_QUOTA_CTL_ENABLE_SIMPLE_QUOTA (6.7), which old tools have no option for. Why it cannot be, if so. */
function enableSimpleQuotas(): string | undefined {
  const program = `
import fcntl, os, struct, sys
fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0xC0109428, struct.pack('QQ', 4, 0))`
  const { status, stderr } = spawnSync('python3', ['-c', program, fs.dir], { encoding: 'utf8' })
  return status === 0 ? undefined : stderr
}

/** A file of so many bytes that no file system makes smaller. */
function fill(path: string, bytes: number): void {
  execFileSync('dd', ['if=/dev/urandom', `of=${path}`, 'bs=1M', `count=${String(bytes / MIB)}`], {
    stdio: 'pipe',
  })
}

const BASE = rawTar([
  { name: 'etc/', mode: 0o755 },
  { name: 'etc/motd', body: 'welcome' },
  { name: 'bin/', mode: 0o755 },
  { name: 'bin/sh', body: 'shell', mode: 0o4755 },
])

describe.skipIf(missing('hasBinding', 'canMount', 'canLoop', 'hasBtrfs'))('the btrfs driver', () => {
  watchLeaks(() => [fs.dir])
  beforeEach(() => {
    fs = loopFileSystem('btrfs', 1024 * MIB)
    home = join(fs.dir, 'root/btrfs')
    driver = openBtrfs(home, { durability: 'none' })
  })
  afterEach(async () => {
    await driver.cleanup()
    fs.dispose()
  })

  it("lays its home out as moby's", async () => {
    await commit(ID('a'), undefined, BASE)
    const mode = (path: string): string => (statSync(path).mode & 0o7777).toString(8)
    expect([mode(home), mode(join(home, 'subvolumes')), mode(subvolume(ID('a')))]).toEqual([
      '710',
      '710',
      '755',
    ])
    expect(statSync(subvolume(ID('a'))).ino).toBe(256)
  })

  it('makes a layer a snapshot of its parent, and a base a subvolume that was unpacked once', async () => {
    await commit(ID('a'), undefined, BASE)
    await commit(
      ID('b'),
      ID('a'),
      rawTar([
        { name: 'etc/motd', body: 'other' },
        { name: '.wh.bin', body: '' },
      ]),
    )
    await driver.createReadWrite(ID('c'), ID('b'))
    const [a, b, c] = [ID('a'), ID('b'), ID('c')].map((id) => uuids(subvolume(id)))
    expect([a?.parent, b?.parent, c?.parent]).toEqual(['-', a?.own, b?.own])
    expect(subvolumes()).toEqual([ID('a'), ID('b'), ID('c')].map((id) => `subvolumes/${id}`))
    const lines = await dumpTree(subvolume(ID('c')), { mtime: false, root: false })
    expect(lines.map((line) => line.split(' ')[0])).toEqual(['etc', 'etc/motd'])
    expect(readFileSync(join(subvolume(ID('c')), 'etc/motd'), 'utf8')).toBe('other')
    expect(readFileSync(join(subvolume(ID('a')), 'bin/sh'), 'utf8')).toBe('shell')
  })

  it('leaves nothing of the whiteouts of a base, which hide nothing', async () => {
    await commit(
      ID('a'),
      undefined,
      rawTar([
        { name: 'dir/', mode: 0o755 },
        { name: 'dir/.wh.x', body: '' },
        { name: '.wh.y', body: '' },
      ]),
    )
    expect(readdirSync(subvolume(ID('a')), { recursive: true })).toEqual(['dir'])
  })

  it('shares the blocks of what a layer puts over its parent', async () => {
    await commit(ID('a'), undefined, BASE)
    const body = execFileSync('head', ['-c', String(8 * MIB), '/dev/urandom'], { maxBuffer: 16 * MIB })
    await commit(ID('b'), ID('a'), rawTar([{ name: 'etc/motd', body }]))
    expect(readFileSync(join(subvolume(ID('b')), 'etc/motd')).equals(body)).toBe(true)
    await driver.createReadWrite(ID('c'), ID('b'))
    execFileSync('sync', ['-f', home])
    const usage = execFileSync('btrfs', ['filesystem', 'du', '--raw', '-s', subvolume(ID('c'))], {
      encoding: 'utf8',
    })
    const [, exclusive] = usage.split('\n')[1]?.trim().split(/\s+/) ?? []
    expect(Number(exclusive)).toBe(0)
  })

  it('replaces a layer, and what stands on it keeps what it had', async () => {
    await commit(ID('a'), undefined, BASE)
    await driver.createReadWrite(ID('b'), ID('a'))
    await using staged = await driver.stage()
    await staged.apply(streamOf(rawTar([{ name: 'new', body: 'new' }])))
    await staged.replace(ID('a'), undefined)
    expect(readdirSync(subvolume(ID('a')))).toEqual(['new'])
    expect(readdirSync(subvolume(ID('b')))).toEqual(['bin', 'etc'])
    await driver.emptyTrash()
    expect(subvolumes()).toEqual([`subvolumes/${ID('a')}`, `subvolumes/${ID('b')}`])
  })

  it('removes a container with the subvolumes that were made in it', async () => {
    await commit(ID('a'), undefined, BASE)
    await driver.createReadWrite(ID('b'), ID('a'))
    await inside(ID('b'), (root) => {
      execFileSync('btrfs', ['subvolume', 'create', join(root, 'etc/sub')], { stdio: 'pipe' })
      execFileSync('btrfs', ['subvolume', 'create', join(root, 'etc/sub/inner')], { stdio: 'pipe' })
      execFileSync('btrfs', ['subvolume', 'snapshot', '-r', join(root, 'etc/sub'), join(root, 'kept')], {
        stdio: 'pipe',
      })
    })
    await driver.remove(ID('b'))
    expect(await driver.exists(ID('b'))).toBe(false)
    driver.emptyTrashSoon()
    await driver.idle()
    expect(subvolumes()).toEqual([`subvolumes/${ID('a')}`])
    expect(readdirSync(join(home, 'trash'))).toEqual([])
  })

  it('packs what is in the subvolumes of a container as files, links within each alone', async () => {
    await commit(ID('a'), undefined, BASE)
    await driver.createReadWrite(ID('b'), ID('a'))
    await inside(ID('b'), (root) => {
      for (const name of ['one', 'two']) {
        execFileSync('btrfs', ['subvolume', 'create', join(root, name)], { stdio: 'pipe' })
        writeFileSync(join(root, name, 'file'), name)
        execFileSync('ln', [join(root, name, 'file'), join(root, name, 'link')])
      }
      // The same inode numbers in both.
      expect(statSync(join(root, 'one/file')).ino).toBe(statSync(join(root, 'two/file')).ino)
    })
    expect(await listed(driver.changes(ID('b'), ID('a')))).toEqual([
      'A /one',
      'A /one/file',
      'A /one/link',
      'A /two',
      'A /two/file',
      'A /two/link',
    ])
    expect(await driver.diffSize(ID('b'), ID('a'))).toBe('one'.length + 'two'.length)
    await commit(ID('c'), ID('a'), await collect(driver.diff(ID('b'), ID('a'))))
    const read = (name: string): string => readFileSync(join(subvolume(ID('c')), name), 'utf8')
    expect([read('one/file'), read('one/link'), read('two/file'), read('two/link')]).toEqual([
      'one',
      'one',
      'two',
      'two',
    ])
    const inode = (name: string): number => statSync(join(subvolume(ID('c')), name)).ino
    expect(inode('one/file')).toBe(inode('one/link'))
    expect(inode('one/file')).not.toBe(inode('two/file'))
  })

  it('finds folders that a copy of the data root made of subvolumes', async () => {
    await commit(ID('a'), undefined, BASE)
    const copy = openBtrfs(join(fs.dir, 'copy/btrfs'), { durability: 'none' })
    cpSync(home, copy.home, { recursive: true })
    const known = new Map([[ID('a'), undefined]])
    expect(await driver.check(known)).toEqual([])
    expect(await copy.check(known)).toMatchObject([{ kind: 'no-subvolume', severity: 'damage' }])
    await expect(copy.create(ID('b'), ID('a'))).rejects.toMatchObject({
      syscall: 'BTRFS_IOC_SNAP_CREATE_V2',
      code: 'EINVAL',
      hint: expect.stringContaining('no subvolume') as string,
    })
  })
})

describe.skipIf(missing('hasBinding', 'canMount', 'canLoop', 'hasBtrfs'))('a size on btrfs', () => {
  watchLeaks(() => [fs.dir])
  beforeEach(() => {
    fs = loopFileSystem('btrfs', 1024 * MIB)
    home = join(fs.dir, 'root/btrfs')
    driver = openBtrfs(home, { durability: 'none' })
  })
  afterEach(async () => {
    await driver.cleanup()
    fs.dispose()
  })

  /** An image of 80 MiB, so that its content would be more than the limit. */
  async function limited(): Promise<void> {
    await driver.create(ID('a'), undefined)
    await inside(ID('a'), (root) => fill(join(root, 'image'), 80 * MIB))
    await driver.createReadWrite(ID('b'), ID('a'), { size: 64 * MIB })
  }

  it('stops a container at 64 MiB of its own, whatever its image has', async () => {
    await limited()
    expect(readFileSync(quotaFile(ID('b')), 'utf8')).toBe(String(64 * MIB))
    await inside(ID('b'), (root) => {
      fill(join(root, 'fits'), 48 * MIB)
      expect(() => fill(join(root, 'more'), 48 * MIB)).toThrow(/Disk quota exceeded/)
      rmSync(join(root, 'more'))
      expect(statSync(join(root, 'image')).size).toBe(80 * MIB)
      execFileSync('sync', ['-f', root])
    })
    const { used, limit } = (await driver.quota(ID('b'))) ?? { used: 0, limit: 0 }
    expect(limit).toBe(64 * MIB)
    expect(used).toBeGreaterThanOrEqual(48 * MIB)
    expect(used).toBeLessThan(50 * MIB)
    // Others have none.
    expect(await driver.quota(ID('a'))).toBeUndefined()
    await inside(ID('a'), (root) => fill(join(root, 'image'), 100 * MIB))
  })

  it('goes with the container', async () => {
    await limited()
    await driver.remove(ID('b'))
    expect(existsSync(quotaFile(ID('b')))).toBe(false)
    await driver.createReadWrite(ID('b'), ID('a'))
    expect(await driver.quota(ID('b'))).toBeUndefined()
  })

  it('is set again at the next mount after quotas were switched off', async () => {
    await limited()
    execFileSync('btrfs', ['quota', 'disable', fs.dir])
    expect(await driver.quota(ID('b'))).toBeUndefined()
    await inside(ID('b'), (root) => {
      expect(() => fill(join(root, 'more'), 80 * MIB)).toThrow(/Disk quota exceeded/)
    })
    expect(await driver.quota(ID('b'))).toMatchObject({ limit: 64 * MIB })
  })

  it('is counted by simple quotas, where those are on', async ({ skip }) => {
    const refusal = enableSimpleQuotas()
    if (refusal !== undefined) skip(`no simple quotas here: ${refusal}`)
    await limited()
    await inside(ID('b'), (root) => {
      fill(join(root, 'fits'), 48 * MIB)
      expect(() => fill(join(root, 'more'), 48 * MIB)).toThrow(/Disk quota exceeded/)
    })
  })

  it('shows the limit that dockerd set, on all that the container reaches', async () => {
    await driver.create(ID('a'), undefined)
    await inside(ID('a'), (root) => fill(join(root, 'image'), 8 * MIB))
    await driver.createReadWrite(ID('b'), ID('a'))
    execFileSync('btrfs', ['quota', 'enable', fs.dir])
    execFileSync('btrfs', ['quota', 'rescan', '-w', fs.dir], { stdio: 'pipe' })
    execFileSync('btrfs', ['qgroup', 'limit', '32M', subvolume(ID('b'))])
    execFileSync('sync', ['-f', home])
    const { used, limit } = (await driver.quota(ID('b'))) ?? { used: 0, limit: 0 }
    expect(limit).toBe(32 * MIB)
    expect(used).toBeGreaterThanOrEqual(8 * MIB)
  })

  it('that belongs to no layer is found and removed', async () => {
    await limited()
    writeFileSync(quotaFile(ID('c')), '1')
    const known = new Map([
      [ID('a'), undefined],
      [ID('b'), ID('a')],
    ])
    const problems = await driver.check(known)
    expect(problems).toMatchObject([{ kind: 'stray-quota', severity: 'rubbish', path: quotaFile(ID('c')) }])
    for (const { repair } of problems) await repair?.()
    expect(readdirSync(join(home, 'quotas'))).toEqual([ID('b')])
  })
})

describe.skipIf(missing('hasBinding', 'canMount', 'canLoop'))('the btrfs driver elsewhere', () => {
  it.each(['ext4', 'tmpfs'] as const)(
    'refuses %s, says how to get a btrfs, and leaves nothing',
    async (kind) => {
      using other = loopFileSystem(kind)
      const before = readdirSync(other.dir)
      const refused = openBtrfs(join(other.dir, 'root/btrfs'), { durability: 'none' })
      await expect(refused.verify()).rejects.toMatchObject({
        code: 'ERR_UNSUPPORTED_FS',
        message: expect.stringContaining(kind === 'ext4' ? 'is extfs' : 'is tmpfs') as string,
        hint: expect.stringContaining('mkfs.btrfs') as string,
      })
      await expect(refused.create(ID('a'), undefined)).rejects.toMatchObject({ code: 'ERR_UNSUPPORTED_FS' })
      expect(readdirSync(other.dir)).toEqual(before)
    },
  )

  it('leaves nothing where it can work either', async () => {
    using other = loopFileSystem('btrfs')
    mkdirSync(join(other.dir, 'root'))
    await openBtrfs(join(other.dir, 'root/btrfs'), { durability: 'none' }).verify()
    expect(readdirSync(other.dir, { recursive: true })).toEqual(['root'])
  })
})
