/**
 * What every storage driver must do, as one function: a driver's test file calls it with a way to make a driver, and
 * with what the driver cannot do. moby's graphtest cases, then those of the contract in lib/driver/driver.ts.
 *
 *     driverSuite({ name: 'overlay2 on ext4', factory: async () => ({ driver, dispose }), supports: {} })
 */
import { execFileSync } from 'node:child_process'
import { closeSync, existsSync, openSync, readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs'
import { chmodSync, chownSync, lstatSync, mkdirSync, rmSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Change, Driver } from '../../lib/driver/driver.ts'
import { collect, streamOf } from '../helpers/image.ts'
import { mountsBelow, watchLeaks } from '../helpers/mounts.ts'
import { dirAt, dumpTree, fileAt, hardlinkAt, symlinkAt, tree } from '../helpers/tree.ts'

/** A driver with a home of its own. */
export interface DriverFixture {
  readonly driver: Driver
  /** Opens the same home again, as another process would. */
  reopen(): Driver
  /** Removes the home; everything is unmounted by then. */
  dispose(): void | Promise<void>
}

/** What a driver may lack; a case that needs it is skipped and says so. */
export interface DriverSupport {
  /** get() mounts, so that a base written through it stays what it was below a child. Default true. */
  readonly mounts?: boolean
  /** A layer with a child is read-only at get(). Default true. */
  readonly readOnlyParents?: boolean
  /** Layers in a chain that must work. Default 128, moby's limit. */
  readonly maxDepth?: number
  /** Hard links survive diff and apply. Default true. */
  readonly hardLinks?: boolean
}

export interface DriverSuiteOptions {
  readonly name: string
  readonly factory: () => DriverFixture | Promise<DriverFixture>
  readonly supports?: DriverSupport
}

/** Changes as `docker diff` prints them. */
export async function listed(changes: AsyncIterable<Change>): Promise<string[]> {
  const lines: string[] = []
  for await (const { kind, path } of changes) lines.push(`${kind} ${path.toString()}`)
  return lines
}

const ID = (digit: string): string => digit.repeat(64)

/** Registers the cases. */
export function driverSuite({ name, factory, supports = {} }: DriverSuiteOptions): void {
  const { mounts = true, readOnlyParents = true, maxDepth = 128, hardLinks = true } = supports

  describe(`driver suite: ${name}`, () => {
    let fixture: DriverFixture
    let driver: Driver
    beforeEach(async () => {
      fixture = await factory()
      driver = fixture.driver
    })
    afterEach(async () => {
      await fixture.dispose()
    })
    watchLeaks(() => [fixture.driver.home])

    /** Runs `work` on the merged tree of `id`. */
    const inside = async <T>(id: string, work: (root: string) => T | Promise<T>): Promise<T> => {
      const root = await driver.get(id)
      try {
        return await work(root)
      } finally {
        await driver.put(id)
      }
    }

    /** graphtest's createBase: a sticky folder of 1:2 and a setuid file. */
    const createBase = async (id: string): Promise<void> => {
      await driver.createReadWrite(id, undefined)
      await inside(id, (root) => {
        mkdirSync(join(root, 'a subdir'))
        chmodSync(join(root, 'a subdir'), 0o1705)
        chownSync(join(root, 'a subdir'), 1, 2)
        writeFileSync(join(root, 'a file'), 'Some data')
        chownSync(join(root, 'a file'), 0, 0)
        chmodSync(join(root, 'a file'), 0o4222)
      })
    }

    const expectBase = (root: string): void => {
      expect(readdirSync(root).sort()).toEqual(['a file', 'a subdir'])
      const dir = lstatSync(join(root, 'a subdir'))
      expect([dir.isDirectory(), dir.mode & 0o7777, dir.uid, dir.gid]).toEqual([true, 0o1705, 1, 2])
      const file = lstatSync(join(root, 'a file'))
      expect([file.isFile(), file.mode & 0o7777, file.uid, file.gid]).toEqual([true, 0o4222, 0, 0])
      expect(readFileSync(join(root, 'a file'), 'utf8')).toBe('Some data')
    }

    describe('graphtest', () => {
      it('creates an empty layer: there, 0755, root, nothing in it', async () => {
        await driver.create(ID('a'), undefined)
        expect(await driver.exists(ID('a'))).toBe(true)
        await inside(ID('a'), (root) => {
          const stat = statSync(root)
          expect([stat.isDirectory(), stat.mode & 0o7777, stat.uid, stat.gid]).toEqual([true, 0o755, 0, 0])
          expect(readdirSync(root)).toEqual([])
        })
      })

      it('keeps what was written in a base', async () => {
        await createBase(ID('a'))
        await inside(ID('a'), expectBase)
      })

      it('shows the base in a layer above it, unchanged', async () => {
        await createBase(ID('a'))
        await driver.create(ID('b'), ID('a'))
        await inside(ID('b'), expectBase)
      })

      it(`reads through a chain of ${maxDepth.toString()} layers`, async () => {
        let parent: string | undefined
        for (let depth = 0; depth < maxDepth; depth++) {
          const id = `layer-${depth.toString()}`
          await driver.create(id, parent)
          await inside(id, (root) => {
            writeFileSync(join(root, `file-${depth.toString()}`), depth.toString())
            writeFileSync(join(root, 'changed'), depth.toString())
          })
          parent = id
        }
        await inside(parent ?? '', (root) => {
          expect(readdirSync(root)).toHaveLength(maxDepth + 1)
          expect(readFileSync(join(root, 'changed'), 'utf8')).toBe((maxDepth - 1).toString())
          expect(readFileSync(join(root, 'file-0'), 'utf8')).toBe('0')
          expect(readFileSync(join(root, `file-${(maxDepth - 1).toString()}`), 'utf8')).toBe(
            (maxDepth - 1).toString(),
          )
        })
      })

      it('applies its own diff: same size, same content, the removed file gone', async () => {
        await driver.create(ID('a'), undefined)
        await inside(ID('a'), (root) => tree(root, manyFiles(10, 3)))
        await driver.create(ID('b'), ID('a'))
        const changed = await inside(ID('b'), async (root) => {
          rmSync(join(root, 'file-3'))
          writeFileSync(join(root, 'file-4'), 'other content')
          await tree(root, [fileAt('extra', 'new', { mtime: 77 })])
          return await dumpTree(root, { nanoseconds: false, root: false })
        })
        const tar = await collect(driver.diff(ID('b'), ID('a')))
        await driver.create(ID('c'), ID('a'))
        const size = await driver.applyDiff(ID('c'), ID('a'), streamOf(tar))
        expect(size).toBe(await driver.diffSize(ID('b'), ID('a')))
        expect(size).toBe('other content'.length + 'new'.length)
        await inside(ID('c'), async (root) => {
          expect(existsSync(join(root, 'file-3'))).toBe(false)
          expect(await dumpTree(root, { nanoseconds: false, root: false })).toEqual(changed)
        })
      })

      it('lists what was added, changed and deleted', async () => {
        await driver.create(ID('a'), undefined)
        await inside(ID('a'), (root) =>
          tree(root, [...manyFiles(20, 3), fileAt('dir/old', 'x'), fileAt('gone/x', '')]),
        )
        await driver.createReadWrite(ID('b'), ID('a'))
        await inside(ID('b'), (root) => {
          writeFileSync(join(root, 'file-7'), 'changed')
          rmSync(join(root, 'file-8'))
          rmSync(join(root, 'gone'), { recursive: true })
          writeFileSync(join(root, 'dir/new'), 'new')
          mkdirSync(join(root, 'added'))
          symlinkSync('x', join(root, 'added/link'))
        })
        expect(await listed(driver.changes(ID('b'), ID('a')))).toEqual([
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

    describe('naming', () => {
      it.each(['', '.', '..', '../x', 'a/b', '/etc', 'a\0b', '-x', ' ', 'é', 'x'.repeat(129)])(
        'refuses %j before it gets into a path',
        async (id) => {
          await expect(driver.create(id, undefined)).rejects.toMatchObject({ code: 'ERR_INVALID_ARGUMENT' })
          await expect(driver.exists(id)).rejects.toMatchObject({ code: 'ERR_INVALID_ARGUMENT' })
          await expect(driver.get(id)).rejects.toMatchObject({ code: 'ERR_INVALID_ARGUMENT' })
          await expect(driver.remove(id)).rejects.toMatchObject({ code: 'ERR_INVALID_ARGUMENT' })
        },
      )

      it.each([ID('f'), `${ID('f')}-init`, 'w8pujs3fk2l0zqxm4d7y1ab5c', 'base', 'a.b_c-1'])(
        'takes %j',
        async (id) => {
          await driver.create(id, undefined)
          expect(await driver.list()).toEqual([id])
        },
      )

      it('refuses an id that is taken, and keeps what has it', async () => {
        await createBase(ID('a'))
        await expect(driver.create(ID('a'), undefined)).rejects.toMatchObject({ code: 'ERR_ALREADY_EXISTS' })
        await expect(driver.createReadWrite(ID('a'), undefined)).rejects.toMatchObject({
          code: 'ERR_ALREADY_EXISTS',
        })
        await inside(ID('a'), expectBase)
        expect(await driver.check(new Map([[ID('a'), undefined]]))).toEqual([])
      })

      it('gives one of two makers of an id the folder', async () => {
        const made = await Promise.allSettled([1, 2, 3, 4].map(() => driver.create(ID('a'), undefined)))
        expect(made.map(({ status }) => status).sort()).toEqual([
          'fulfilled',
          'rejected',
          'rejected',
          'rejected',
        ])
        for (const result of made) {
          if (result.status === 'rejected')
            expect(result.reason).toMatchObject({ code: 'ERR_ALREADY_EXISTS' })
        }
        expect(await driver.check(new Map([[ID('a'), undefined]]))).toEqual([])
      })

      it('knows what is not there', async () => {
        const missing = { code: 'ERR_LAYER_NOT_FOUND' }
        expect(await driver.exists(ID('a'))).toBe(false)
        await expect(driver.create(ID('b'), ID('a'))).rejects.toMatchObject(missing)
        await expect(driver.get(ID('a'))).rejects.toMatchObject(missing)
        await expect(driver.parent(ID('a'))).rejects.toMatchObject(missing)
        await expect(driver.metadata(ID('a'))).rejects.toMatchObject(missing)
        await expect(driver.openFiles(ID('a'))).rejects.toMatchObject(missing)
        await expect(driver.diskUsage(ID('a'))).rejects.toMatchObject(missing)
        await expect(collect(driver.diff(ID('a'), undefined))).rejects.toMatchObject(missing)
        expect(await driver.list()).toEqual([])
      })

      it('tells the parent', async () => {
        await driver.create(ID('a'), undefined)
        await driver.create(ID('b'), ID('a'))
        await driver.createReadWrite(ID('c'), ID('b'))
        expect(await driver.parent(ID('a'))).toBeUndefined()
        expect(await driver.parent(ID('b'))).toBe(ID('a'))
        expect(await driver.parent(ID('c'))).toBe(ID('b'))
        const { lowerdir, upperdir } = await driver.metadata(ID('c'))
        expect(lowerdir.map((path) => path.includes(ID('b')) || path.includes(ID('a')))).toEqual([true, true])
        expect(existsSync(upperdir)).toBe(true)
      })
    })

    describe('get and put', () => {
      beforeEach(async () => {
        await createBase(ID('a'))
        await driver.createReadWrite(ID('b'), ID('a'))
      })

      it('gives one place until the last put', async () => {
        const root = await driver.get(ID('b'))
        expect(await driver.get(ID('b'))).toBe(root)
        await driver.put(ID('b'))
        expectBase(root)
        await driver.put(ID('b'))
        expect(mountsBelow(driver.home)).toEqual([])
        await driver.put(ID('b'))
        await inside(ID('b'), expectBase)
      })

      it('mounts once for many at the same time', async () => {
        const roots = await Promise.all(Array.from({ length: 8 }, () => driver.get(ID('b'))))
        expect(new Set(roots).size).toBe(1)
        await Promise.all(roots.map(() => driver.put(ID('b'))))
        expect(mountsBelow(driver.home)).toEqual([])
      })

      it('keeps what is written, and only in that layer', async () => {
        await inside(ID('b'), (root) => writeFileSync(join(root, 'written'), 'here'))
        await inside(ID('b'), (root) => expect(readFileSync(join(root, 'written'), 'utf8')).toBe('here'))
        await inside(ID('a'), expectBase)
      })

      it.skipIf(!mounts)('takes over what another process left mounted', async () => {
        const root = await driver.get(ID('b'))
        const other = fixture.reopen()
        expect(await other.get(ID('b'))).toBe(root)
        await other.put(ID('b'))
        expectBase(root)
        await other.put(ID('b'))
        expect(mountsBelow(driver.home)).toEqual([])
      })

      it.skipIf(!mounts)('mounts again when another process has unmounted', async () => {
        await driver.get(ID('b'))
        await fixture.reopen().put(ID('b'))
        expect(mountsBelow(driver.home)).toEqual([])
        const root = await driver.get(ID('b'))
        expectBase(root)
        await driver.put(ID('b'))
        expect(mountsBelow(driver.home)).toEqual([])
      })

      it.skipIf(!mounts)('does not pull the ground from under an open file, unless forced', async () => {
        const root = await driver.get(ID('b'))
        const fd = openSync(join(root, 'a file'), 'r')
        try {
          await expect(driver.put(ID('b'))).rejects.toMatchObject({ code: 'ERR_IN_USE' })
          expectBase(root)
          await driver.put(ID('b'), { force: true })
          expect(mountsBelow(driver.home)).toEqual([])
          expect(readFileSync(fd, 'utf8')).toBe('Some data')
        } finally {
          closeSync(fd)
        }
      })

      it.skipIf(!mounts)('unmounts everything at cleanup', async () => {
        await driver.get(ID('a'))
        await driver.get(ID('b'))
        await driver.get(ID('b'))
        await driver.cleanup()
        expect(mountsBelow(driver.home)).toEqual([])
        await driver.put(ID('b'))
        await inside(ID('b'), expectBase)
      })

      it.skipIf(!readOnlyParents)('mounts a layer with children read-only', async () => {
        await inside(ID('a'), (root) => {
          expect(() => writeFileSync(join(root, 'x'), '')).toThrow(
            expect.objectContaining({ code: 'EROFS' }) as Error,
          )
        })
      })

      it.skipIf(!mounts)('mounts read-only when asked', async () => {
        const root = await driver.get(ID('b'), { readOnly: true })
        expect(() => writeFileSync(join(root, 'x'), '')).toThrow(
          expect.objectContaining({ code: 'EROFS' }) as Error,
        )
        await driver.put(ID('b'))
      })
    })

    describe.skipIf(!mounts)('open', () => {
      it('gives a tree that is in no mount table and ends with its descriptor', async () => {
        await createBase(ID('a'))
        await driver.createReadWrite(ID('b'), ID('a'))
        const mount = await driver.open(ID('b'))
        const root = `/proc/self/fd/${mount.fd.fd.toString()}`
        expectBase(root)
        writeFileSync(join(root, 'through the descriptor'), 'x')
        expect(mountsBelow(driver.home)).toEqual([])
        await mount[Symbol.asyncDispose]()
        await mount[Symbol.asyncDispose]()
        expect(await listed(driver.changes(ID('b'), ID('a')))).toEqual(['A /through the descriptor'])
      })
    })

    describe('stage', () => {
      const tarOf = async (nodes: Parameters<typeof tree>[1]): Promise<Buffer> => {
        await driver.createReadWrite('source', undefined)
        await inside('source', (root) => tree(root, nodes))
        const tar = await collect(driver.diff('source', undefined))
        await driver.remove('source')
        await driver.emptyTrash()
        return tar
      }

      it('shows nothing before commit, everything after', async () => {
        const tar = await tarOf([fileAt('etc/motd', 'hello')])
        await using staged = await driver.stage()
        expect(await staged.apply(streamOf(tar))).toBe(5)
        expect(await driver.list()).toEqual([])
        expect(await driver.check(new Map())).toEqual([])
        expect(await staged.settle(undefined)).toBe(5)
        expect(await staged.settle(undefined)).toBe(5)
        await staged.commit(ID('a'), undefined)
        expect(await driver.list()).toEqual([ID('a')])
        await inside(ID('a'), (root) => expect(readFileSync(join(root, 'etc/motd'), 'utf8')).toBe('hello'))
      })

      it('leaves nothing when discarded, twice too', async () => {
        const tar = await tarOf([fileAt('x', 'hello')])
        const staged = await driver.stage()
        await staged.apply(streamOf(tar))
        await staged.discard()
        await staged.discard()
        expect(await driver.list()).toEqual([])
        expect(existsSync(staged.path)).toBe(false)
        expect(await driver.check(new Map())).toEqual([])
      })

      it('takes one tar and one parent', async () => {
        await createBase(ID('a'))
        const tar = await tarOf([fileAt('x', 'hello')])
        await using staged = await driver.stage()
        await staged.apply(streamOf(tar))
        await expect(staged.apply(streamOf(tar))).rejects.toMatchObject({ code: 'ERR_INVALID_ARGUMENT' })
        await expect(staged.settle(ID('f'))).rejects.toMatchObject({ code: 'ERR_LAYER_NOT_FOUND' })
        await staged.settle(ID('a'))
        await expect(staged.settle(undefined)).rejects.toMatchObject({ code: 'ERR_INVALID_ARGUMENT' })
        await staged.commit(ID('b'), ID('a'))
        expect(await driver.parent(ID('b'))).toBe(ID('a'))
      })

      it('unpacks the layers of a chain side by side', async () => {
        const tars = [
          await tarOf([fileAt('a', '1'), dirAt('d', { mode: 0o1777 })]),
          await tarOf([fileAt('b', '2')]),
          await tarOf([fileAt('c', '3')]),
        ]
        const staged = await Promise.all(tars.map(() => driver.stage()))
        await Promise.all(staged.map((layer, index) => layer.apply(streamOf(tars[index] ?? Buffer.alloc(0)))))
        const ids = [ID('1'), ID('2'), ID('3')]
        for (const [index, layer] of staged.entries()) await layer.commit(ids[index] ?? '', ids[index - 1])
        await inside(ID('3'), (root) => expect(readdirSync(root).sort()).toEqual(['a', 'b', 'c', 'd']))
      })

      it('keeps the staged layer when its id is taken', async () => {
        await createBase(ID('a'))
        const tar = await tarOf([fileAt('x', 'hello')])
        await using staged = await driver.stage()
        await staged.apply(streamOf(tar))
        await expect(staged.commit(ID('a'), undefined)).rejects.toMatchObject({ code: 'ERR_ALREADY_EXISTS' })
        await staged.commit(ID('b'), undefined)
        await inside(ID('a'), expectBase)
      })

      it('is never committed when its stream breaks, and lets go of everything', async () => {
        const broken = async function* (): AsyncGenerator<Buffer> {
          yield Buffer.alloc(512)
          await Promise.resolve()
          throw new Error('the network is gone')
        }
        await using staged = await driver.stage()
        await expect(staged.apply(broken())).rejects.toThrow('the network is gone')
        await expect(staged.settle(undefined)).rejects.toMatchObject({ code: 'ERR_INVALID_ARGUMENT' })
        await expect(staged.commit(ID('a'), undefined)).rejects.toMatchObject({
          code: 'ERR_INVALID_ARGUMENT',
        })
        expect(await driver.list()).toEqual([])
        await staged.discard()
        expect(await driver.check(new Map())).toEqual([])
      })
    })

    describe('diff', () => {
      beforeEach(async () => {
        await createBase(ID('a'))
        await driver.createReadWrite(ID('b'), ID('a'))
      })

      it('is the same bytes each time', async () => {
        await inside(ID('b'), (root) =>
          tree(root, [...manyFiles(300, 5), symlinkAt('s', 'file-1'), hardlinkAt('h', 'file-2')]),
        )
        const [once, twice] = [
          await collect(driver.diff(ID('b'), ID('a'))),
          await collect(driver.diff(ID('b'), ID('a'))),
        ]
        expect(once.equals(twice)).toBe(true)
        expect(once.length).toBeGreaterThan(300 * 512)
      })

      it('is two blocks of nothing for a layer without changes', async () => {
        expect((await collect(driver.diff(ID('b'), ID('a')))).equals(Buffer.alloc(1024))).toBe(true)
        expect(await listed(driver.changes(ID('b'), ID('a')))).toEqual([])
        expect(await driver.diffSize(ID('b'), ID('a'))).toBe(0)
      })

      it('refuses a parent that is not the parent', async () => {
        await driver.create(ID('c'), undefined)
        for (const parent of [ID('c'), undefined]) {
          const refusal = { code: 'ERR_INVALID_ARGUMENT' }
          await expect(collect(driver.diff(ID('b'), parent))).rejects.toMatchObject(refusal)
          await expect(listed(driver.changes(ID('b'), parent))).rejects.toMatchObject(refusal)
          await expect(driver.diffSize(ID('b'), parent)).rejects.toMatchObject(refusal)
        }
      })

      it('works while the layer is mounted, and ends early without leaving anything open', async () => {
        await inside(ID('b'), async (root) => {
          await tree(root, [fileAt('big', Buffer.alloc(3_000_000, 7)), ...manyFiles(50, 2000)])
          for await (const chunk of driver.diff(ID('b'), ID('a'))) {
            expect(chunk.length).toBeGreaterThan(0)
            break
          }
        })
      })

      it('stops when aborted', async () => {
        await inside(ID('b'), (root) => tree(root, manyFiles(200, 1000)))
        const reason = new Error('enough')
        await expect(
          collect(driver.diff(ID('b'), ID('a'), { signal: AbortSignal.abort(reason) })),
        ).rejects.toBe(reason)
      })

      it('counts a file once, however many names it has', async () => {
        await inside(ID('b'), (root) => tree(root, [fileAt('f', 'x'.repeat(1000)), hardlinkAt('g', 'f')]))
        expect(await driver.diffSize(ID('b'), ID('a'))).toBe(hardLinks ? 1000 : 2000)
        expect(await driver.diskUsage(ID('b'))).toBeGreaterThanOrEqual(1000)
      })
    })

    describe('openFiles', () => {
      it('reads files of the layer and of those below, by the names of an archive', async () => {
        await driver.createReadWrite(ID('a'), undefined)
        await inside(ID('a'), (root) =>
          tree(root, [fileAt('usr/bin/a', 'lower'), symlinkAt('bin', 'usr/bin')]),
        )
        await driver.createReadWrite(ID('b'), ID('a'))
        await inside(ID('b'), (root) => tree(root, [fileAt('usr/bin/b', 'upper')]))
        await using files = await driver.openFiles(ID('b'))
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
        expect(await read('bin/b')).toBe('upper')
        expect(await read('/usr/bin/a')).toBe('lower')
      })

      it('never leaves the layer, and opens nothing but files', async () => {
        await driver.createReadWrite(ID('a'), undefined)
        await inside(ID('a'), (root) => {
          symlinkSync('/etc', join(root, 'away'))
          symlinkSync('/etc/passwd', join(root, 'direct'))
          mkdirSync(join(root, 'dir'))
          execFileSync('mkfifo', [join(root, 'fifo')])
        })
        await using files = await driver.openFiles(ID('a'))
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

    describe('remove', () => {
      it('forgets a layer at once and frees its bytes later', async () => {
        await createBase(ID('a'))
        await driver.remove(ID('a'))
        expect(await driver.exists(ID('a'))).toBe(false)
        expect(await driver.list()).toEqual([])
        expect(await driver.emptyTrash()).toBeGreaterThan(0)
        expect(await driver.emptyTrash()).toBe(0)
        expect(await driver.check(new Map())).toEqual([])
        await driver.create(ID('a'), undefined)
      })

      it('does not mind a layer that is not there', async () => {
        await driver.remove(ID('a'))
      })

      it.skipIf(!mounts)('leaves a mounted layer alone, whoever mounted it', async () => {
        await createBase(ID('a'))
        await driver.createReadWrite(ID('b'), ID('a'))
        await driver.get(ID('b'))
        await expect(driver.remove(ID('b'))).rejects.toMatchObject({ code: 'ERR_IN_USE' })
        await expect(fixture.reopen().remove(ID('b'))).rejects.toMatchObject({ code: 'ERR_IN_USE' })
        expectBase(await driver.get(ID('b')))
        await driver.put(ID('b'))
        await driver.put(ID('b'))
        await driver.remove(ID('b'))
      })
    })

    describe('the rest', () => {
      it('says what it stands on', async () => {
        const status = new Map(await driver.status())
        expect(status.get('Backing Filesystem')).toMatch(/^[a-z0-9]+$/)
      })

      it('finds a new home clean, and in it what nobody knows', async () => {
        await driver.create(ID('a'), undefined)
        await driver.create(ID('b'), ID('a'))
        const known = new Map([
          [ID('a'), undefined],
          [ID('b'), ID('a')],
        ])
        expect(await driver.check(known)).toEqual([])
        known.delete(ID('b'))
        const problems = await driver.check(known)
        expect(problems).toMatchObject([{ kind: 'orphan-layer', severity: 'rubbish' }])
        for (const problem of problems) await problem.repair?.()
        expect(await driver.list()).toEqual([ID('a')])
        known.set(ID('c'), ID('a'))
        expect(await driver.check(known)).toMatchObject(
          expect.arrayContaining([
            expect.objectContaining({ kind: 'missing-layer', severity: 'damage' }),
          ]) as object,
        )
      })
    })
  })
}

/** `count` files of `size` bytes, each its own. */
export function manyFiles(count: number, size: number): ReturnType<typeof fileAt>[] {
  return Array.from({ length: count }, (_, index) =>
    fileAt(`file-${index.toString()}`, `${index.toString()} `.repeat(size).slice(0, size)),
  )
}
