/**
 * The same upper directory read by dockerd and by us: `docker diff` against changes(), the layer that `docker commit`
 * makes against diff(), byte for byte.
 */
import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  chownSync,
  linkSync,
  lutimesSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openOverlay2, type Overlay2Driver } from '../../lib/driver/overlay2/driver.ts'
import { type Dockerd, startDockerd } from '../helpers/dockerd.ts'
import { missing } from '../helpers/gates.ts'
import { collect, listed } from '../../lib/driver-suite/streams.ts'
import { type LoopFileSystem, loopFileSystem } from '../helpers/loopfs.ts'
import { charAt, dirAt, fileAt, fifoAt, hardlinkAt, symlinkAt, tree } from '../../lib/driver-suite/tree.ts'

const CAPABILITY = Buffer.from('0100000200040000000000000000000000000000', 'hex')

/** What containers do to a file system; `root` is the merged tree. */
const SCENARIOS: Record<string, (root: string) => void | Promise<void>> = {
  'nothing at all': () => undefined,
  'a new file in an old folder': (root) => writeFileSync(join(root, 'etc/new'), 'new'),
  'a new tree': async (root) => tree(root, [fileAt('srv/a/b/c', 'x'), dirAt('srv/empty', { mode: 0o700 })]),
  'a changed file': (root) => writeFileSync(join(root, 'etc/passwd'), 'changed'),
  'a file opened for writing and left as it was': (root) => truncateKeepingTime(join(root, 'etc/passwd')),
  'a file with the same size and another time': (root) => utimesSync(join(root, 'etc/passwd'), 5, 5),
  'a mode and an owner': (root) => {
    chmodSync(join(root, 'etc/passwd'), 0o600)
    chownSync(join(root, 'usr/bin/tool'), 5, 6)
  },
  "a folder's mode": (root) => chmodSync(join(root, 'usr'), 0o711),
  "a folder's time alone": (root) => utimesSync(join(root, 'usr'), 5, 5),
  'a deleted file': (root) => rmSync(join(root, 'etc/passwd')),
  'a deleted folder': (root) => rmSync(join(root, 'usr'), { recursive: true }),
  'everything deleted': (root) => {
    for (const name of ['etc', 'usr', 'opt', 'bin', 'tmp']) rmSync(join(root, name), { recursive: true })
  },
  'a folder deleted and made again': (root) => {
    rmSync(join(root, 'opt'), { recursive: true })
    mkdirSync(join(root, 'opt'))
    writeFileSync(join(root, 'opt/keep'), 'again')
    mkdirSync(join(root, 'opt/sub'))
    writeFileSync(join(root, 'opt/other'), '')
  },
  'a folder in place of a file': (root) => {
    rmSync(join(root, 'etc/passwd'))
    mkdirSync(join(root, 'etc/passwd'))
    writeFileSync(join(root, 'etc/passwd/x'), '')
  },
  'a file in place of a folder': (root) => {
    rmSync(join(root, 'opt'), { recursive: true })
    writeFileSync(join(root, 'opt'), 'now a file')
  },
  'a link in place of a folder': (root) => {
    rmSync(join(root, 'opt'), { recursive: true })
    symlinkSync('usr', join(root, 'opt'))
  },
  'a renamed file': (root) => renameSync(join(root, 'etc/passwd'), join(root, 'etc/passwd-')),
  'a new file deleted again': (root) => {
    writeFileSync(join(root, 'etc/brief'), '')
    rmSync(join(root, 'etc/brief'))
  },
  'a deleted file made again, the same': (root) => {
    const path = join(root, 'etc/passwd')
    const content = readFileSync(path)
    rmSync(path)
    writeFileSync(path, content)
    utimesSync(path, 1_700_000_000, 1_700_000_000)
  },
  'hard links, new and to an old file': (root) => {
    writeFileSync(join(root, 'etc/z'), 'linked')
    linkSync(join(root, 'etc/z'), join(root, 'etc/a'))
    linkSync(join(root, 'etc/passwd'), join(root, 'tmp/passwd'))
  },
  'several deletions, whose whiteouts are links of one inode': (root) => {
    for (const name of ['etc/passwd', 'usr/bin/tool', 'opt/keep', 'opt/sub/x']) rmSync(join(root, name))
  },
  'a capability': (root) => {
    const hex = `0x${CAPABILITY.toString('hex')}`
    execFileSync('setfattr', ['-n', 'security.capability', '-v', hex, join(root, 'usr/bin/tool')])
    utimesSync(join(root, 'usr/bin/tool'), 1_700_000_000, 1_700_000_000)
  },
  'devices, fifos and links': async (root) =>
    tree(root, [
      charAt('dev/mine', 1, 3),
      fifoAt('tmp/fifo'),
      symlinkAt('tmp/link', '/etc/passwd'),
      hardlinkAt('tmp/link2', 'tmp/link'),
    ]),
  'a changed link': (root) => {
    rmSync(join(root, 'bin'))
    symlinkSync('usr/sbin', join(root, 'bin'))
    lutimesSync(join(root, 'bin'), 9, 9)
  },
  'setuid, setgid and sticky': async (root) =>
    tree(root, [fileAt('tmp/suid', '', { mode: 0o6755 }), dirAt('tmp/sticky', { mode: 0o1777 })]),
  'names long, odd and not ASCII': async (root) =>
    tree(root, [
      fileAt(`${'d'.repeat(120)}/${'f'.repeat(120)}`, 'long'),
      fileAt('a b\\c', ''),
      fileAt('é', 'x'),
      fileAt(`tmp/${'x'.repeat(200)}`, ''),
    ]),
  'owners past 2097151 and times before 1970': async (root) =>
    tree(root, [
      fileAt('tmp/big', 'x', { uid: 3_000_000, gid: 4_000_000_000 }),
      fileAt('tmp/old', '', { mtime: -5 }),
    ]),
  'parts of seconds': async (root) => tree(root, [fileAt('tmp/ns', 'x', { mtimeNsec: 999_999_999 })]),
  'a socket': async (root) => {
    const server = createServer()
    await new Promise<void>((resolve) => server.listen(join(root, 'tmp/socket'), resolve))
    // close() would unlink it; a process that is killed does not.
    renameSync(join(root, 'tmp/socket'), join(root, 'tmp/left'))
    await new Promise((resolve) => server.close(resolve))
  },
  'names that sort one way by bytes and another by paths': async (root) =>
    tree(root, [fileAt('tmp/a/x'), fileAt('tmp/a.b'), fileAt('tmp/a-b'), fileAt('tmp/a'.concat('0'))]),
}

