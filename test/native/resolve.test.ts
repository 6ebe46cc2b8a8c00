import { execFileSync } from 'node:child_process'
import { constants, mkdirSync, readlinkSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { AT_FDCWD, binding } from '../../lib/native/binding.ts'
import { OwnedFd } from '../../lib/native/fd.ts'
import { O_PATH } from '../../lib/native/flags.ts'
import { missing } from '../helpers/gates.ts'
import { watchLeaks } from '../helpers/mounts.ts'
import { tempDir, type TempDir } from '../helpers/temp-dir.ts'

describe.skipIf(missing('hasBinding', 'canMount')).each([
  ['openat2', true],
  ['component by component', false],
])('openInRoot by %s', (_, use) => {
  let temp: TempDir
  let root: string
  let rootFd: OwnedFd
  watchLeaks(() => [temp.path])
  beforeEach(async () => {
    binding.setOpenat2(use)
    temp = tempDir('resolve')
    root = join(temp.path, 'root')
    mkdirSync(join(root, 'dir/sub'), { recursive: true })
    writeFileSync(join(root, 'dir/sub/file'), '')
    writeFileSync(join(root, 'file'), '')
    writeFileSync(join(temp.path, 'secret'), '')
    rootFd = new OwnedFd(await binding.openat(AT_FDCWD, root, O_PATH | constants.O_DIRECTORY, 0))
  })
  afterEach(() => {
    rootFd.close()
    temp[Symbol.dispose]()
    binding.setOpenat2(true)
  })

  /** Where the opened path really is, below the root. */
  async function open(path: string | Buffer, flags = O_PATH): Promise<string> {
    using fd = new OwnedFd(await binding.openInRoot(rootFd.fd, path, flags, 0o600))
    const real = readlinkSync(`/proc/self/fd/${String(fd.fd)}`)
    expect(real.startsWith(root)).toBe(true)
    return real.slice(root.length)
  }

  it.each([
    ['dir/sub/file', '/dir/sub/file'],
    ['/dir/sub/file', '/dir/sub/file'],
    ['./dir//sub/./file', '/dir/sub/file'],
    ['dir/sub/../../file', '/file'],
    ['../../../file', '/file'],
    ['dir/', '/dir'],
    ['.', ''],
    ['/', ''],
    ['..', ''],
  ])('opens %s', async (path, real) => {
    expect(await open(path)).toBe(real)
  })

  it.each([
    ['relative', 'sub', 'dir/link/file', '/dir/sub/file'],
    ['absolute', '/dir/sub', 'dir/link/file', '/dir/sub/file'],
    ['climbing out', '../../../../file', 'dir/link', '/file'],
    ['with a trailing slash', 'sub/', 'dir/link', '/dir/sub'],
    ['to the root', '/', 'dir/link', ''],
    ['to .', '.', 'dir/link/sub', '/dir/sub'],
  ])('follows a link that is %s inside the root', async (__, target, path, real) => {
    symlinkSync(target, join(root, 'dir/link'))
    expect(await open(path)).toBe(real)
  })

  it('does not follow the last link with O_NOFOLLOW, and follows it without', async () => {
    symlinkSync('file', join(root, 'link'))
    expect(await open('link', O_PATH | constants.O_NOFOLLOW)).toBe('/link')
    expect(await open('link')).toBe('/file')
    await expect(open('link', constants.O_RDONLY | constants.O_NOFOLLOW)).rejects.toMatchObject({
      code: 'ELOOP',
    })
  })

  it.each([
    ['what is missing', 'dir/no/file', 0, 'ENOENT'],
    ['a file as a folder', 'file/x', 0, 'ENOTDIR'],
    ['a file with a trailing slash', 'file/', 0, 'ENOTDIR'],
    ['a file with O_DIRECTORY', 'file', constants.O_DIRECTORY, 'ENOTDIR'],
    ['an empty path', '', 0, 'ENOENT'],
    ['a secret by its real path', 'dir/../../secret', 0, 'ENOENT'],
    ['an existing file with O_EXCL', 'file', constants.O_CREAT | constants.O_EXCL, 'EEXIST'],
    ['a long name', 'x'.repeat(256), 0, 'ENAMETOOLONG'],
  ])('refuses %s', async (__, path, flags, code) => {
    await expect(open(path, flags)).rejects.toMatchObject({ code, path })
  })

  it('creates a file, through a dangling link too, but not with O_EXCL', async () => {
    const flags = constants.O_CREAT | constants.O_WRONLY
    expect(await open('dir/new', flags)).toBe('/dir/new')
    symlinkSync('/dir/made', join(root, 'dangling'))
    await expect(open('dangling', flags | constants.O_EXCL)).rejects.toMatchObject({ code: 'EEXIST' })
    expect(await open('dangling', flags)).toBe('/dir/made')
  })

  it('follows 40 links and no more', async () => {
    const chain = (count: number): string => {
      for (let i = 0; i < count; i++)
        symlinkSync(i === 0 ? 'file' : `c${String(i - 1)}`, join(root, `c${String(i)}`))
      return `c${String(count - 1)}`
    }
    expect(await open(chain(40))).toBe('/file')
    symlinkSync('c39', join(root, 'one-more'))
    await expect(open('one-more')).rejects.toMatchObject({ code: 'ELOOP' })
  })

  it('does not cross into another mount', async () => {
    await binding.mount('none', join(root, 'dir/sub'), 'tmpfs', 0, '')
    try {
      await expect(open('dir/sub')).rejects.toMatchObject({ code: 'EXDEV' })
      await expect(open('dir/sub/file')).rejects.toMatchObject({ code: 'EXDEV' })
      expect(await open('dir')).toBe('/dir')
    } finally {
      await binding.umount2(join(root, 'dir/sub'), 0)
    }
  })

  it('does not cross into a bind mount of the same file system', async () => {
    execFileSync('mount', ['--bind', temp.path, join(root, 'dir/sub')])
    try {
      await expect(open('dir/sub/secret')).rejects.toMatchObject({ code: 'EXDEV' })
    } finally {
      await binding.umount2(join(root, 'dir/sub'), 0)
    }
  })

  it('does not follow a magic link', async () => {
    using proc = new OwnedFd(await binding.openat(AT_FDCWD, '/proc/self', O_PATH, 0))
    await expect(binding.openInRoot(proc.fd, 'cwd/', O_PATH, 0)).rejects.toMatchObject({
      code: expect.stringMatching(/ELOOP|EXDEV/) as string,
    })
    await expect(binding.openInRoot(proc.fd, `fd/${String(proc.fd)}`, O_PATH, 0)).rejects.toMatchObject({
      code: expect.stringMatching(/ELOOP|EXDEV/) as string,
    })
  })

  it('never leaves the root while a folder on the way is swapped for a link', async () => {
    symlinkSync('../../..', join(root, 'evil'))
    const worker = new Worker(swapper, {
      eval: true,
      workerData: { a: join(root, 'dir/sub'), b: join(root, 'evil') },
    })
    let opened = 0
    try {
      for (let i = 0; i < 300; i++) {
        // `open` itself asserts that what it got is below the root.
        await open('dir/sub/../../file').then(
          () => opened++,
          (error: unknown) => {
            expect(error).toMatchObject({
              code: expect.stringMatching(/^(ENOENT|ENOTDIR|ELOOP|EAGAIN)$/) as string,
            })
          },
        )
        await expect(binding.openInRoot(rootFd.fd, 'dir/sub/secret', O_PATH, 0)).rejects.toThrow()
      }
    } finally {
      await worker.terminate()
    }
    expect(opened).toBeGreaterThan(0)
  })
})

/** Exchanges two names as fast as it can. */
const swapper = `
  const { renameSync } = require('node:fs')
  const { workerData: { a, b } } = require('node:worker_threads')
  const c = a + '.swap'
  for (;;) { renameSync(a, c); renameSync(b, a); renameSync(c, b) }
`
