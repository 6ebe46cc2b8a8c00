import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { AT_FDCWD, binding } from '../../lib/native/binding.ts'
import { OwnedFd } from '../../lib/native/fd.ts'
import { missing } from '../helpers/gates.ts'
import { watchLeaks } from '../helpers/mounts.ts'
import { tempDir, type TempDir } from '../helpers/temp-dir.ts'

describe.skipIf(missing('hasBinding', 'canMount')).each([
  ['openat2', true],
  ['component by component', false],
])('removeTree, entering by %s', (_, use) => {
  let temp: TempDir
  let tree: string
  watchLeaks(() => [temp.path])
  beforeEach(() => {
    binding.setOpenat2(use)
    temp = tempDir('remove')
    tree = join(temp.path, 'tree')
    mkdirSync(tree)
  })
  afterEach(() => {
    temp[Symbol.dispose]()
    binding.setOpenat2(true)
  })

  it('removes files, directories, nodes and names that are not UTF-8', async () => {
    mkdirSync(join(tree, 'a/b/c'), { recursive: true })
    writeFileSync(join(tree, 'a/b/file'), '')
    mkdirSync(Buffer.concat([Buffer.from(`${tree}/`), Buffer.from([0xff, 0xfe])]))
    writeFileSync(Buffer.concat([Buffer.from(`${tree}/`), Buffer.from([0xff, 0xfe, 0x2f, 0x80])]), '')
    await binding.mknodat(AT_FDCWD, join(tree, 'whiteout'), 0o020000, 0, 0)
    await binding.removeTree(AT_FDCWD, tree)
    expect(readdirSync(temp.path)).toEqual([])
  })

  it('removes links, not what they lead to', async () => {
    mkdirSync(join(temp.path, 'outside'))
    writeFileSync(join(temp.path, 'outside/kept'), '')
    symlinkSync('../outside', join(tree, 'link'))
    symlinkSync('/', join(tree, 'root'))
    await binding.removeTree(AT_FDCWD, tree)
    expect(existsSync(join(temp.path, 'outside/kept'))).toBe(true)
    symlinkSync('outside', tree)
    await binding.removeTree(AT_FDCWD, tree)
    expect(existsSync(join(temp.path, 'outside/kept'))).toBe(true)
    expect(readdirSync(temp.path)).toEqual(['outside'])
  })

  it('takes what is missing for removed, and a single file too', async () => {
    await binding.removeTree(AT_FDCWD, join(temp.path, 'nothing'))
    writeFileSync(join(temp.path, 'file'), '')
    await binding.removeTree(AT_FDCWD, join(temp.path, 'file'))
    expect(readdirSync(temp.path)).toEqual(['tree'])
  })

  it('removes a tree deeper than the number of descriptors allowed and the length of a path', async () => {
    // 2000 levels of 100 bytes: 200 kB of path, which no call would take at once.
    const name = 'x'.repeat(100)
    let fd = new OwnedFd(await binding.openat(AT_FDCWD, tree, 0, 0))
    for (let i = 0; i < 2000; i++) {
      await binding.mkdirat(fd.fd, name, 0o755)
      const next = new OwnedFd(await binding.openat(fd.fd, name, 0, 0))
      fd.close()
      fd = next
    }
    fd.close()
    await binding.removeTree(AT_FDCWD, tree)
    expect(readdirSync(temp.path)).toEqual([])
  })

  it('removes a directory with many entries', async () => {
    for (let i = 0; i < 5000; i++) writeFileSync(join(tree, `file-${String(i)}`), '')
    await binding.removeTree(AT_FDCWD, tree)
    expect(existsSync(tree)).toBe(false)
  })

  it('does not enter another mount', async () => {
    mkdirSync(join(tree, 'mnt'))
    await binding.mount('none', join(tree, 'mnt'), 'tmpfs', 0, '')
    writeFileSync(join(tree, 'mnt/kept'), '')
    await expect(binding.removeTree(AT_FDCWD, tree)).rejects.toMatchObject({
      code: 'EXDEV',
      path: 'tree/mnt',
    })
    expect(existsSync(join(tree, 'mnt/kept'))).toBe(true)
    await binding.umount2(join(tree, 'mnt'), 0)
  })

  it('does not empty a mount point', async () => {
    await binding.mount('none', tree, 'tmpfs', 0, '')
    writeFileSync(join(tree, 'kept'), '')
    for (const path of [tree, `${tree}/`, `${temp.path}/./tree`]) {
      await expect(binding.removeTree(AT_FDCWD, path)).rejects.toMatchObject({ code: 'EXDEV' })
    }
    expect(existsSync(join(tree, 'kept'))).toBe(true)
    await binding.umount2(tree, 0)
  })

  it.each(['', '/', '.', 'tree/..', 'tree/.'])('refuses %j', async (path) => {
    using fd = new OwnedFd(await binding.openat(AT_FDCWD, temp.path, 0, 0))
    await expect(binding.removeTree(fd.fd, path)).rejects.toMatchObject({ code: 'EINVAL' })
    expect(existsSync(tree)).toBe(true)
  })

  it('fails on an immutable file, naming it', async () => {
    mkdirSync(join(tree, 'a'))
    writeFileSync(join(tree, 'a/locked'), '')
    execFileSync('chattr', ['+i', join(tree, 'a/locked')])
    try {
      using fd = new OwnedFd(await binding.openat(AT_FDCWD, temp.path, 0, 0))
      await expect(binding.removeTree(fd.fd, 'tree')).rejects.toMatchObject({
        code: 'EPERM',
        syscall: 'unlinkat',
        path: 'tree/a/locked',
        hint: expect.stringContaining('immutable') as string,
      })
    } finally {
      execFileSync('chattr', ['-i', join(tree, 'a/locked')])
    }
  })
})
