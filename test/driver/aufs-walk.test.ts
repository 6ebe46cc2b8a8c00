/** Upper directories with AUFS' marks: how layers get them, and how they are read beside those of the program. */
import { execFileSync } from 'node:child_process'
import { mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { Driver } from '../../lib/driver/driver.ts'
import { openFuseOverlayfs } from '../../lib/driver/fuse-overlayfs/driver.ts'
import { openOverlay2 } from '../../lib/driver/overlay2/driver.ts'
import { serversEnded } from '../helpers/fuse.ts'
import { missing } from '../helpers/gates.ts'
import { collect, streamOf, listed } from '../../lib/driver-suite/streams.ts'
import { type LoopFileSystem, loopFileSystem } from '../helpers/loopfs.ts'
import { watchLeaks } from '../helpers/mounts.ts'
import { rawTar, type TarSpec } from '../helpers/rawtar.ts'
import { readAll } from '../helpers/tar.ts'
import {
  dirAt,
  dumpTree,
  fileAt,
  printable,
  tree,
  type TreeNode,
  whiteoutAt,
} from '../../lib/driver-suite/tree.ts'

/** Names before and after `.wh.` in byte order, and a folder of names. */
const BASE: readonly TarSpec[] = [
  { name: '!first', body: '1' },
  { name: '-x', body: '1' },
  { name: '.bashrc', body: 'rc' },
  { name: '.profile', body: 'rc' },
  { name: '.z', body: 'rc' },
  { name: 'd/' },
  { name: 'd/.hidden', body: 'h' },
  { name: 'd/keep', body: 'k' },
  { name: 'd/sub/' },
  { name: 'd/sub/x', body: 'x' },
  { name: 'e/' },
  { name: 'e/file', body: 'e' },
  { name: 'file', body: 'content' },
]

const at = (time: number) => ({ mtime: time, uid: 7, gid: 8 })

const TOP: readonly TarSpec[] = [
  { name: '.wh.!first', ...at(1) },
  { name: '.wh..bashrc', ...at(2) },
  { name: '.wh.file', ...at(3) },
  { name: 'd/', mode: 0o711, ...at(4) },
  { name: 'd/.wh..hidden', ...at(5) },
  { name: 'd/.wh.sub', ...at(6) },
  { name: 'd/new', body: 'n' },
  { name: 'e/', mode: 0o750, ...at(7) },
  { name: 'e/.wh..wh..opq' },
  { name: 'e/other', body: 'o' },
  { name: '.profile.d/' },
  { name: '.profile.d/.wh.nothing' },
  { name: '.wh..wh.plnk/' },
  { name: '.wh..wh.plnk/1', body: 'aufs' },
]

describe.skipIf(missing('hasBinding', 'canMount', 'canMknod', 'canTrustedXattr', 'canFuse'))(
  'AUFS marks',
  () => {
    let fs: LoopFileSystem
    let count = 0
    let home: string
    let driver: Driver
    beforeAll(() => {
      fs = loopFileSystem('tmpfs')
    })
    afterAll(async () => {
      await serversEnded(fs.dir)
      fs.dispose()
    })
    watchLeaks(() => [fs.dir])
    beforeEach(() => {
      home = join(fs.dir, `root-${String(count++)}`, 'fuse-overlayfs')
      driver = openFuseOverlayfs(home, { durability: 'none' })
    })

    const add = async (
      to: Driver,
      id: string,
      parent: string | undefined,
      layer: readonly TarSpec[],
    ): Promise<void> => {
      await using staged = await to.stage()
      await staged.apply(streamOf(rawTar(layer)))
      await staged.commit(id, parent)
    }

    /** The diff of a layer over BASE whose upper directory is made of `nodes`. */
    const read = async (
      nodes: readonly TreeNode[],
    ): Promise<{ names: string[]; changes: string[]; seen: string[] }> => {
      await add(driver, 'base', undefined, BASE)
      await driver.create('top', 'base')
      await tree(join(home, 'top/diff'), nodes)
      const tar = await collect(driver.diff('top', 'base'))
      const names = (await readAll(tar)).map(({ header }) => printable(header.name))
      await using view = await driver.open('top', { readOnly: true })
      const seen = readdirSync(`/proc/self/fd/${String(view.fd.fd)}/.`, {
        recursive: true,
        encoding: 'utf8',
      }).sort()
      return { names, changes: await listed(driver.changes('top', 'base')), seen }
    }

    it('are what a layer has on disk, with the times and owners of the archive', async () => {
      await add(driver, 'base', undefined, BASE)
      await add(driver, 'top', 'base', TOP)
      const diff = join(home, 'top/diff')
      const found = execFileSync('find', ['.', '-mindepth', '1', '-printf', '%P %y %U:%G\n'], {
        cwd: diff,
        encoding: 'utf8',
      })
      expect(found.trim().split('\n').sort()).toEqual(
        [
          '.wh..bashrc f 7:8',
          '.wh.!first f 7:8',
          '.wh.file f 7:8',
          'd d 7:8',
          'd/.wh..hidden f 7:8',
          'd/.wh.sub f 7:8',
          'd/new f 0:0',
          'e d 7:8',
          'e/.wh..wh..opq f 7:8',
          'e/other f 0:0',
          '.profile.d d 0:0',
        ].sort(),
      )
      expect(statSync(join(diff, '.wh.file')).mtimeMs).toBe(3000)
      expect([statSync(join(diff, 'd')).mtimeMs, statSync(join(diff, 'e')).mtimeMs]).toEqual([4000, 7000])
    })

    it('say in a diff, to the byte, what those of the kernel say', async () => {
      const kernels = openOverlay2(join(fs.dir, `root-${String(count++)}`, 'overlay2'), {
        durability: 'none',
      })
      const tars: Buffer[] = []
      const lists: string[][] = []
      for (const each of [driver, kernels]) {
        await add(each, 'base', undefined, BASE)
        await add(each, 'top', 'base', TOP)
        tars.push(await collect(each.diff('top', 'base')))
        lists.push([
          ...(await listed(each.changes('top', 'base'))),
          String(await each.diffSize('top', 'base')),
        ])
      }
      expect(lists[0]).toEqual(lists[1])
      expect(tars[0]?.equals(tars[1] ?? Buffer.alloc(0))).toBe(true)
    })

    it('are read whether files, devices or attributes', async () => {
      const { names, changes, seen } = await read([
        fileAt('.wh..bashrc'),
        whiteoutAt('file'),
        dirAt('d', { xattrs: { 'user.fuseoverlayfs.opaque': 'y' } }),
        fileAt('d/one'),
        dirAt('e', { xattrs: { 'trusted.overlay.opaque': 'y' } }),
      ])
      expect(names).toEqual([
        '.wh..bashrc',
        'd/',
        'd/.wh..wh..opq',
        'd/one',
        'e/',
        'e/.wh..wh..opq',
        '.wh.file',
      ])
      expect(changes).toEqual([
        'D /.bashrc',
        'C /d',
        'D /d/.hidden',
        'D /d/keep',
        'A /d/one',
        'D /d/sub',
        'C /e',
        'D /e/file',
        'D /file',
      ])
      expect(seen).toEqual(['!first', '-x', '.profile', '.z', 'd', 'd/one', 'e'])
    })

    it('hide what the same layer has by that name, as the program shows it', async () => {
      const { names, changes, seen } = await read([
        fileAt('.wh.d'),
        fileAt('d/new'),
        fileAt('d/sub/deep'),
        fileAt('dd'),
      ])
      expect(names).toEqual(['.wh.d', 'dd'])
      expect(changes).toEqual(['D /d', 'A /dd'])
      expect(seen).not.toContain('d')
    })

    it('of AUFS itself are nothing', async () => {
      const { names, changes } = await read([
        dirAt('.wh..wh.plnk'),
        fileAt('.wh..wh.plnk/1'),
        fileAt('.wh..wh.orph'),
      ])
      expect([names, changes]).toEqual([[], []])
    })

    it('hide everything when the root is opaque', async () => {
      const { names, changes, seen } = await read([fileAt('.wh..wh..opq'), fileAt('mine')])
      expect(names).toEqual(['.wh..wh..opq', 'mine'])
      expect(changes).toEqual([
        ...['!first', '-x', '.bashrc', '.profile', '.z', 'd', 'e', 'file'].map((name) => `D /${name}`),
        'A /mine',
      ])
      expect(seen).toEqual(['mine'])
    })

    it('of names that are too long for them are devices', async () => {
      const long = 'n'.repeat(252)
      await add(driver, 'base', undefined, [
        { name: long, body: 'x' },
        { name: 'f', body: 'y' },
      ])
      await add(driver, 'top', 'base', [{ name: `.wh.${long}` }, { name: '.wh.f' }])
      expect(readdirSync(join(home, 'top/diff')).sort()).toEqual(['.wh.f', long])
      expect(await listed(driver.changes('top', 'base'))).toEqual(['D /f', `D /${long}`])
      await using view = await driver.open('top', { readOnly: true })
      expect(readdirSync(`/proc/self/fd/${String(view.fd.fd)}/.`)).toEqual([])
    })

    it('that the program writes are told as those of the kernel', async () => {
      await add(driver, 'base', undefined, BASE)
      await driver.createReadWrite('top', 'base')
      const root = await driver.get('top')
      rmSync(join(root, 'file'))
      rmSync(join(root, 'd'), { recursive: true })
      mkdirSync(join(root, 'd'))
      writeFileSync(join(root, 'd/again'), 'new')
      rmSync(join(root, '.bashrc'))
      writeFileSync(join(root, '.bashrc'), 'other')
      writeFileSync(join(root, 'e/file'), 'changed', { flag: 'a' })
      await driver.put('top')
      const lines = [
        'C /.bashrc',
        'C /d',
        'D /d/.hidden',
        'A /d/again',
        'D /d/keep',
        'D /d/sub',
        'C /e',
        'C /e/file',
        'D /file',
      ]
      expect(await listed(driver.changes('top', 'base'))).toEqual(lines)
      const tar = await collect(driver.diff('top', 'base'))
      const entries = await readAll(tar)
      expect(entries.map(({ header }) => printable(header.name))).toEqual([
        '.bashrc',
        'd/',
        'd/.wh..wh..opq',
        'd/again',
        'e/',
        'e/file',
        '.wh.file',
      ])
      // Neither what it notes of its own, nor what it marks.
      expect(entries.flatMap(({ header }) => [...header.xattrs.keys()])).toEqual([])
      await using staged = await driver.stage()
      await staged.apply(streamOf(tar))
      await staged.commit('copy', 'base')
      const dump = async (id: string): Promise<string[]> => {
        await using view = await driver.open(id, { readOnly: true })
        return await dumpTree(`/proc/self/fd/${String(view.fd.fd)}/.`, { nanoseconds: false, root: false })
      }
      expect(await dump('copy')).toEqual(await dump('top'))
      expect(readFileSync(join(home, 'copy/diff/d/.wh..wh..opq'), 'utf8')).toBe('')
    })
  },
)
