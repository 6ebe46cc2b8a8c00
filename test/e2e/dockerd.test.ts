/** overlaid and a real dockerd on one data root: each reads, uses and keeps what the other wrote. */
import { execFileSync } from 'node:child_process'
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { demoImages } from '../../scripts/demo-images.mjs'
import { DEBIAN_NAME, debianImage } from '../fixtures/images/debian.mjs'
import { type Dockerd, startDockerd } from '../helpers/dockerd.ts'
import { missing } from '../helpers/gates.ts'
import { sha256 } from '../helpers/image.ts'
import { loopFileSystem, type LoopFileSystem } from '../helpers/loopfs.ts'
import { watchLeaks } from '../helpers/mounts.ts'
import { GIB } from '../helpers/sizes.ts'
import { dumpTree } from '../../lib/driver-suite/tree.ts'
import { json, overlaid } from './support/command.ts'

interface Listed {
  readonly id: string
  readonly names: string[]
  readonly layers: string[]
}

interface Shown {
  readonly name: string
  readonly mounted: boolean
}

let disk: LoopFileSystem
let root: string

beforeEach(() => {
  // A file system of its own: what dockerd leaves mounted would be seen, and /tmp may be an overlay itself.
  disk = loopFileSystem('ext4', 3 * GIB)
  root = join(disk.dir, 'root')
})
afterEach(() => disk[Symbol.dispose]())
watchLeaks(() => [disk.dir])

const dockerd = (): Promise<Dockerd> => startDockerd(root, join(disk.dir, 'scratch'))

/** Runs the command, which must succeed and say nothing on stderr; its stdout. */
async function run(...argv: string[]): Promise<string> {
  const { status, stdout, stderr } = await overlaid(root, ['--quiet', ...argv])
  expect({ argv, status, stderr }).toEqual({ argv, status: 0, stderr: '' })
  return stdout
}

const images = (): Promise<Listed[]> => json<Listed[]>(root, 'images')
const containers = (): Promise<Shown[]> => json<Shown[]>(root, 'ps')

async function expectSound(...options: string[]): Promise<void> {
  const { status, stdout } = await overlaid(root, ['--json', 'check', ...options])
  const { problems } = JSON.parse(stdout) as { problems: { severity: string }[] }
  expect(problems.filter((problem) => problem.severity === 'damage')).toEqual([])
  expect(status).toBe(0)
}

async function loadDemo(): Promise<void> {
  for (const { file } of await demoImages(() => undefined)) await run('load', '-i', file)
}

/** diffIDs of the layers in a docker-archive, from the layers' own bytes. */
function diffIDsIn(archive: string): string[] {
  const dir = `${archive}.d`
  mkdirSync(dir)
  execFileSync('tar', ['-xf', archive, '-C', dir])
  const [image] = JSON.parse(readFileSync(join(dir, 'manifest.json'), 'utf8')) as { Layers: string[] }[]
  return (image?.Layers ?? []).map((name) => sha256(readFileSync(join(dir, name))))
}

/** The tree of an exported archive. Docker writes whole seconds, and of the attributes only capabilities. */
function exportedTree(archive: string): Promise<string[]> {
  const dir = `${archive}.d`
  mkdirSync(dir)
  execFileSync('tar', [
    '-xpf',
    archive,
    '-C',
    dir,
    '--warning=no-timestamp',
    '--xattrs',
    '--xattrs-include=*',
    '--numeric-owner',
  ])
  const xattrs = (name: string): boolean => name === 'security.capability'
  return dumpTree(dir, { nanoseconds: false, root: false, xattrs })
}

const gates = ['canMount', 'canLoop', 'hasDocker', 'hasDockerd', 'hasAptGet', 'hasMmdebstrap'] as const

