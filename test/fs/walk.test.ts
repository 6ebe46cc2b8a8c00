import { closeSync, mkdirSync, openSync, renameSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { joinBytes, walk, type WalkEntry, type WalkOptions } from '../../lib/fs/walk.ts'
import { missing } from '../helpers/gates.ts'
import { watchLeaks } from '../helpers/mounts.ts'
import { type TempDir, tempDir } from '../helpers/temp-dir.ts'
import { dirAt, fileAt, printable, symlinkAt, tree } from '../helpers/tree.ts'

describe.skipIf(missing('hasBinding'))('walk', () => {
  let temp: TempDir
  let root: string
  let fd: number
  watchLeaks(() => [root])
  beforeEach(() => {
    temp = tempDir('walk')
    root = temp.path
    fd = openSync(root, 'r')
  })
  afterEach(() => {
    closeSync(fd)
    temp[Symbol.dispose]()
  })

  const paths = async (options: Partial<WalkOptions> = {}): Promise<string[]> => {
    const found: string[] = []
    for await (const entry of walk(fd, { xattrs: false, ...options })) found.push(printable(entry.path))
    return found
  }

  it('gives each folder before what is in it, names by their bytes', async () => {
    await tree(root, [fileAt('a/x'), fileAt('a.b'), fileAt('a/b/c'), fileAt('B'), fileAt('é'), fileAt('z')])
    expect(await paths()).toEqual(['B', 'a', 'a/b', 'a/b/c', 'a/x', 'a.b', 'z', '\\xc3\\xa9'])
  })

  it('gives names that are not UTF-8 as they are', async () => {
    await tree(root, [fileAt(Buffer.from([0x64, 0xff, 0x2f, 0xfe, 0x0a])), fileAt(Buffer.from([0x64, 0xfe]))])
    expect(await paths()).toEqual(['d\\xfe', 'd\\xff', 'd\\xff/\\xfe\\x0a'])
  })

  it('gives links as entries with their target, and does not follow them', async () => {
    await tree(root, [
      fileAt('real/file'),
      symlinkAt('away', '/etc'),
      symlinkAt('here', 'real'),
      symlinkAt('loop', 'loop'),
    ])
    expect(await paths()).toEqual(['away', 'here', 'loop', 'real', 'real/file'])
    for await (const entry of walk(fd, { xattrs: false })) {
      if (entry.path.toString() === 'away') expect(entry.target?.toString()).toBe('/etc')
    }
  })

  it('finds nothing in an empty folder', async () => {
    expect(await paths()).toEqual([])
  })

  it('skips what it is told to, but shows the folder', async () => {
    await tree(root, [fileAt('a/x'), fileAt('b/x'), fileAt('c')])
    const enter = (entry: WalkEntry): boolean => entry.path.toString() !== 'a'
    expect(await paths({ enter })).toEqual(['a', 'b', 'b/x', 'c'])
  })

  it('reads attributes when asked', async () => {
    await tree(root, [fileAt('a', '', { xattrs: { 'user.b': '2', 'user.a': '1' } })])
    for await (const entry of walk(fd, { xattrs: true })) {
      expect(entry.xattrs.map(({ name, value }) => `${name}=${value.toString()}`)).toEqual([
        'user.a=1',
        'user.b=2',
      ])
    }
    for await (const entry of walk(fd, { xattrs: false })) expect(entry.xattrs).toEqual([])
  })

  it('opens what is at an entry by its folder', async () => {
    await tree(root, [fileAt('d/a', 'content')])
    for await (const entry of walk(fd, { xattrs: false })) {
      if (entry.isDirectory) continue
      const file = openSync(`/proc/self/fd/${entry.parentFd.toString()}/a`, 'r')
      closeSync(file)
    }
  })

  it('reaches deeper than any path goes', async () => {
    let at = fd
    const opened: number[] = []
    const name = 'n'.repeat(200)
    for (let depth = 0; depth < 40; depth++) {
      mkdirSync(`/proc/self/fd/${at.toString()}/${name}`)
      at = openSync(`/proc/self/fd/${at.toString()}/${name}`, 'r')
      opened.push(at)
    }
    writeFileSync(`/proc/self/fd/${at.toString()}/bottom`, '')
    for (const descriptor of opened) closeSync(descriptor)
    const found = await paths()
    expect(found).toHaveLength(41)
    expect(found.at(-1)?.length).toBe(40 * 201 + 'bottom'.length)
  })

  it('is not led away when a folder turns into a link under it', async () => {
    await tree(root, [dirAt('a'), fileAt('outside/secret'), dirAt('b')])
    const found: string[] = []
    const walking = async (): Promise<void> => {
      for await (const entry of walk(fd, { xattrs: false })) {
        found.push(entry.path.toString())
        if (entry.path.toString() !== 'b') continue
        renameSync(join(root, 'b'), join(root, 'was-b'))
        symlinkSync('outside', join(root, 'b'))
      }
    }
    await expect(walking()).rejects.toMatchObject({ code: expect.stringMatching(/ELOOP|ENOTDIR/) as string })
    expect(found).toEqual(['a', 'b'])
  })

  it('closes what it has open when its reader stops, and when it fails', async () => {
    await tree(root, [fileAt('a/b/c/d')])
    for await (const entry of walk(fd, { xattrs: false })) {
      if (entry.path.toString() === 'a/b/c') break
    }
    await expect(paths({ signal: AbortSignal.abort(new Error('stop')) })).rejects.toThrow('stop')
  })
})

describe('joinBytes', () => {
  it('puts a slash between two, and none at an empty one', () => {
    const join = (a: string, b: string): string => joinBytes(Buffer.from(a), Buffer.from(b)).toString()
    expect([join('a', 'b'), join('', 'b'), join('a', '')]).toEqual(['a/b', 'b', 'a'])
  })
})
