/** copyFileRange: from one descriptor to another, whatever the two are. */
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  closeSync,
  fstatSync,
  openSync,
  readFileSync,
  readSync,
  statSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { binding } from '../../lib/native/binding.ts'
import { missing } from '../helpers/gates.ts'
import { loopFileSystem } from '../helpers/loopfs.ts'
import { watchLeaks } from '../helpers/mounts.ts'
import { MIB } from '../helpers/sizes.ts'
import { type TempDir, tempDir } from '../helpers/temp-dir.ts'

/** Bytes that a shift or a swap would show in. */
const pattern = (length: number): Buffer =>
  Buffer.from(Uint8Array.from({ length }, (_, i) => (i * 31 + (i >> 8)) & 0xff))

describe.skipIf(missing('hasBinding'))('copyFileRange', () => {
  let temp: TempDir
  watchLeaks(() => [temp.path])
  beforeEach(() => {
    temp = tempDir('copy')
  })
  afterEach(() => {
    temp[Symbol.dispose]()
  })

  /** Opens for the time of `work`. */
  const withOpen = async <T>(path: string, flags: string, work: (fd: number) => Promise<T>): Promise<T> => {
    const fd = openSync(path, flags)
    try {
      return await work(fd)
    } finally {
      closeSync(fd)
    }
  }
  const copy = (from: string, to: string, count: number, flags = 'w'): Promise<number> =>
    withOpen(from, 'r', (input) =>
      withOpen(to, flags, (output) => binding.copyFileRange(input, output, count)),
    )
  const at = (name: string): string => join(temp.path, name)

  it('copies from position to position and says how much', async () => {
    const bytes = pattern(3 * MIB + 17)
    writeFileSync(at('in'), bytes)
    await withOpen(at('in'), 'r', (input) =>
      withOpen(at('out'), 'w', async (output) => {
        readSync(input, Buffer.alloc(10))
        writeSync(output, 'head')
        expect(await binding.copyFileRange(input, output, 1000)).toBe(1000)
        expect(await binding.copyFileRange(input, output, 10 * MIB)).toBe(bytes.length - 1010)
        expect(await binding.copyFileRange(input, output, 10 * MIB)).toBe(0)
        writeSync(output, 'tail')
      }),
    )
    const expected = Buffer.concat([Buffer.from('head'), bytes.subarray(10), Buffer.from('tail')])
    expect(readFileSync(at('out')).equals(expected)).toBe(true)
  })

  it('copies to another file system, and from one without sizes', async () => {
    using disk = loopFileSystem('ext4')
    const bytes = pattern(2 * MIB + 1)
    writeFileSync(at('in'), bytes)
    expect(await copy(at('in'), join(disk.dir, 'out'), bytes.length)).toBe(bytes.length)
    expect(readFileSync(join(disk.dir, 'out')).equals(bytes)).toBe(true)
    const version = readFileSync('/proc/version')
    expect(await copy('/proc/version', at('out'), 10_000)).toBe(version.length)
    expect(readFileSync(at('out'))).toEqual(version)
  })

  it('appends where the file is open for appending', async () => {
    writeFileSync(at('in'), pattern(5000))
    writeFileSync(at('out'), 'before')
    expect(await copy(at('in'), at('out'), 5000, 'a')).toBe(5000)
    expect(readFileSync(at('out'))).toEqual(Buffer.concat([Buffer.from('before'), pattern(5000)]))
  })

  it('copies into a pipe', async () => {
    execFileSync('mkfifo', [at('fifo')])
    const bytes = pattern(MIB)
    writeFileSync(at('in'), bytes)
    const reader = spawn('sh', ['-c', 'cat "$0" > "$1"', at('fifo'), at('out')])
    const ended = once(reader, 'exit')
    expect(await copy(at('in'), at('fifo'), bytes.length)).toBe(bytes.length)
    await ended
    expect(readFileSync(at('out')).equals(bytes)).toBe(true)
  })

  it('leaves holes at the end of a file, and writes zeros over what is there', async () => {
    const size = 64 * MIB
    writeFileSync(at('in'), '')
    truncateSync(at('in'), size)
    await withOpen(at('in'), 'r+', async (fd) => {
      writeSync(fd, 'middle', 20 * MIB)
      await binding.fsetxattr(fd, 'user.x', Buffer.from('x'), 0)
    })
    await withOpen(at('in'), 'r', (input) =>
      withOpen(at('out'), 'w', async (output) => {
        expect(await binding.copyFileRange(input, output, size)).toBe(size)
        writeSync(output, 'end')
        expect(fstatSync(output).size).toBe(size + 3)
      }),
    )
    expect(statSync(at('out')).blocks * 512).toBeLessThan(2 * MIB)
    expect(
      readFileSync(at('out'))
        .subarray(0, size)
        .equals(readFileSync(at('in'))),
    ).toBe(true)
    writeFileSync(at('full'), Buffer.alloc(size, 1))
    expect(await copy(at('in'), at('full'), size, 'r+')).toBe(size)
    expect(readFileSync(at('full')).equals(readFileSync(at('in')))).toBe(true)
  })

  it('ends where a file that shrank does', async () => {
    writeFileSync(at('in'), pattern(5000))
    await withOpen(at('in'), 'r', (input) =>
      withOpen(at('out'), 'w', async (output) => {
        truncateSync(at('in'), 1234)
        expect(await binding.copyFileRange(input, output, 5000)).toBe(1234)
      }),
    )
  })

  it('says what went wrong', async () => {
    writeFileSync(at('in'), pattern(5000))
    await expect(copy(at('in'), '/dev/full', 5000, 'r+')).rejects.toMatchObject({
      code: 'ENOSPC',
      syscall: 'write',
    })
    await expect(copy(at('in'), at('in'), 5000, 'r')).rejects.toMatchObject({
      code: 'EBADF',
      syscall: 'write',
    })
    await expect(copy(temp.path, at('out'), 5000)).rejects.toMatchObject({ code: 'EISDIR', syscall: 'read' })
    expect(() => binding.copyFileRange(0, 1, -1)).toThrow(TypeError)
  })
})