describe.skipIf(missing(...gates))('dockerd on a root that overlaid wrote', () => {
  it('lists, shows, runs, diffs and saves what is there', async () => {
    await run('load', '-i', await debianImage())
    await loadDemo()
    const ours = await images()
    await run('create', '--name', 'ours', 'python:demo')
    await using docker = await dockerd()

    const listed = docker.docker('images', '--no-trunc', '--format', '{{.ID}} {{.Repository}}:{{.Tag}}')
    const expected = ours.flatMap(({ id, names }) => names.map((name) => `${id} ${name}`))
    expect(listed.trim().split('\n').sort()).toEqual(expected.sort())
    const steps = docker.docker('history', '--no-trunc', '--format', '{{.CreatedBy}}', DEBIAN_NAME)
    expect(steps.trim().split('\n')).toEqual(['by hand', 'packages', 'minbase'])

    const release = docker.docker('run', '--rm', '--network', 'none', DEBIAN_NAME, 'cat', '/etc/os-release')
    expect(release).toContain('ID=debian')
    const script = 'rm /etc/hosts.allow /etc/issue; echo new > /root/new; rm -r /srv/kinds/sticky'
    docker.docker('run', '--name', 'theirs', '--network', 'none', DEBIAN_NAME, 'sh', '-c', `${script}; true`)
    const diff = docker.docker('diff', 'theirs').trim().split('\n').sort()
    expect(diff).toEqual(expect.arrayContaining(['A /root/new', 'D /etc/issue', 'D /srv/kinds/sticky']))

    for (const { names, layers } of ours) {
      const archive = join(disk.dir, `${names[0]?.replace(':', '-') ?? ''}.tar`)
      docker.docker('save', '-o', archive, names[0] ?? '')
      expect(diffIDsIn(archive)).toEqual(layers)
    }
    await docker.stop()
    expect((await run('diff', 'theirs')).trim().split('\n').sort()).toEqual(diff)
    await expectSound('--deep')
    expect((await containers()).map(({ name }) => name).sort()).toEqual(['ours', 'theirs'])
  })

  it('exports the merged tree that overlaid exports', async () => {
    await run('load', '-i', await debianImage())
    await run('create', '--name', 'ours', DEBIAN_NAME)
    await run('export', '-o', join(disk.dir, 'ours.tar'), 'ours')
    {
      await using docker = await dockerd()
      docker.docker('create', '--name', 'theirs', DEBIAN_NAME)
      docker.docker('export', '-o', join(disk.dir, 'theirs.tar'), 'theirs')
    }
    // The init layer's own entries, made at create, and the folders whose time that moves.
    const made =
      /^(\.|dev|etc|\.dockerenv|dev\/(console|pts|shm)|etc\/(hosts|hostname|resolv\.conf|mtab)|proc|sys)$/
    const lines = async (name: string): Promise<string[]> => {
      const tree = await exportedTree(join(disk.dir, `${name}.tar`))
      return tree.map((line) => (made.test(line.split(' ')[0] ?? '') ? withoutTime(line) : line))
    }
    const [ours, theirs] = [await lines('ours'), await lines('theirs')]
    expect(ours.length).toBeGreaterThan(6500)
    expect(ours.filter((line) => !theirs.includes(line))).toEqual([])
    expect(theirs.filter((line) => !ours.includes(line))).toEqual([])
  })
})

const withoutTime = (line: string): string => line.replace(/^(\S+ \S+ \S+ \S+) \d+/, '$1')

describe.skipIf(missing(...gates))('overlaid on a root that dockerd wrote', () => {
  it('lists, checks, mounts, diffs, commits and saves what is there', async () => {
    const docker = await dockerd()
    let expected: Map<string, string[]>
    let diff: string[]
    try {
      for (const file of [
        await debianImage(),
        ...(await demoImages(() => undefined)).map((one) => one.file),
      ]) {
        docker.docker('load', '-q', '-i', file)
      }
      const change = 'rm -r /etc/nginx; echo hi > /root/hi; ln /root/hi /root/link; chmod 700 /srv'
      docker.docker('run', '--name', 'stopped', '--network', 'none', DEBIAN_NAME, 'sh', '-c', change)
      docker.docker('commit', '-m', 'by docker', 'stopped', 'committed:1')
      docker.docker('tag', 'nginx:demo', 'example.com:5000/web/nginx:2')
      diff = docker.docker('diff', 'stopped').trim().split('\n').sort()
      const names = ['committed:1', 'nginx:demo', 'python:demo', DEBIAN_NAME]
      const inspected = docker.docker('inspect', ...names)
      const shown = JSON.parse(inspected) as { Id: string; RootFS: { Layers: string[] } }[]
      expected = new Map(shown.map(({ Id, RootFS }) => [Id, RootFS.Layers]))
    } finally {
      await docker.stop()
    }
    const listed = await images()
    expect(new Map(listed.map(({ id, layers }) => [id, layers]))).toEqual(expected)
    expect(listed.flatMap(({ names }) => names).sort()).toEqual(
      ['committed:1', 'nginx:demo', 'python:demo', DEBIAN_NAME, 'example.com:5000/web/nginx:2'].sort(),
    )
    await expectSound('--deep')
    expect(await containers()).toMatchObject([{ name: 'stopped', mounted: false }])
    expect(await json(root, 'inspect', 'stopped')).toMatchObject({ name: 'stopped', owner: 'docker' })
    expect((await run('diff', 'stopped')).trim().split('\n').sort()).toEqual(diff)

    const merged = (await run('mount', 'stopped')).trim()
    expect(readFileSync(join(merged, 'root/link'), 'utf8')).toBe('hi\n')
    expect(readdirSync(join(merged, 'etc'))).not.toContain('nginx')
    await run('unmount', 'stopped')

    for (const { names, layers } of listed) {
      const archive = join(disk.dir, `${names[0]?.replaceAll(/[:/]/g, '-') ?? ''}.tar`)
      await run('save', '-o', archive, names[0] ?? '')
      expect(diffIDsIn(archive)).toEqual(layers)
    }
    const again = await json<{ id: string }>(root, 'commit', 'stopped', 'committed:2')
    const { layers = [] } = (await images()).find(({ id }) => id === again.id) ?? {}
    expect(layers.slice(0, 3)).toEqual(listed.find(({ names }) => names.includes(DEBIAN_NAME))?.layers)
    const refused = await overlaid(root, ['rm', 'stopped'])
    expect(refused).toMatchObject({ status: 4 })
  })
})

