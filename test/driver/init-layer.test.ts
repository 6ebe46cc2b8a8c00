import { execFileSync } from 'node:child_process'
import { mkdirSync, openSync, closeSync, readdirSync, readFileSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { setupInitLayer } from '../../lib/driver/init-layer.ts'
import { startDockerd } from '../helpers/dockerd.ts'
import { missing } from '../helpers/gates.ts'
import { loopFileSystem } from '../helpers/loopfs.ts'
import { watchLeaks } from '../helpers/mounts.ts'
import { type TempDir, tempDir } from '../helpers/temp-dir.ts'
import { dirAt, dumpTree, fileAt, symlinkAt, tree } from '../../lib/driver-suite/tree.ts'

const ALL = [
  '.dockerenv file 0755 0:0',
  'dev dir 0755 0:0',
  'dev/console file 0755 0:0',
  'dev/pts dir 0755 0:0',
  'dev/shm dir 0755 0:0',
  'etc dir 0755 0:0',
  'etc/hostname file 0755 0:0',
  'etc/hosts file 0755 0:0',
  'etc/mtab symlink 0777 0:0',
  'etc/resolv.conf file 0755 0:0',
  'proc dir 0755 0:0',
  'sys dir 0755 0:0',
]

describe.skipIf(missing('hasBinding', 'canChown'))('setupInitLayer', () => {
  let temp: TempDir
  let root: string
  watchLeaks(() => [root])
  beforeEach(() => {
    temp = tempDir('init')
    root = join(temp.path, 'root')
    mkdirSync(root)
  })
  afterEach(() => {
    temp[Symbol.dispose]()
  })

  const setup = async (): Promise<void> => {
    const fd = openSync(root, 'r')
    const umask = process.umask(0o077)
    try {
      await setupInitLayer(fd)
    } finally {
      process.umask(umask)
      closeSync(fd)
    }
  }
  /** Path, type, mode and owner of everything. */
  const dump = async (): Promise<string[]> =>
    (await dumpTree(root, { mtime: false, nlink: false, root: false })).map((line) =>
      line.split(' ').slice(0, 4).join(' '),
    )

  it('makes ten names in an empty root, whatever the umask', async () => {
    await setup()
    expect(await dump()).toEqual(ALL)
    expect(execFileSync('readlink', [join(root, 'etc/mtab')], { encoding: 'utf8' })).toBe('/proc/mounts\n')
    for (const name of ['.dockerenv', 'dev/console', 'etc/hosts'])
      expect(readFileSync(join(root, name), 'utf8')).toBe('')
  })

  it('does nothing new a second time', async () => {
    await setup()
    await setup()
    expect(await dump()).toEqual(ALL)
  })

  it('keeps folders as they are, with all in them', async () => {
    await tree(root, [
      dirAt('etc', { mode: 0o700, uid: 5 }),
      fileAt('etc/passwd', 'x'),
      dirAt('proc', { mode: 0o555 }),
      dirAt('etc/hosts', { mode: 0o711 }),
    ])
    await setup()
    const lines = await dump()
    expect(lines).toContain('etc dir 0700 5:0')
    expect(lines).toContain('etc/passwd file 0644 0:0')
    expect(lines).toContain('proc dir 0555 0:0')
    expect(lines).toContain('etc/hosts dir 0711 0:0')
  })

  it("empties the image's files", async () => {
    await tree(root, [
      fileAt('etc/resolv.conf', 'nameserver 1.1.1.1', { mode: 0o644, uid: 7 }),
      fileAt('etc/mtab', 'x'),
    ])
    await setup()
    expect(await dump()).toEqual(ALL)
    expect(readFileSync(join(root, 'etc/resolv.conf'), 'utf8')).toBe('')
  })

  it('is led nowhere by links', async () => {
    const outside = join(temp.path, 'outside')
    mkdirSync(outside)
    await tree(outside, [fileAt('resolv.conf', 'untouched'), dirAt('etc')])
    symlinkSync(outside, join(root, 'dev'))
    symlinkSync('../outside/etc', join(root, 'etc'))
    symlinkSync('..', join(root, 'proc'))
    await tree(root, [symlinkAt('sys', '/')])
    const before = await dumpTree(outside)
    await setup()
    expect(await dump()).toEqual(ALL)
    expect(await dumpTree(outside)).toEqual(before)
  })

  it('replaces files on the way', async () => {
    await tree(root, [fileAt('dev', 'not a folder'), fileAt('etc', ''), fileAt('sys', '')])
    await setup()
    expect(await dump()).toEqual(ALL)
  })

  it.skipIf(missing('canLoop', 'hasDockerd', 'hasDocker'))(
    'makes what dockerd makes, on the same image',
    async () => {
      using fs = loopFileSystem('ext4')
      const image = join(temp.path, 'image')
      mkdirSync(image)
      await tree(image, [
        fileAt('etc/resolv.conf', 'nameserver 1.1.1.1'),
        symlinkAt('etc/hosts', '/run/hosts'),
        dirAt('etc/hostname', { mode: 0o711 }),
        symlinkAt('sys', 'usr'),
        dirAt('usr'),
        dirAt('proc', { mode: 0o555 }),
      ])
      const dockerRoot = join(fs.dir, 'root')
      const dockerd = await startDockerd(dockerRoot, join(fs.dir, 'scratch'))
      try {
        dockerd.dockerWith(execFileSync('tar', ['-C', image, '-c', '.']), 'import', '-', 'base:1')
        dockerd.docker('create', 'base:1', '/none')
      } finally {
        await dockerd.stop()
      }
      const home = join(dockerRoot, 'overlay2')
      const init = readdirSync(home).find((name) => name.endsWith('-init')) ?? ''
      const merged = async (layers: string[]): Promise<string[]> => {
        const target = join(temp.path, 'merged')
        mkdirSync(target, { recursive: true })
        execFileSync('mount', ['-t', 'overlay', 'overlay', '-o', `lowerdir=${layers.join(':')}`, target])
        try {
          return await dumpTree(target, { mtime: false, root: false })
        } finally {
          execFileSync('umount', [target])
        }
      }
      const theirs = await merged([join(home, init, 'diff'), image])
      await tree(root, [])
      execFileSync('cp', ['-a', `${image}/.`, root])
      await setup()
      expect(await dumpTree(root, { mtime: false, root: false })).toEqual(theirs)
    },
  )
})
