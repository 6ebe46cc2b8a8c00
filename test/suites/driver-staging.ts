/** Layers on their way in. */
import { existsSync, readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { collect, streamOf } from '../helpers/image.ts'
import { dirAt, fileAt, tree } from '../helpers/tree.ts'
import { type DriverSuite, expectBase, ID } from './driver-case.ts'

export function stagingCases(suite: DriverSuite): void {
  describe('stage', () => {
    const tarOf = async (nodes: Parameters<typeof tree>[1]): Promise<Buffer> => {
      await suite.driver.createReadWrite('source', undefined)
      await suite.inside('source', (root) => tree(root, nodes))
      const tar = await collect(suite.driver.diff('source', undefined))
      await suite.driver.remove('source')
      await suite.driver.emptyTrash()
      return tar
    }

    it('shows nothing before commit, everything after', async () => {
      const tar = await tarOf([fileAt('etc/motd', 'hello')])
      await using staged = await suite.driver.stage()
      expect(await staged.apply(streamOf(tar))).toBe(5)
      expect(await suite.driver.list()).toEqual([])
      expect(await suite.driver.check(new Map())).toEqual([])
      expect(await staged.settle(undefined)).toBe(5)
      expect(await staged.settle(undefined)).toBe(5)
      await staged.commit(ID('a'), undefined)
      expect(await suite.driver.list()).toEqual([ID('a')])
      await suite.inside(ID('a'), (root) =>
        expect(readFileSync(join(root, 'etc/motd'), 'utf8')).toBe('hello'),
      )
    })

    it('leaves nothing when discarded, twice too', async () => {
      const tar = await tarOf([fileAt('x', 'hello')])
      const staged = await suite.driver.stage()
      await staged.apply(streamOf(tar))
      await staged.discard()
      await staged.discard()
      expect(await suite.driver.list()).toEqual([])
      expect(existsSync(staged.path)).toBe(false)
      expect(await suite.driver.check(new Map())).toEqual([])
    })

    it('takes one tar and one parent', async () => {
      await suite.createBase(ID('a'))
      const tar = await tarOf([fileAt('x', 'hello')])
      await using staged = await suite.driver.stage()
      await staged.apply(streamOf(tar))
      await expect(staged.apply(streamOf(tar))).rejects.toMatchObject({ code: 'ERR_INVALID_ARGUMENT' })
      await expect(staged.settle(ID('f'))).rejects.toMatchObject({ code: 'ERR_LAYER_NOT_FOUND' })
      await staged.settle(ID('a'))
      await expect(staged.settle(undefined)).rejects.toMatchObject({ code: 'ERR_INVALID_ARGUMENT' })
      await staged.commit(ID('b'), ID('a'))
      expect(await suite.driver.parent(ID('b'))).toBe(ID('a'))
    })

    it('unpacks the layers of a chain side by side', async () => {
      const tars = [
        await tarOf([fileAt('a', '1'), dirAt('d', { mode: 0o1777 })]),
        await tarOf([fileAt('b', '2')]),
        await tarOf([fileAt('c', '3')]),
      ]
      const staged = await Promise.all(tars.map(() => suite.driver.stage()))
      await Promise.all(staged.map((layer, index) => layer.apply(streamOf(tars[index] ?? Buffer.alloc(0)))))
      const ids = [ID('1'), ID('2'), ID('3')]
      for (const [index, layer] of staged.entries()) await layer.commit(ids[index] ?? '', ids[index - 1])
      await suite.inside(ID('3'), (root) => expect(readdirSync(root).sort()).toEqual(['a', 'b', 'c', 'd']))
    })

    it('keeps the staged layer when its id is taken', async () => {
      await suite.createBase(ID('a'))
      const tar = await tarOf([fileAt('x', 'hello')])
      await using staged = await suite.driver.stage()
      await staged.apply(streamOf(tar))
      await expect(staged.commit(ID('a'), undefined)).rejects.toMatchObject({ code: 'ERR_ALREADY_EXISTS' })
      await staged.commit(ID('b'), undefined)
      await suite.inside(ID('a'), expectBase)
    })

    it('is never committed when its stream breaks, and lets go of everything', async () => {
      const broken = async function* (): AsyncGenerator<Buffer> {
        yield Buffer.alloc(512)
        await Promise.resolve()
        throw new Error('the network is gone')
      }
      await using staged = await suite.driver.stage()
      await expect(staged.apply(broken())).rejects.toThrow('the network is gone')
      await expect(staged.settle(undefined)).rejects.toMatchObject({ code: 'ERR_INVALID_ARGUMENT' })
      await expect(staged.commit(ID('a'), undefined)).rejects.toMatchObject({
        code: 'ERR_INVALID_ARGUMENT',
      })
      expect(await suite.driver.list()).toEqual([])
      await staged.discard()
      expect(await suite.driver.check(new Map())).toEqual([])
    })
  })
}
