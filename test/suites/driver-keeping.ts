/** Single files, removal, status and check. */
import { execFileSync } from 'node:child_process'
import { closeSync, mkdirSync, readFileSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { MIB } from '../helpers/sizes.ts'
import { fileAt, symlinkAt, tree } from '../helpers/tree.ts'
import { type DriverSuite, expectBase, ID } from './driver-case.ts'

export function keepingCases(suite: DriverSuite): void {
  describe('openFiles', () => {
    it('reads files of the layer and of those below, by the names of an archive', async () => {
      await suite.driver.createReadWrite(ID('a'), undefined)
      await suite.inside(ID('a'), (root) =>
        tree(root, [fileAt('usr/bin/a', 'lower'), symlinkAt('bin', 'usr/bin')]),
      )
      await suite.driver.createReadWrite(ID('b'), ID('a'))
      await suite.inside(ID('b'), (root) => tree(root, [fileAt('usr/bin/b', 'upper')]))
      await using files = await suite.driver.openFiles(ID('b'))
      const read = async (name: string): Promise<string> => {
        const fd = await files.open(Buffer.from(name))
        try {
          return readFileSync(fd, 'utf8')
        } finally {
          closeSync(fd)
        }
      }
      expect(await read('usr/bin/b')).toBe('upper')
      expect(await read('./usr/bin/b')).toBe('upper')
      expect(await read('missing/../usr/bin/b')).toBe('upper')
      expect(await read('bin/b')).toBe('upper')
      expect(await read('/usr/bin/a')).toBe('lower')
    })

    it('never leaves the layer, and opens nothing but files', async () => {
      await suite.driver.createReadWrite(ID('a'), undefined)
      await suite.inside(ID('a'), (root) => {
        symlinkSync('/etc', join(root, 'away'))
        symlinkSync('/etc/passwd', join(root, 'direct'))
        mkdirSync(join(root, 'dir'))
        execFileSync('mkfifo', [join(root, 'fifo')])
      })
      await using files = await suite.driver.openFiles(ID('a'))
      for (const name of [
        'away/passwd',
        'direct',
        '../../../etc/passwd',
        '/etc/passwd',
        'dir',
        'fifo',
        'none',
      ]) {
        await expect(files.open(Buffer.from(name)), name).rejects.toMatchObject({ code: 'ERR_DAMAGED' })
      }
    })
  })

  describe('createReadWrite with a size', () => {
    it('gives a layer that has that limit, or refuses and leaves none', async () => {
      await suite.createBase(ID('a'))
      const size = 64 * MIB
      const made = await suite.driver.createReadWrite(ID('b'), ID('a'), { size }).then(
        () => true,
        (error: unknown) => {
          expect(error).toMatchObject({ code: 'ERR_UNSUPPORTED_FS', hint: expect.any(String) as string })
          return false
        },
      )
      expect(await suite.driver.exists(ID('b'))).toBe(made)
      if (made) expect((await suite.driver.quota(ID('b')))?.limit).toBe(size)
    })

    it('there is no limit without one, and none to be told of a layer that is not there', async () => {
      await suite.createBase(ID('a'))
      await suite.driver.createReadWrite(ID('b'), ID('a'))
      expect(await suite.driver.quota(ID('b'))).toBeUndefined()
      await expect(suite.driver.quota(ID('c'))).rejects.toMatchObject({ code: 'ERR_LAYER_NOT_FOUND' })
    })
  })

  describe('remove', () => {
    it('forgets a layer at once and frees its bytes later', async () => {
      await suite.createBase(ID('a'))
      await suite.driver.remove(ID('a'))
      expect(await suite.driver.exists(ID('a'))).toBe(false)
      expect(await suite.driver.list()).toEqual([])
      expect(await suite.driver.emptyTrash()).toBeGreaterThan(0)
      expect(await suite.driver.emptyTrash()).toBe(0)
      expect(await suite.driver.check(new Map())).toEqual([])
      await suite.driver.create(ID('a'), undefined)
    })

    it('does not mind a layer that is not there', async () => {
      await suite.driver.remove(ID('a'))
    })

    it.skipIf(!suite.supports.mounts)('leaves a mounted layer alone, whoever mounted it', async () => {
      await suite.createBase(ID('a'))
      await suite.driver.createReadWrite(ID('b'), ID('a'))
      await suite.driver.get(ID('b'))
      await expect(suite.driver.remove(ID('b'))).rejects.toMatchObject({ code: 'ERR_IN_USE' })
      await expect(suite.fixture.reopen().remove(ID('b'))).rejects.toMatchObject({ code: 'ERR_IN_USE' })
      expectBase(await suite.driver.get(ID('b')))
      await suite.driver.put(ID('b'))
      await suite.driver.put(ID('b'))
      await suite.driver.remove(ID('b'))
    })
  })

  describe('the rest', () => {
    it('says what it stands on', async () => {
      const status = new Map(await suite.driver.status())
      expect(status.get('Backing Filesystem')).toMatch(/^[a-z0-9]+$/)
    })

    it('finds a new home clean, and in it what nobody knows', async () => {
      await suite.driver.create(ID('a'), undefined)
      await suite.driver.create(ID('b'), ID('a'))
      const known = new Map([
        [ID('a'), undefined],
        [ID('b'), ID('a')],
      ])
      expect(await suite.driver.check(known)).toEqual([])
      known.delete(ID('b'))
      const problems = await suite.driver.check(known)
      expect(problems).toMatchObject([{ kind: 'orphan-layer', severity: 'rubbish' }])
      for (const problem of problems) await problem.repair?.()
      expect(await suite.driver.list()).toEqual([ID('a')])
      known.set(ID('c'), ID('a'))
      expect(await suite.driver.check(known)).toMatchObject(
        expect.arrayContaining([
          expect.objectContaining({ kind: 'missing-layer', severity: 'damage' }),
        ]) as object,
      )
    })
  })
}
