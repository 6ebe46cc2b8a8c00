/** moby's graphtest, ported: daemon/graphdriver/graphtest/graphtest_unix.go. */
import {
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { collect, streamOf } from '../helpers/image.ts'
import { dumpTree, fileAt, tree } from '../helpers/tree.ts'
import { type DriverSuite, expectBase, ID, listed, manyFiles } from './driver-case.ts'

export function graphtestCases(suite: DriverSuite): void {
  const depth = suite.supports.maxDepth
  describe('graphtest', () => {
    it('creates an empty layer: there, 0755, root, nothing in it', async () => {
      await suite.driver.create(ID('a'), undefined)
      expect(await suite.driver.exists(ID('a'))).toBe(true)
      await suite.inside(ID('a'), (root) => {
        const stat = statSync(root)
        expect([stat.isDirectory(), stat.mode & 0o7777, stat.uid, stat.gid]).toEqual([true, 0o755, 0, 0])
        expect(readdirSync(root)).toEqual([])
      })
    })

    it('keeps what was written in a base', async () => {
      await suite.createBase(ID('a'))
      await suite.inside(ID('a'), expectBase)
    })

    it('shows the base in a layer above it, unchanged', async () => {
      await suite.createBase(ID('a'))
      await suite.driver.create(ID('b'), ID('a'))
      await suite.inside(ID('b'), expectBase)
    })

    it(`reads through a chain of ${depth.toString()} layers`, async () => {
      let parent: string | undefined
      for (let at = 0; at < depth; at++) {
        const id = `layer-${at.toString()}`
        await suite.driver.create(id, parent)
        await suite.inside(id, (root) => {
          writeFileSync(join(root, `file-${at.toString()}`), at.toString())
          writeFileSync(join(root, 'changed'), at.toString())
        })
        parent = id
      }
      await suite.inside(parent ?? '', (root) => {
        expect(readdirSync(root)).toHaveLength(depth + 1)
        expect(readFileSync(join(root, 'changed'), 'utf8')).toBe((depth - 1).toString())
        expect(readFileSync(join(root, 'file-0'), 'utf8')).toBe('0')
        expect(readFileSync(join(root, `file-${(depth - 1).toString()}`), 'utf8')).toBe(
          (depth - 1).toString(),
        )
      })
    })

    it('applies its own diff: same size, same content, the removed file gone', async () => {
      await suite.driver.create(ID('a'), undefined)
      await suite.inside(ID('a'), (root) => tree(root, manyFiles(10, 3)))
      await suite.driver.create(ID('b'), ID('a'))
      const changed = await suite.inside(ID('b'), async (root) => {
        rmSync(join(root, 'file-3'))
        writeFileSync(join(root, 'file-4'), 'other content')
        await tree(root, [fileAt('extra', 'new', { mtime: 77 })])
        return await dumpTree(root, { nanoseconds: false, root: false })
      })
      const tar = await collect(suite.driver.diff(ID('b'), ID('a')))
      await suite.driver.create(ID('c'), ID('a'))
      const size = await suite.driver.applyDiff(ID('c'), ID('a'), streamOf(tar))
      expect(size).toBe(await suite.driver.diffSize(ID('b'), ID('a')))
      expect(size).toBe('other content'.length + 'new'.length)
      await suite.inside(ID('c'), async (root) => {
        expect(existsSync(join(root, 'file-3'))).toBe(false)
        expect(await dumpTree(root, { nanoseconds: false, root: false })).toEqual(changed)
      })
    })

    it('lists what was added, changed and deleted', async () => {
      await suite.driver.create(ID('a'), undefined)
      await suite.inside(ID('a'), (root) =>
        tree(root, [...manyFiles(20, 3), fileAt('dir/old', 'x'), fileAt('gone/x', '')]),
      )
      await suite.driver.createReadWrite(ID('b'), ID('a'))
      await suite.inside(ID('b'), (root) => {
        writeFileSync(join(root, 'file-7'), 'changed')
        rmSync(join(root, 'file-8'))
        rmSync(join(root, 'gone'), { recursive: true })
        writeFileSync(join(root, 'dir/new'), 'new')
        mkdirSync(join(root, 'added'))
        symlinkSync('x', join(root, 'added/link'))
      })
      expect(await listed(suite.driver.changes(ID('b'), ID('a')))).toEqual([
        'A /added',
        'A /added/link',
        'C /dir',
        'A /dir/new',
        'C /file-7',
        'D /file-8',
        'D /gone',
      ])
    })
  })
}