function truncateKeepingTime(path: string): void {
  const content = readFileSync(path)
  truncateSync(path, content.length)
  utimesSync(path, 1_700_000_000, 1_700_000_000)
}

describe.skipIf(missing('hasBinding', 'canMount', 'canLoop', 'hasDockerd', 'hasDocker'))('a dockerd', () => {
  let fs: LoopFileSystem
  let root: string
  let dockerd: Dockerd
  let driver: Overlay2Driver
  const containers = new Map<string, string>()

  beforeAll(async () => {
    fs = loopFileSystem('ext4')
    root = join(fs.dir, 'root')
    dockerd = await startDockerd(root, join(fs.dir, 'scratch'))
    driver = openOverlay2(join(root, 'overlay2'), { durability: 'none' })
    const base = mkdtempSync(join(fs.dir, 'base-'))
    await tree(base, [
      fileAt('etc/passwd', 'root:x:0:0:'),
      fileAt('usr/bin/tool', 'tool', { mode: 0o755 }),
      dirAt('usr/sbin'),
      fileAt('opt/keep', '1'),
      fileAt('opt/sub/x', '2'),
      fileAt('opt/sub/y', '3'),
      dirAt('tmp', { mode: 0o1777 }),
      symlinkAt('bin', 'usr/bin'),
    ])
    const tar = execFileSync('tar', ['-C', base, '-c', '.'])
    dockerd.dockerWith(tar, 'import', '-', 'base:1')
    for (const [index, name] of Object.keys(SCENARIOS).entries()) {
      dockerd.docker('create', '--name', `c${index.toString()}`, 'base:1', '/none')
      containers.set(name, `c${index.toString()}`)
    }
  }, 180_000)
  afterAll(async () => {
    await dockerd.stop()
    fs.dispose()
  })

  /** The writable layer of a container, and its parent. */
  const layerOf = (name: string): { id: string; init: string } => {
    const id = dockerd.docker('inspect', '-f', '{{.Id}}', name).trim()
    const record = join(root, 'image/overlay2/layerdb/mounts', id)
    return {
      id: readFileSync(join(record, 'mount-id'), 'utf8'),
      init: readFileSync(join(record, 'init-id'), 'utf8'),
    }
  }

  /** Lines as the daemon gives them, sorted as ours are; the client of 20.10 prints them in the daemon's order. */
  const dockerDiff = (name: string): string[] =>
    dockerd
      .docker('diff', name)
      .split('\n')
      .filter((line) => line !== '')
      .sort((a, b) => Buffer.compare(Buffer.from(a.slice(2)), Buffer.from(b.slice(2))))

  /** The top layer's tar of what docker commits. */
  const dockerCommit = (name: string): Buffer => {
    const image = `made:${name}`
    dockerd.docker('commit', name, image)
    const dir = mkdtempSync(join(fs.dir, 'save-'))
    dockerd.docker('save', '-o', join(dir, 'image.tar'), image)
    execFileSync('tar', ['-C', dir, '-xf', join(dir, 'image.tar')])
    const [manifest] = JSON.parse(readFileSync(join(dir, 'manifest.json'), 'utf8')) as { Layers: string[] }[]
    const layers = manifest?.Layers ?? []
    // An empty diff makes no layer: then there is only the base.
    return layers.length === 1
      ? Buffer.alloc(1024)
      : withoutWarts(readFileSync(join(dir, layers.at(-1) ?? '')))
  }

  it.each(Object.entries(SCENARIOS))('agrees with us on %s', async (name, change) => {
    const container = containers.get(name) ?? ''
    const { id, init } = layerOf(container)
    const mount = await driver.open(id)
    try {
      await change(`/proc/${process.pid.toString()}/fd/${mount.fd.fd.toString()}`)
    } finally {
      await mount[Symbol.asyncDispose]()
    }
    expect(await listed(driver.changes(id, init))).toEqual(dockerDiff(container))
    const [ours, theirs] = [await collect(driver.diff(id, init)), dockerCommit(container)]
    expect(members(ours)).toEqual(members(theirs))
    expect(ours.equals(theirs)).toBe(true)
  })

  it('finds a home of its own in order, and ours too', async () => {
    const ids = await driver.list()
    const referenced = new Map<string, string | undefined>()
    for (const id of ids) referenced.set(id, await driver.parent(id))
    expect(await driver.check(referenced)).toEqual([])
  })
})

/**
 * Takes two things out that we do not imitate. dockerd 20.10 looks the machine's names for owners up (Go's
 * tar.FileInfoHeader does; from 23.0 on it leaves them out, as we do). And of several whiteouts, which the kernel
 * makes links of one inode, it writes all but the first as plain files that still say what they are links to.
 */
function withoutWarts(tar: Buffer): Buffer {
  for (let at = 0; at < tar.length;) {
    const block = tar.subarray(at, at + 512)
    if (block.every((byte) => byte === 0)) break
    block.fill(0, 265, 329)
    if (block.toString('latin1', 156, 157) === '0') block.fill(0, 157, 257)
    block.fill(' ', 148, 156)
    const sum = block.reduce((total, byte) => total + byte, 0)
    block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1')
    const size = parseInt(block.toString('latin1', 124, 135), 8)
    at += 512 + Math.ceil(size / 512) * 512
  }
  return tar
}

/** What GNU tar lists, for a message that can be read. */
function members(tar: Buffer): string[] {
  return execFileSync('tar', ['--full-time', '-tvf', '-'], {
    input: tar,
    encoding: 'utf8',
    env: { ...process.env, TZ: 'UTC' },
  })
    .split('\n')
    .filter((line) => line !== '')
}
