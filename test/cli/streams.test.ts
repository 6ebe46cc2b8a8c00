import {
  chmodSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { Readable, Writable } from 'node:stream'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Interrupt } from '../../lib/cli/interrupt.ts'
import { OverlaidError } from '../../lib/errors.ts'
import { tempDir, type TempDir } from '../helpers/temp-dir.ts'
import { chunks, run } from './support/host.ts'

let temp: TempDir
beforeEach(() => {
  temp = tempDir('cli')
})
afterEach(() => temp[Symbol.dispose]())

const saving = (save: () => AsyncIterable<Buffer>): object => ({ images: { save } })
const whole = saving(() => chunks('one ', 'two'))
const broken = saving(async function* () {
  yield Buffer.from('one ')
  throw new OverlaidError('ERR_DIGEST_MISMATCH', 'not what it was')
})

describe('an archive to stdout', () => {
  it('is the bytes and nothing else', async () => {
    expect(await run(['save', 'a:1'], { store: whole })).toMatchObject({
      status: 0,
      stdout: 'one two',
      stderr: '',
    })
  })

  it.each([
    ['save', 'a:1'],
    ['export', 'web'],
  ])('%s refuses a terminal before the store is opened', async (...argv) => {
    const { status, stdout, stderr, opened } = await run(argv, { terminal: ['stdout'] })
    expect([status, stdout, opened]).toEqual([2, '', []])
    expect(stderr).toContain('hint: name a file with -o')
  })

  it('ends quietly when the reader has gone, and stops the work', async () => {
    let stopped = false
    const store = saving(async function* () {
      try {
        for (;;) yield Buffer.from('more')
      } finally {
        stopped = true
      }
    })
    const stdout = new Writable({
      write(_chunk, _encoding, done) {
        done(Object.assign(new Error('write EPIPE'), { code: 'EPIPE' }))
      },
    }).on('error', () => {})
    const result = await run(['save', 'a:1'], { store, stdout })
    expect(result).toMatchObject({ status: 141, stderr: '', closed: true })
    expect(stopped).toBe(true)
  })

  it('does not take a full disk for a reader that has gone', async () => {
    const stdout = new Writable({
      write(_chunk, _encoding, done) {
        done(Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC' }))
      },
    }).on('error', () => {})
    const result = await run(['save', 'a:1'], { store: whole, stdout })
    expect(result).toMatchObject({ status: 1, stderr: 'overlaid: ENOSPC: no space left on device, write\n' })
  })
})

describe('an archive to -o', () => {
  it('is whole, private, and alone in its folder', async () => {
    const file = join(temp.path, 'out.tar')
    expect(await run(['save', '-o', file, 'a:1'], { store: whole })).toMatchObject({ status: 0, stdout: '' })
    expect(readFileSync(file, 'utf8')).toBe('one two')
    expect(statSync(file).mode & 0o777).toBe(0o600)
    expect(readdirSync(temp.path)).toEqual(['out.tar'])
  })

  it('leaves what was there when it fails', async () => {
    const file = join(temp.path, 'out.tar')
    writeFileSync(file, 'before')
    expect(await run(['save', '-o', file, 'a:1'], { store: broken })).toMatchObject({ status: 6 })
    expect(readFileSync(file, 'utf8')).toBe('before')
    expect(readdirSync(temp.path)).toEqual(['out.tar'])
  })

  it('leaves nothing when it is interrupted', async () => {
    const controller = new AbortController()
    const store = saving(async function* () {
      yield Buffer.from('one ')
      controller.abort(new Interrupt('SIGINT'))
      controller.signal.throwIfAborted()
    })
    const file = join(temp.path, 'out.tar')
    const { status } = await run(['save', '-o', file, 'a:1'], { store, signal: controller.signal })
    expect([status, readdirSync(temp.path)]).toEqual([130, []])
  })

  it('goes where a symlink leads, which stays', async () => {
    mkdirSync(join(temp.path, 'real'))
    const file = join(temp.path, 'real/out.tar')
    writeFileSync(file, 'before')
    symlinkSync('real/out.tar', join(temp.path, 'link'))
    await run(['save', '-o', join(temp.path, 'link'), 'a:1'], { store: whole })
    expect(readFileSync(file, 'utf8')).toBe('one two')
    expect(
      readdirSync(temp.path, { withFileTypes: true })
        .find(({ name }) => name === 'link')
        ?.isSymbolicLink(),
    ).toBe(true)
  })

  it('writes into a fifo and leaves it one', async () => {
    const fifo = join(temp.path, 'fifo')
    execFileSync('mkfifo', [fifo])
    const { open } = await import('node:fs/promises')
    const reader = await open(fifo, 'r+')
    const { status } = await run(['save', '-o', fifo, 'a:1'], { store: whole })
    const { buffer, bytesRead } = await reader.read(Buffer.alloc(64))
    await reader.close()
    expect([status, buffer.toString('utf8', 0, bytesRead)]).toEqual([0, 'one two'])
    expect(statSync(fifo).isFIFO()).toBe(true)
  })

  it('fails before any work when there is no such folder', async () => {
    let asked = false
    const store = saving(async function* () {
      asked = true
      yield Buffer.from('x')
    })
    const result = await run(['save', '-o', join(temp.path, 'none/out.tar'), 'a:1'], { store })
    expect(result).toMatchObject({ status: 1 })
    expect([asked, result.stderr]).toEqual([false, expect.stringContaining('ENOENT')])
  })
})

describe('an archive from -i', () => {
  const importing = (read: (bytes: Buffer) => void): object => ({
    images: {
      import: async (tar: AsyncIterable<Buffer>) => {
        const parts: Buffer[] = []
        for await (const part of tar) parts.push(part)
        read(Buffer.concat(parts))
        return { id: 'x', names: [] }
      },
    },
  })

  it('is read as it is', async () => {
    const file = join(temp.path, 'in.tar')
    writeFileSync(file, 'rootfs')
    let seen = ''
    const store = importing((bytes) => (seen = bytes.toString()))
    expect(await run(['import', '-i', file, 'a:1'], { store })).toMatchObject({ status: 0 })
    expect(seen).toBe('rootfs')
  })

  it('that is not there is an error with its path', async () => {
    const file = join(temp.path, 'none.tar')
    const { status, stderr } = await run(['--json', 'import', '-i', file, 'a:1'], {
      store: importing(() => {}),
    })
    expect(status).toBe(1)
    expect(JSON.parse(stderr)).toMatchObject({
      error: { code: 'ENOENT', syscall: 'open', path: file, errno: -2 },
    })
  })
})

describe('an archive from stdin', () => {
  it('is not waited for any longer when a signal comes', async () => {
    const controller = new AbortController()
    const stdin = new Readable({ read() {} })
    const store = {
      images: {
        loadAll: async (from: AsyncIterable<Buffer>) => {
          queueMicrotask(() => controller.abort(new Interrupt('SIGINT')))
          for await (const _ of from);
        },
      },
    }
    const result = await run(['load'], { store, stdin, signal: controller.signal })
    expect(result).toMatchObject({ status: 130, closed: true })
    expect(stdin.destroyed).toBe(true)
  })
})

it('a file that may not be written to is no archive of ours', async () => {
  const folder = join(temp.path, 'folder')
  mkdirSync(folder)
  chmodSync(folder, 0o700)
  const { status, stderr } = await run(['save', '-o', folder, 'a:1'], { store: whole })
  expect([status, stderr]).toEqual([1, expect.stringContaining('EISDIR')])
})
