import { execFileSync } from 'node:child_process'
import { chmodSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import ts from 'typescript'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import {
  fsyncDir,
  mkdirDurable,
  mkdirsDurable,
  renameDurable,
  writeFileAtomic,
  writeNew,
} from '../../lib/fs/atomic.ts'
import { missing } from '../helpers/gates.ts'
import { type TempDir, tempDir } from '../helpers/temp-dir.ts'

const FULL = { durability: 'full' } as const
const NONE = { durability: 'none' } as const

let temp: TempDir
let dir: string
let umask: number

beforeEach(() => {
  temp = tempDir('atomic')
  dir = temp.path
  umask = process.umask(0o077)
})
afterEach(() => {
  process.umask(umask)
  temp[Symbol.dispose]()
})

const modeOf = (path: string): number => statSync(path).mode & 0o7777

describe('writeFileAtomic', () => {
  it('writes exactly the bytes and the mode, whatever the umask', async () => {
    const bytes = Buffer.from([0, 1, 0xff, 0x0a])
    await writeFileAtomic(join(dir, 'a'), bytes, { ...FULL, mode: 0o644 })
    await writeFileAtomic(join(dir, 'b'), 'text', { ...NONE, mode: 0o666 })
    expect(readFileSync(join(dir, 'a'))).toEqual(bytes)
    expect([modeOf(join(dir, 'a')), modeOf(join(dir, 'b'))]).toEqual([0o644, 0o666])
    expect(readdirSync(dir)).toEqual(['a', 'b'])
  })

  it('replaces content and mode', async () => {
    const path = join(dir, 'a')
    await writeFileAtomic(path, 'old and longer', { ...FULL, mode: 0o600 })
    const { ino } = statSync(path)
    await writeFileAtomic(path, 'new', { ...FULL, mode: 0o644 })
    expect(readFileSync(path, 'utf8')).toBe('new')
    expect(modeOf(path)).toBe(0o644)
    expect(statSync(path).ino).not.toBe(ino)
  })

  it('has the whole file under a temporary name before the rename, and the old one still in place', async () => {
    const path = join(dir, 'a')
    writeFileSync(path, 'old')
    let seen: string[] = []
    const beforeRename = (): void => {
      const names = readdirSync(dir)
      seen = names.map((name) => `${name.slice(0, 6)} ${readFileSync(join(dir, name), 'utf8')}`)
    }
    await writeFileAtomic(path, 'new', { ...FULL, mode: 0o600, beforeRename })
    expect(seen.sort()).toEqual(['.tmp-a new', 'a old'])
  })

  it('leaves the old file and nothing else, when it fails before the rename', async () => {
    const path = join(dir, 'a')
    writeFileSync(path, 'old')
    const beforeRename = (): void => {
      throw new Error('power cut')
    }
    await expect(writeFileAtomic(path, 'new', { ...FULL, mode: 0o600, beforeRename })).rejects.toThrow(
      'power cut',
    )
    expect(readdirSync(dir)).toEqual(['a'])
    expect(readFileSync(path, 'utf8')).toBe('old')
  })

  it('does not replace a folder', async () => {
    mkdirSync(join(dir, 'a'))
    const writing = writeFileAtomic(join(dir, 'a'), 'new', { ...FULL, mode: 0o600 })
    await expect(writing).rejects.toMatchObject({ code: 'EISDIR' })
    expect(readdirSync(dir)).toEqual(['a'])
  })

  it('does not make the folder', async () => {
    const writing = writeFileAtomic(join(dir, 'none/a'), 'new', { ...FULL, mode: 0o600 })
    await expect(writing).rejects.toMatchObject({ code: 'ENOENT' })
  })

  it('lets the last of many writers win, whole', async () => {
    const path = join(dir, 'a')
    const texts = Array.from({ length: 20 }, (_, index) => index.toString().repeat(5000))
    await Promise.all(texts.map((text) => writeFileAtomic(path, text, { ...NONE, mode: 0o600 })))
    expect(texts).toContain(readFileSync(path, 'utf8'))
    expect(readdirSync(dir)).toEqual(['a'])
  })
})

describe.skipIf(missing('hasStrace'))('the order of system calls', () => {
  /** Compiles a source file of lib/ below `dir`, for a process of its own. */
  const compile = (path: string): void => {
    const source = readFileSync(join(import.meta.dirname, '../../lib', path), 'utf8')
    const compilerOptions = {
      module: ts.ModuleKind.ESNext,
      target: ts.ScriptTarget.ES2022,
      rewriteRelativeImportExtensions: true,
    }
    const target = join(dir, 'lib', path.replace(/\.ts$/, '.js'))
    mkdirSync(dirname(target), { recursive: true })
    writeFileSync(target, ts.transpileModule(source, { compilerOptions }).outputText)
  }

  /** The calls on the file and its folder, each with which of the two. */
  const trace = (durability: string): string[] => {
    writeFileSync(join(dir, 'package.json'), '{"type":"module"}')
    compile('fs/atomic.ts')
    compile('errors.ts')
    writeFileSync(
      join(dir, 'script.js'),
      `import { writeFileAtomic } from './lib/fs/atomic.js'
       await writeFileAtomic('${dir}/x', 'data', { mode: 0o640, durability: '${durability}' })`,
    )
    const calls = 'trace=write,pwrite64,fchmod,fsync,fdatasync,rename,renameat,renameat2'
    const out = join(dir, 'trace')
    execFileSync('strace', ['-f', '-y', '-e', calls, '-o', out, process.execPath, join(dir, 'script.js')])
    return readFileSync(out, 'utf8')
      .split('\n')
      .filter((line) => line.includes(dir))
      .map((line) => `${/ (\w+)\(/.exec(line)?.[1] ?? ''} ${line.includes('.tmp-x') ? 'file' : 'folder'}`)
  }

  it('is write, mode, fsync, rename, fsync of the folder', () => {
    expect(trace('full')).toEqual(['write file', 'fchmod file', 'fsync file', 'rename file', 'fsync folder'])
  })

  it('is the same without the syncs, when nothing is to outlive the machine', () => {
    expect(trace('none')).toEqual(['write file', 'fchmod file', 'rename file'])
  })
})

describe('writeNew', () => {
  it('refuses a name that is taken', async () => {
    await writeNew(join(dir, 'a'), 'one', { ...FULL, mode: 0o644 })
    await expect(writeNew(join(dir, 'a'), 'two', { ...FULL, mode: 0o644 })).rejects.toMatchObject({
      code: 'EEXIST',
    })
    expect(readFileSync(join(dir, 'a'), 'utf8')).toBe('one')
    expect(modeOf(join(dir, 'a'))).toBe(0o644)
  })
})

describe('folders', () => {
  it('are made with exactly their mode', async () => {
    expect(await mkdirDurable(join(dir, 'a'), { ...FULL, mode: 0o2755 })).toBe(true)
    expect(modeOf(join(dir, 'a'))).toBe(0o2755)
  })

  it('that exist are kept as they are', async () => {
    mkdirSync(join(dir, 'a'))
    chmodSync(join(dir, 'a'), 0o711)
    expect(await mkdirDurable(join(dir, 'a'), { ...FULL, mode: 0o700 })).toBe(false)
    expect(modeOf(join(dir, 'a'))).toBe(0o711)
  })

  it('above a missing one are made too', async () => {
    await mkdirsDurable(join(dir, 'a/b/c'), { ...NONE, mode: 0o710 })
    await mkdirsDurable(join(dir, 'a/b/c'), { ...NONE, mode: 0o710 })
    expect(['a', 'a/b', 'a/b/c'].map((path) => modeOf(join(dir, path)))).toEqual([0o710, 0o710, 0o710])
  })

  it('are not made below a file', async () => {
    writeFileSync(join(dir, 'a'), '')
    await expect(mkdirsDurable(join(dir, 'a/b'), { ...NONE, mode: 0o710 })).rejects.toMatchObject({
      code: 'ENOTDIR',
    })
  })

  it('are synced, or left alone', async () => {
    await fsyncDir(dir, FULL)
    await expect(fsyncDir(join(dir, 'none'), FULL)).rejects.toMatchObject({ code: 'ENOENT' })
    await fsyncDir(join(dir, 'none'), NONE)
  })
})

describe('renameDurable', () => {
  it('moves between folders', async () => {
    mkdirSync(join(dir, 'a'))
    mkdirSync(join(dir, 'b'))
    writeFileSync(join(dir, 'a/x'), 'x')
    await renameDurable(join(dir, 'a/x'), join(dir, 'b/y'), FULL)
    expect([readdirSync(join(dir, 'a')), readdirSync(join(dir, 'b'))]).toEqual([[], ['y']])
  })
})
