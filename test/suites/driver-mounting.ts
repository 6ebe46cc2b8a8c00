/** get, put and open. */
import { closeSync, openSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeEach, describe, expect, it } from 'vitest'
import { mountsBelow } from '../helpers/mounts.ts'
import { type DriverSuite, expectBase, ID, listed } from './driver-case.ts'

export function mountingCases(suite: DriverSuite): void {
  describe('get and put', () => {
    beforeEach(async () => {
      await suite.createBase(ID('a'))
      await suite.driver.createReadWrite(ID('b'), ID('a'))
    })

    it('gives one place until the last put', async () => {
      const root = await suite.driver.get(ID('b'))
      expect(await suite.driver.get(ID('b'))).toBe(root)
      await suite.driver.put(ID('b'))
      expectBase(root)
      await suite.driver.put(ID('b'))
      expect(mountsBelow(suite.driver.home)).toEqual([])
      await suite.driver.put(ID('b'))
      await suite.inside(ID('b'), expectBase)
    })

    it('mounts once for many at the same time', async () => {
      const roots = await Promise.all(Array.from({ length: 8 }, () => suite.driver.get(ID('b'))))
      expect(new Set(roots).size).toBe(1)
      await Promise.all(roots.map(() => suite.driver.put(ID('b'))))
      expect(mountsBelow(suite.driver.home)).toEqual([])
    })

    it('keeps what is written, and only in that layer', async () => {
      await suite.inside(ID('b'), (root) => writeFileSync(join(root, 'written'), 'here'))
      await suite.inside(ID('b'), (root) => expect(readFileSync(join(root, 'written'), 'utf8')).toBe('here'))
      await suite.inside(ID('a'), expectBase)
    })

    it.skipIf(!suite.supports.mounts)('takes over what another process left mounted', async () => {
      const root = await suite.driver.get(ID('b'))
      const other = suite.fixture.reopen()
      expect(await other.get(ID('b'))).toBe(root)
      await other.put(ID('b'))
      expectBase(root)
      await other.put(ID('b'))
      expect(mountsBelow(suite.driver.home)).toEqual([])
    })

    it.skipIf(!suite.supports.mounts)('mounts again when another process has unmounted', async () => {
      await suite.driver.get(ID('b'))
      await suite.fixture.reopen().put(ID('b'))
      expect(mountsBelow(suite.driver.home)).toEqual([])
      const root = await suite.driver.get(ID('b'))
      expectBase(root)
      await suite.driver.put(ID('b'))
      expect(mountsBelow(suite.driver.home)).toEqual([])
    })

    it.skipIf(!suite.supports.mounts)(
      'does not pull the ground from under an open file, unless forced',
      async () => {
        const root = await suite.driver.get(ID('b'))
        const fd = openSync(join(root, 'a file'), 'r')
        try {
          await expect(suite.driver.put(ID('b'))).rejects.toMatchObject({ code: 'ERR_IN_USE' })
          expectBase(root)
          await suite.driver.put(ID('b'), { force: true })
          expect(mountsBelow(suite.driver.home)).toEqual([])
          expect(readFileSync(fd, 'utf8')).toBe('Some data')
        } finally {
          closeSync(fd)
        }
      },
    )

    it.skipIf(!suite.supports.mounts)('unmounts everything at cleanup', async () => {
      await suite.driver.get(ID('a'))
      await suite.driver.get(ID('b'))
      await suite.driver.get(ID('b'))
      await suite.driver.cleanup()
      expect(mountsBelow(suite.driver.home)).toEqual([])
      await suite.driver.put(ID('b'))
      await suite.inside(ID('b'), expectBase)
    })

    it.skipIf(!suite.supports.readOnlyParents)('mounts a layer with children read-only', async () => {
      await suite.inside(ID('a'), (root) => {
        expect(() => writeFileSync(join(root, 'x'), '')).toThrow(
          expect.objectContaining({ code: 'EROFS' }) as Error,
        )
      })
    })

    it.skipIf(!suite.supports.mounts)('mounts read-only when asked', async () => {
      const root = await suite.driver.get(ID('b'), { readOnly: true })
      expect(() => writeFileSync(join(root, 'x'), '')).toThrow(
        expect.objectContaining({ code: 'EROFS' }) as Error,
      )
      await suite.driver.put(ID('b'))
    })
  })

  describe.skipIf(!suite.supports.mounts)('open', () => {
    it('gives a tree that is in no mount table and ends with its descriptor', async () => {
      await suite.createBase(ID('a'))
      await suite.driver.createReadWrite(ID('b'), ID('a'))
      const mount = await suite.driver.open(ID('b'))
      const root = `/proc/self/fd/${mount.fd.fd.toString()}`
      expectBase(root)
      writeFileSync(join(root, 'through the descriptor'), 'x')
      expect(mountsBelow(suite.driver.home)).toEqual([])
      await mount[Symbol.asyncDispose]()
      await mount[Symbol.asyncDispose]()
      expect(await listed(suite.driver.changes(ID('b'), ID('a')))).toEqual(['A /through the descriptor'])
    })
  })
}
