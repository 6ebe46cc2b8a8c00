/** overlaid and a real dockerd on one data root with fuse-overlayfs: each reads, uses and keeps what the other wrote. */
import { execFileSync } from 'node:child_process'
import { mkdirSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { demoImages } from '../../scripts/demo-images.mjs'
import { type Dockerd, startDockerd } from '../helpers/dockerd.ts'
import { serversEnded } from '../helpers/fuse.ts'
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

let disk: LoopFileSystem
let root: string

beforeEach(() => {
  disk = loopFileSystem('ext4', 3 * GIB)
  root = join(disk.dir, 'root')
})
afterEach(async () => {
  await serversEnded(disk.dir)
  disk[Symbol.dispose]()
})
watchLeaks(() => [disk.dir])

const dockerd = (): Promise<Dockerd> =>
  startDockerd(root, join(disk.dir, 'scratch'), '--storage-driver=fuse-overlayfs')

/** Runs the command, which must succeed and say nothing on stderr; its stdout. */
async function run(...argv: string[]): Promise<string> {
  const { status, stdout, stderr } = await overlaid(root, ['--quiet', ...argv])
  expect({ argv, status, stderr }).toEqual({ argv, status: 0, stderr: '' })
  return stdout
}

async function expectSound(): Promise<void> {
  const { status, stdout } = await overlaid(root, ['--json', 'check', '--deep'])
  const { problems } = JSON.parse(stdout) as { problems: { severity: string }[] }
  expect(problems.filter((problem) => problem.severity === 'damage')).toEqual([])
  expect(status).toBe(0)
}

function unpacked(archive: string, ...options: string[]): string {
  const dir = `${archive}.d`
  mkdirSync(dir)
  execFileSync('tar', ['-xpf', archive, '-C', dir, '--warning=no-timestamp', '--numeric-owner', ...options])
  return dir
}

/** diffIDs of the layers in a docker-archive, from the layers' own bytes. */
function diffIDsIn(archive: string): string[] {
  const dir = unpacked(archive)
  const [image] = JSON.parse(readFileSync(join(dir, 'manifest.json'), 'utf8')) as { Layers: string[] }[]
  return (image?.Layers ?? []).map((name) => sha256(readFileSync(join(dir, name))))
}

/** What an export has, but for the init layer's own entries and the folders whose time those move. */
async function exportedTree(archive: string): Promise<string[]> {
  const made =
    /^(\.|dev|etc|\.dockerenv|dev\/(console|pts|shm)|etc\/(hosts|hostname|resolv\.conf|mtab)|proc|sys) /
  const lines = await dumpTree(unpacked(archive), { nanoseconds: false, root: false, xattrs: () => false })
  return lines.filter((line) => !made.test(line))
}

const gates = ['canMount', 'canLoop', 'canFuse', 'hasDocker', 'hasDockerd', 'hasAptGet'] as const
const HELLO = ['python3', '-c', 'print("hello")']

describe.skipIf(missing(...gates))('dockerd with fuse-overlayfs', () => {
  it('lists, runs, exports and saves what overlaid wrote', { timeout: 300_000 }, async () => {
    for (const { file } of await demoImages(() => undefined)) {
      await run('--driver', 'fuse-overlayfs', 'load', '-i', file)
    }
    const ours = await json<Listed[]>(root, 'images')
    await run('create', '--name', 'ours', 'nginx:demo')
    await run('export', '-o', join(disk.dir, 'ours.tar'), 'ours')
    {
      await using docker = await dockerd()
      expect(docker.docker('info', '-f', '{{.Driver}}').trim()).toBe('fuse-overlayfs')
      const listed = docker.docker('images', '--no-trunc', '--format', '{{.ID}}').trim().split('\n').sort()
      expect(listed).toEqual(ours.map(({ id }) => id).sort())
      expect(docker.docker('run', '--rm', '--network', 'none', 'python:demo', ...HELLO)).toBe('hello\n')
      docker.docker('create', '--name', 'theirs', 'nginx:demo')
      docker.docker('export', '-o', join(disk.dir, 'theirs.tar'), 'theirs')
      for (const { names, layers } of ours) {
        const archive = join(disk.dir, `${names[0]?.replace(':', '-') ?? ''}.tar`)
        docker.docker('save', '-o', archive, names[0] ?? '')
        expect(diffIDsIn(archive)).toEqual(layers)
      }
    }
    const [mine, theirs] = await Promise.all(
      ['ours', 'theirs'].map((name) => exportedTree(join(disk.dir, `${name}.tar`))),
    )
    expect(mine?.length).toBeGreaterThan(1000)
    expect(mine).toEqual(theirs)
    await expectSound()
  })

  it(
    'leaves a root that overlaid lists, mounts, diffs, commits and saves',
    { timeout: 300_000 },
    async () => {
      const layers = new Map<string, string[]>()
      let diff: string[]
      {
        await using docker = await dockerd()
        for (const { file } of await demoImages(() => undefined)) docker.docker('load', '-q', '-i', file)
        const change = [
          'import os',
          'os.remove("/etc/issue")',
          '[os.remove("/etc/update-motd.d/" + name) for name in os.listdir("/etc/update-motd.d")]',
          'os.rmdir("/etc/update-motd.d")',
          'os.mkdir("/etc/update-motd.d")',
          'open("/root/hi", "w").write("hi")',
          'os.link("/root/hi", "/root/link")',
          'os.chmod("/root", 0o711)',
        ].join('; ')
        docker.docker('run', '--name', 'stopped', '--network', 'none', 'python:demo', 'python3', '-c', change)
        docker.docker('commit', 'stopped', 'committed:1')
        diff = docker.docker('diff', 'stopped').trim().split('\n').sort()
        expect(diff).toEqual(expect.arrayContaining(['D /etc/issue', 'A /root/link', 'C /root']))
        const shown = docker.docker('inspect', 'committed:1', 'nginx:demo', 'python:demo')
        for (const { Id, RootFS } of JSON.parse(shown) as { Id: string; RootFS: { Layers: string[] } }[]) {
          layers.set(Id, RootFS.Layers)
        }
      }
      const listed = await json<Listed[]>(root, 'images')
      expect(new Map(listed.map((image) => [image.id, image.layers]))).toEqual(layers)
      await expectSound()
      // dockerd 20.10 does not look at attributes here, and so passes over folders that were made anew.
      const remade = ['C /etc/update-motd.d', 'D /etc/update-motd.d/10-uname']
      expect((await run('diff', 'stopped')).trim().split('\n').sort()).toEqual([...diff, ...remade].sort())

      await run('commit', 'stopped', 'committed:2')
      for (const name of ['stopped', 'copy']) {
        if (name === 'copy') await run('create', '--name', name, 'committed:2')
        const merged = (await run('mount', name)).trim()
        expect(readFileSync(join(merged, 'root/link'), 'utf8')).toBe('hi')
        expect(readdirSync(join(merged, 'etc'))).not.toContain('issue')
        expect(readdirSync(join(merged, 'etc/update-motd.d'))).toEqual([])
        await run('unmount', name)
      }
      for (const image of listed) {
        const archive = join(disk.dir, `${image.names[0]?.replaceAll(/[:/]/g, '-') ?? ''}.tar`)
        await run('save', '-o', archive, image.names[0] ?? '')
        expect(diffIDsIn(archive)).toEqual(image.layers)
      }
      await using docker = await dockerd()
      const read = ['python3', '-c', 'print(open("/root/hi").read())']
      expect(docker.docker('run', '--rm', '--network', 'none', 'committed:2', ...read)).toBe('hi\n')
    },
  )
})
