/** What a layer says of its parent. */
import { beforeEach, describe, expect, it } from 'vitest'
import { collect } from '../helpers/image.ts'
import { fileAt, hardlinkAt, symlinkAt, tree } from '../helpers/tree.ts'
import { type DriverSuite, ID, listed, manyFiles } from './driver-case.ts'

export function diffingCases(suite: DriverSuite): void {
  describe('diff', () => {
    beforeEach(async () => {
      await suite.createBase(ID('a'))
      await suite.driver.createReadWrite(ID('b'), ID('a'))
    })

    it('is the same bytes each time', async () => {
      await suite.inside(ID('b'), (root) =>
        tree(root, [...manyFiles(300, 5), symlinkAt('s', 'file-1'), hardlinkAt('h', 'file-2')]),
      )
      const [once, twice] = [
        await collect(suite.driver.diff(ID('b'), ID('a'))),
        await collect(suite.driver.diff(ID('b'), ID('a'))),
      ]
      expect(once.equals(twice)).toBe(true)
      expect(once.length).toBeGreaterThan(300 * 512)
    })

    it('is two blocks of nothing for a layer without changes', async () => {
      expect((await collect(suite.driver.diff(ID('b'), ID('a')))).equals(Buffer.alloc(1024))).toBe(true)
      expect(await listed(suite.driver.changes(ID('b'), ID('a')))).toEqual([])
      expect(await suite.driver.diffSize(ID('b'), ID('a'))).toBe(0)
    })

    it('refuses a parent that is not the parent', async () => {
      await suite.driver.create(ID('c'), undefined)
      for (const parent of [ID('c'), undefined]) {
        const refusal = { code: 'ERR_INVALID_ARGUMENT' }
        await expect(collect(suite.driver.diff(ID('b'), parent))).rejects.toMatchObject(refusal)
        await expect(listed(suite.driver.changes(ID('b'), parent))).rejects.toMatchObject(refusal)
        await expect(suite.driver.diffSize(ID('b'), parent)).rejects.toMatchObject(refusal)
      }
    })

    it('works while the layer is mounted, and ends early without leaving anything open', async () => {
      await suite.inside(ID('b'), async (root) => {
        await tree(root, [fileAt('big', Buffer.alloc(3_000_000, 7)), ...manyFiles(50, 2000)])
        for await (const chunk of suite.driver.diff(ID('b'), ID('a'))) {
          expect(chunk.length).toBeGreaterThan(0)
          break
        }
      })
    })

    it('stops when aborted', async () => {
      await suite.inside(ID('b'), (root) => tree(root, manyFiles(200, 1000)))
      const reason = new Error('enough')
      await expect(
        collect(suite.driver.diff(ID('b'), ID('a'), { signal: AbortSignal.abort(reason) })),
      ).rejects.toBe(reason)
    })

    it('counts a file once, however many names it has', async () => {
      await suite.inside(ID('b'), (root) => tree(root, [fileAt('f', 'x'.repeat(1000)), hardlinkAt('g', 'f')]))
      expect(await suite.driver.diffSize(ID('b'), ID('a'))).toBe(suite.supports.hardLinks ? 1000 : 2000)
      expect(await suite.driver.diskUsage(ID('b'))).toBeGreaterThanOrEqual(1000)
    })
  })
}
