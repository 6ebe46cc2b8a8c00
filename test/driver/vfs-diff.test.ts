/** What a diff of two whole trees tells, and what moby's list of changes leaves out of it. */
import { execFileSync } from 'node:child_process'
import {
  appendFileSync,
  linkSync,
  lutimesSync,
  mkdirSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Driver } from '../../lib/driver/driver.ts'
import { vfsCost } from '../../lib/driver/vfs/cost.ts'
import { openVfs } from '../../lib/driver/vfs/driver.ts'
import { binding } from '../../lib/native/binding.ts'
import { missing } from '../helpers/gates.ts'
import { collect, streamOf, listed } from '../../lib/driver-suite/streams.ts'
import { watchLeaks } from '../helpers/mounts.ts'
import { readAll } from '../helpers/tar.ts'
import { type TempDir, tempDir } from '../helpers/temp-dir.ts'
import { dirAt, dumpTree, fileAt, hardlinkAt, symlinkAt, tree } from '../../lib/driver-suite/tree.ts'

const CAPABILITY = Buffer.from('0100000200040000000000000000000000000000', 'hex')

describe.skipIf(missing('hasBinding', 'canMount', 'canMknod', 'canTrustedXattr'))("vfs's diff", () => {
  let temp: TempDir
  let driver: Driver
  watchLeaks(() => [temp.path])
  beforeEach(async () => {
    temp = tempDir('vfs-diff')
    driver = openVfs(join(temp.path, 'vfs'), { durability: 'none' })
    await driver.createReadWrite('base', undefined)
    await tree(await driver.get('base'), [
      dirAt('d', { mtime: 100 }),
      fileAt('d/f', 'four', { mtime: 100 }),
      fileAt('linked', 'x'),
      hardlinkAt('other name', 'linked'),
      symlinkAt('s', 'd'),
    ])
    await driver.put('base')
  })
  afterEach(() => temp[Symbol.dispose]())

  /** The list of changes and the diff's names of what `work` does, after the diff was unpacked to the same tree. */
  const after = async (
    work: (root: string) => void | Promise<void>,
  ): Promise<{ changes: string[]; names: string[] }> => {
    await driver.createReadWrite('top', 'base')
    const root = await driver.get('top')
    await work(root)
    const dump = (path: string): Promise<string[]> => dumpTree(path, { nanoseconds: false, root: false })
    const shown = await dump(root)
    await driver.put('top')
    const tar = await collect(driver.diff('top', 'base'))
    await driver.create('copy', 'base')
    const size = await driver.applyDiff('copy', 'base', streamOf(tar))
    expect(size).toBe(await driver.diffSize('top', 'base'))
    expect(await dump(await driver.get('copy'))).toEqual(shown)
    await driver.put('copy')
    const changes = await listed(driver.changes('top', 'base'))
    return { changes, names: (await readAll(tar)).map(({ header }) => header.name.toString()) }
  }

  it('finds a file of the same size and second, if a time lost its nanoseconds', async () => {
    const path = (root: string): string => join(root, 'd/f')
    const { changes } = await after((root) => {
      writeFileSync(path(root), 'FOUR')
      execFileSync('touch', ['-d', '@100.5', path(root)])
      utimesSync(join(root, 'd'), 100, 100)
    })
    expect(changes).toEqual(['C /d', 'C /d/f'])
  })

  it('does not list a file of the same size, second and content', async () => {
    const { changes, names } = await after((root) => {
      execFileSync('touch', ['-d', '@100.5', join(root, 'd/f')])
    })
    expect({ changes, names }).toEqual({ changes: [], names: [] })
  })

  it('lists a capability that was given or taken', async () => {
    const { changes } = await after((root) =>
      binding.lsetxattr(join(root, 'd/f'), 'security.capability', CAPABILITY, 0),
    )
    expect(changes).toEqual(['C /d', 'C /d/f'])
  })

  it('has other attributes and times of folders, which are not listed', async () => {
    const { changes, names } = await after(async (root) => {
      await binding.lsetxattr(join(root, 'd/f'), 'user.note', Buffer.from('x'), 0)
      await binding.lsetxattr(join(root, 's'), 'trusted.note', Buffer.from('x'), 0)
      utimesSync(join(root, 'd'), 5, 5)
    })
    expect(changes).toEqual([])
    expect(names).toEqual(['d/', 'd/f', 's'])
  })

  it('has all names of a changed file, as links', async () => {
    const { changes, names } = await after((root) => appendFileSync(join(root, 'linked'), 'y'))
    expect(changes).toEqual(['C /linked', 'C /other name'])
    expect(names).toEqual(['linked', 'other name'])
  })

  it('has a file with the link to it that is new', async () => {
    const { changes, names } = await after((root) => {
      mkdirSync(join(root, 'new'))
      linkSync(join(root, 'linked'), join(root, 'new/link'))
    })
    expect(changes).toEqual(['A /new', 'A /new/link'])
    expect(names).toEqual(['linked', 'new/', 'new/link', 'other name'])
  })

  it('has the deleted where it was in the order of names', async () => {
    const { changes, names } = await after((root) => {
      rmSync(join(root, 'd'), { recursive: true })
      rmSync(join(root, 's'))
      writeFileSync(join(root, 'a'), '')
      writeFileSync(join(root, 'z'), '')
      lutimesSync(join(root, 'other name'), statSync(join(root, 'linked')).mtime, new Date(5))
    })
    expect(changes).toEqual(['A /a', 'D /d', 'C /linked', 'C /other name', 'D /s', 'A /z'])
    expect(names).toEqual(['a', '.wh.d', 'linked', 'other name', '.wh.s', 'z'])
  })

  it('opens a layer that it has no note of against whatever parent it is told, as moby does', async () => {
    await driver.createReadWrite('top', 'base')
    await driver.createReadWrite('other', undefined)
    rmSync(join(temp.path, 'vfs/parents/top'))
    expect(await driver.parent('top')).toBeUndefined()
    expect(await listed(driver.changes('top', 'base'))).toEqual([])
    expect(await listed(driver.changes('top', 'other'))).toHaveLength(5)
  })

  it('refuses what only an overlay has', async () => {
    await expect(driver.get('base', { volatile: true, redirectDir: true })).rejects.toMatchObject({
      code: 'ERR_INVALID_ARGUMENT',
      message: 'the driver vfs mounts no overlay: it has no option volatile, redirectDir',
    })
  })

  it('replaces a tree in one step, and the old one goes to the trash', async () => {
    await driver.create('child', 'base')
    const staged = await driver.stage()
    await staged.replace('base', undefined)
    expect(await driver.list()).toEqual(expect.arrayContaining(['base', 'child']))
    await driver
      .get('base')
      .then((root) => expect(readFileSync(join(root, '../..', 'parents/base'), 'utf8')).toBe(''))
    await driver.put('base')
    expect(await driver.emptyTrash()).toBeGreaterThan(0)
    const root = await driver.get('child')
    expect(readFileSync(join(root, 'd/f'), 'utf8')).toBe('four')
    await driver.put('child')
  })
})

describe('what vfs costs', () => {
  it('is told in sizes', () => {
    const layers = [80_000_000, 20_000_000, 1000].map((size, at, all) => ({
      size,
      wholeSize: all.slice(0, at + 1).reduce((sum, one) => sum + one, 0),
    }))
    expect(vfsCost(layers)).toBe(
      'vfs stores every layer, and every container twice, with all files that are below it: these 3 layers take about ' +
        '280MB where overlay2 would take 100MB, and a container up to 200MB where overlay2 would take nothing. ' +
        'It is less on file systems that share blocks between files (btrfs, XFS)',
    )
    expect(vfsCost(layers.slice(0, 1))).toContain('this layer takes about 80MB')
    expect(vfsCost([])).toBeUndefined()
  })
})
