/** Ids: which are taken, which are refused, which are not there. */
import { existsSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { collect } from '../helpers/image.ts'
import { type DriverSuite, expectBase, ID } from './driver-case.ts'

export function namingCases(suite: DriverSuite): void {
  describe('naming', () => {
    it.each(['', '.', '..', '../x', 'a/b', '/etc', 'a\0b', '-x', ' ', 'é', 'x'.repeat(129)])(
      'refuses %j before it gets into a path',
      async (id) => {
        await expect(suite.driver.create(id, undefined)).rejects.toMatchObject({
          code: 'ERR_INVALID_ARGUMENT',
        })
        await expect(suite.driver.exists(id)).rejects.toMatchObject({ code: 'ERR_INVALID_ARGUMENT' })
        await expect(suite.driver.get(id)).rejects.toMatchObject({ code: 'ERR_INVALID_ARGUMENT' })
        await expect(suite.driver.remove(id)).rejects.toMatchObject({ code: 'ERR_INVALID_ARGUMENT' })
      },
    )

    it.each([ID('f'), `${ID('f')}-init`, 'w8pujs3fk2l0zqxm4d7y1ab5c', 'base', 'a.b_c-1'])(
      'takes %j',
      async (id) => {
        await suite.driver.create(id, undefined)
        expect(await suite.driver.list()).toEqual([id])
      },
    )

    it('refuses an id that is taken, and keeps what has it', async () => {
      await suite.createBase(ID('a'))
      await expect(suite.driver.create(ID('a'), undefined)).rejects.toMatchObject({
        code: 'ERR_ALREADY_EXISTS',
      })
      await expect(suite.driver.createReadWrite(ID('a'), undefined)).rejects.toMatchObject({
        code: 'ERR_ALREADY_EXISTS',
      })
      await suite.inside(ID('a'), expectBase)
      expect(await suite.driver.check(new Map([[ID('a'), undefined]]))).toEqual([])
    })

    it('gives one of two makers of an id the folder', async () => {
      const made = await Promise.allSettled([1, 2, 3, 4].map(() => suite.driver.create(ID('a'), undefined)))
      expect(made.map(({ status }) => status).sort()).toEqual([
        'fulfilled',
        'rejected',
        'rejected',
        'rejected',
      ])
      for (const result of made) {
        if (result.status === 'rejected') expect(result.reason).toMatchObject({ code: 'ERR_ALREADY_EXISTS' })
      }
      expect(await suite.driver.check(new Map([[ID('a'), undefined]]))).toEqual([])
    })

    it('knows what is not there', async () => {
      const missing = { code: 'ERR_LAYER_NOT_FOUND' }
      expect(await suite.driver.exists(ID('a'))).toBe(false)
      await expect(suite.driver.create(ID('b'), ID('a'))).rejects.toMatchObject(missing)
      await expect(suite.driver.get(ID('a'))).rejects.toMatchObject(missing)
      await expect(suite.driver.parent(ID('a'))).rejects.toMatchObject(missing)
      await expect(suite.driver.metadata(ID('a'))).rejects.toMatchObject(missing)
      await expect(suite.driver.openFiles(ID('a'))).rejects.toMatchObject(missing)
      await expect(suite.driver.diskUsage(ID('a'))).rejects.toMatchObject(missing)
      await expect(collect(suite.driver.diff(ID('a'), undefined))).rejects.toMatchObject(missing)
      expect(await suite.driver.list()).toEqual([])
    })

    it('tells the parent', async () => {
      await suite.driver.create(ID('a'), undefined)
      await suite.driver.create(ID('b'), ID('a'))
      await suite.driver.createReadWrite(ID('c'), ID('b'))
      expect(await suite.driver.parent(ID('a'))).toBeUndefined()
      expect(await suite.driver.parent(ID('b'))).toBe(ID('a'))
      expect(await suite.driver.parent(ID('c'))).toBe(ID('b'))
      const { lowerdir, upperdir } = await suite.driver.metadata(ID('c'))
      const isNamed = lowerdir.map((path) => path.includes(ID('b')) || path.includes(ID('a')))
      expect(isNamed).toEqual(suite.supports.lowerdirs ? [true, true] : [])
      expect(existsSync(upperdir)).toBe(true)
    })
  })
}