describe.skipIf(missing(...gates))('a running dockerd', () => {
  it('is noticed: reading warns, writing is refused', async () => {
    await loadDemo()
    const before = await images()
    await using docker = await dockerd()
    docker.docker('create', '--name', 'theirs', 'nginx:demo')
    for (const verb of [
      ['images'],
      ['history', 'nginx:demo'],
      ['inspect', 'nginx:demo'],
      ['layers'],
      ['ps'],
    ]) {
      const { status, stderr } = await overlaid(root, verb)
      expect({ verb, status }).toEqual({ verb, status: 0 })
      expect(stderr).toMatch(/dockerd/)
    }
    const [{ file } = { file: '' }] = await demoImages(() => undefined)
    const writing = [
      ['load', '-i', file],
      ['create', 'nginx:demo'],
      ['tag', 'nginx:demo', 'other:1'],
      ['rmi', 'nginx:demo'],
      ['commit', 'theirs', 'other:2'],
      ['gc'],
    ]
    for (const argv of writing) {
      const { status, stderr } = await overlaid(root, ['--json', ...argv])
      expect({ argv, status }).toEqual({ argv, status: 4 })
      const [error = ''] = stderr.trim().split('\n').slice(-1)
      expect(JSON.parse(error)).toMatchObject({ error: { code: 'ERR_STORE_LOCKED' } })
    }
    docker.docker('start', 'theirs')
    docker.docker('rm', '-f', 'theirs')
    await docker.stop()
    expect(await images()).toEqual(before)
    await expectSound()
  })
})

describe.skipIf(missing(...gates))('taking turns', () => {
  it('neither loses what the other uses', async () => {
    await loadDemo()
    await run('create', '--name', 'ours', 'nginx:demo')
    const merged = (await run('mount', 'ours')).trim()
    writeFileSync(join(merged, 'root/ours'), 'written by ours\n')
    await run('unmount', 'ours')

    const first = await dockerd()
    try {
      // Our container's image goes; what it stands on stays.
      first.docker('rmi', '-f', 'nginx:demo')
      const change =
        'import os; open("/root/theirs", "w").write("x"); os.path.exists("/etc/issue") and os.remove("/etc/issue")'
      first.docker('run', '--name', 'theirs', '--network', 'none', 'python:demo', 'python3', '-c', change)
    } finally {
      await first.stop()
    }
    expect((await containers()).map(({ name }) => name).sort()).toEqual(['ours', 'theirs'])
    const again = (await run('mount', 'ours')).trim()
    expect(readFileSync(join(again, 'root/ours'), 'utf8')).toBe('written by ours\n')
    expect(execFileSync('chroot', [again, 'nginx', '-v'], { stdio: 'pipe', encoding: 'utf8' })).toBe('')
    await run('unmount', 'ours')
    await run('commit', 'ours', 'saved:1')

    // Their container's image goes; what it stands on stays.
    expect(await overlaid(root, ['rmi', 'python:demo'])).toMatchObject({ status: 4 })
    await run('rmi', '--force', 'python:demo')
    await run('gc')
    await expectSound('--deep')

    const second = await dockerd()
    try {
      second.docker('start', '-a', 'theirs')
      expect(second.docker('diff', 'theirs')).toContain('A /root/theirs')
      second.docker('export', '-o', join(disk.dir, 'theirs.tar'), 'theirs')
      expect(second.docker('run', '--rm', '--network', 'none', 'saved:1', 'cat', '/root/ours')).toBe(
        'written by ours\n',
      )
      second.docker('rm', 'theirs')
      second.docker('rmi', 'saved:1')
    } finally {
      await second.stop()
    }
    expect(await images()).toEqual([])
    expect(readFileSync(join((await run('mount', 'ours')).trim(), 'root/ours'), 'utf8')).toBe(
      'written by ours\n',
    )
    await run('unmount', 'ours')
    await run('rm', 'ours')
    await run('gc')
    await expectSound('--deep')
    const clean = await json<{ problems: unknown[] }>(root, 'check')
    expect(clean.problems).toEqual([])

    // What was swept away comes back whole.
    await loadDemo()
    await using third = await dockerd()
    const hello = ['python3', '-c', 'print("hello")']
    expect(third.docker('run', '--rm', '--network', 'none', 'python:demo', ...hello)).toBe('hello\n')
  })
})
