import {
  closeSync,
  fstatSync,
  linkSync,
  mkdirSync,
  openSync,
  readSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { joinBytes, walk, type WalkEntry, type WalkOptions } from '../../lib/fs/walk.ts'
import { binding } from '../../lib/native/binding.ts'
import { missing } from '../helpers/gates.ts'
import { watchLeaks } from '../helpers/mounts.ts'
import { type TempDir, tempDir } from '../helpers/temp-dir.ts'
import { dirAt, fileAt, printable, symlinkAt, tree } from '../../lib/driver-suite/tree.ts'

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

  /** Each entry, while it is valid. */
  async function* each(options: Partial<WalkOptions> = {}): AsyncGenerator<WalkEntry> {
    for await (const entries of walk(fd, { xattrs: false, ...options })) yield* entries
  }

  const paths = async (options: Partial<WalkOptions> = {}): Promise<string[]> => {
    const found: string[] = []
    for await (const entry of each(options)) found.push(printable(entry.path))
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
    for await (const entry of each()) {
      expect(entry.target.toString()).toBe(
        { away: '/etc', here: 'real', loop: 'loop' }[entry.path.toString()] ?? '',
      )
    }
  })

  it('finds nothing in an empty folder', async () => {
    expect(await paths()).toEqual([])
  })

  it('reads attributes when asked', async () => {
    await tree(root, [fileAt('a', '', { xattrs: { 'user.b': '2', 'user.a': '1' } })])
    for await (const entry of each({ xattrs: true })) {
      expect(entry.xattrs.map(({ name, value }) => `${name}=${value.toString()}`)).toEqual([
        'user.a=1',
        'user.b=2',
      ])
    }
    for await (const entry of each()) expect(entry.xattrs).toEqual([])
  })

  it('reads small files and opens large ones and those of several names, when asked', async () => {
    await tree(root, [fileAt('empty'), fileAt('large', 'x'.repeat(5000)), fileAt('small', 'small')])
    writeFileSync(join(root, 'two'), 'both')
    linkSync(join(root, 'two'), join(root, 'zwei'))
    const found: string[] = []
    let open = -1
    for await (const { path, body, file } of each({ bodies: 4096 })) {
      const content = Buffer.alloc(5000)
      const length = file === undefined ? 0 : readSync(file, content)
      open = file ?? open
      found.push(`${path.toString()} ${body?.toString() ?? 'unread'} ${String(length)}`)
    }
    expect(found).toEqual([
      'empty unread 0',
      'large unread 5000',
      'small small 0',
      'two unread 4',
      'zwei unread 4',
    ])
    expect(() => fstatSync(open)).toThrow(expect.objectContaining({ code: 'EBADF' }) as Error)
    for await (const { body, file } of each()) expect([body, file]).toEqual([undefined, undefined])
  })

  it('tells what another tree has by the same names', async () => {
    await tree(root, [
      fileAt('one/a', 'a'),
      fileAt('one/dir/x'),
      fileAt('one/new'),
      symlinkAt('one/link', 'a'),
    ])
    await tree(root, [
      fileAt('two/a', 'longer', { xattrs: { 'user.b': 'b' } }),
      fileAt('two/dir/x', 'xx'),
      fileAt('two/dir/gone'),
      dirAt('two/link'),
    ])
    const [one, two] = ['one', 'two'].map((name) => openSync(join(root, name), 'r')) as [number, number]
    const found: string[] = []
    for await (const entries of walk(one, { xattrs: true, besideFd: two })) {
      for (const { path, stat, beside, besideXattrs } of entries) {
        const other = beside === undefined ? 'nothing' : `${String(beside.mode >> 12)}:${String(beside.size)}`
        const sizes = stat.mode >> 12 === 8 ? `${String(stat.size)} ${other}` : other.split(':')[0]
        found.push(
          `${path.toString()} ${String(sizes)} ${besideXattrs.map(({ name }) => name).join()}`.trim(),
        )
      }
    }
    expect(found).toEqual(['a 1 8:6 user.b', 'dir 4', 'dir/x 0 8:2', 'link 4', 'new 0 nothing'])
    closeSync(one)
    closeSync(two)
  })

  it('gives a tree of many batches whole and in order', async () => {
    const names = Array.from({ length: 12_000 }, (_, i) => `d${String(i % 7)}/${String(i).padStart(5, '0')}`)
    for (let i = 0; i < 7; i++) mkdirSync(join(root, `d${String(i)}`))
    for (const name of names) writeFileSync(join(root, name), name)
    const found: string[] = []
    let batches = 0
    for await (const entries of walk(fd, { xattrs: true, bodies: 4096 })) {
      batches++
      for (const { path, body } of entries) {
        if (body !== undefined) expect(body.equals(path)).toBe(true)
        found.push(path.toString())
      }
    }
    expect(batches).toBeGreaterThan(2)
    expect(found).toEqual([...names, ...Array.from({ length: 7 }, (_, i) => `d${String(i)}`)].sort())
  })

  it('has bounded files open, however many there are', async () => {
    writeFileSync(join(root, 'f'), 'x')
    for (let i = 0; i < 1000; i++) linkSync(join(root, 'f'), join(root, `f${String(i)}`))
    let most = 0
    for await (const entries of walk(fd, { xattrs: false, bodies: 4096 })) {
      most = Math.max(most, [...entries].filter(({ file }) => file !== undefined).length)
    }
    expect(most).toBe(64)
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

  it('is not led away, nor stopped, by what turns into something else under it', async () => {
    await tree(root, [
      fileAt('outside/secret', 'secret'),
      ...Array.from({ length: 300 }, (_, i) => fileAt(`in/${String(i)}`, 'in')),
    ])
    const deadline = Date.now() + 2000
    let stop = false
    const swapping = (async (): Promise<void> => {
      for (let round = 0; !stop; round++) {
        const at = join(root, 'in', String(round % 300))
        rmSync(at, { recursive: true, force: true })
        if (round % 4 === 0) symlinkSync('../outside', at)
        else if (round % 4 === 1) mkdirSync(at)
        else if (round % 4 === 2) writeFileSync(at, 'in')
        else writeFileSync(at, 'longer than before')
        if (round % 4 === 3) truncateSync(at, 2)
        if (round % 16 === 0) await new Promise((resolve) => setImmediate(resolve))
      }
    })()
    try {
      for (let walks = 0; walks < 20 || Date.now() < deadline; walks++) {
        for await (const { path, body, stat } of each({ bodies: 4096, xattrs: true })) {
          if (body !== undefined) expect(body.length).toBe(stat.size)
          expect(path.toString()).toMatch(/^(outside(\/secret)?|in|in\/\d+)$/)
        }
        if (walks > 200) break
      }
    } finally {
      stop = true
      await swapping
    }
  })

  it('says which folder it cannot read', async () => {
    expect(() => binding.walkNext({} as never)).toThrow(TypeError)
    const file = openSync(join(root), 'r')
    closeSync(file)
    const walking = async (): Promise<void> => {
      for await (const entries of walk(file, { xattrs: false })) expect(entries).toBeDefined()
    }
    await expect(walking()).rejects.toMatchObject({ code: 'EBADF', syscall: 'openat', path: '.' })
  })

  it('closes what it has open when its reader stops, and when it fails', async () => {
    await tree(root, [fileAt('a/b/c/d', 'x'.repeat(10))])
    for await (const entry of each({ bodies: 1 })) {
      if (entry.path.toString() === 'a/b/c/d') break
    }
    await expect(paths({ bodies: 1, signal: AbortSignal.abort(new Error('stop')) })).rejects.toThrow('stop')
  })
})

describe('joinBytes', () => {
  it('puts a slash between two, and none at an empty one', () => {
    const join = (a: string, b: string): string => joinBytes(Buffer.from(a), Buffer.from(b)).toString()
    expect([join('a', 'b'), join('', 'b'), join('a', '')]).toEqual(['a/b', 'b', 'a'])
  })
})
