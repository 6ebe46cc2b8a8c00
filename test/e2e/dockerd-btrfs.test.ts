/** overlaid and a real dockerd on one data root whose driver is btrfs: each uses what the other wrote. */
import { execFileSync } from 'node:child_process'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { constants } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { DEBIAN_NAME, debianImage } from '../fixtures/images/debian.mjs'
import { type Dockerd, startDockerd } from '../helpers/dockerd.ts'
import { missing } from '../helpers/gates.ts'
import { sha256 } from '../helpers/image.ts'
import { loopFileSystem, type LoopFileSystem } from '../helpers/loopfs.ts'
import { watchLeaks } from '../helpers/mounts.ts'
import { GIB, MIB } from '../helpers/sizes.ts'
import { dumpTree } from '../../lib/driver-suite/tree.ts'
import { json, overlaid } from './support/command.ts'

let disk: LoopFileSystem
let root: string

beforeEach(() => {
  disk = loopFileSystem('btrfs', 4 * GIB)
  root = join(disk.dir, 'root')
})
afterEach(() => disk[Symbol.dispose]())
watchLeaks(() => [disk.dir])

const dockerd = (): Promise<Dockerd> =>
  startDockerd(root, join(disk.dir, 'scratch'), '--storage-driver=btrfs')

/** Runs the command, which must succeed and say nothing on stderr; its stdout. */
async function run(...argv: string[]): Promise<string> {
  const { status, stdout, stderr } = await overlaid(root, ['--quiet', '--driver', 'btrfs', ...argv])
  expect({ argv, status, stderr }).toEqual({ argv, status: 0, stderr: '' })
  return stdout
}

async function expectSound(): Promise<void> {
  const { problems } = JSON.parse(await run('--json', 'check', '--deep')) as {
    problems: { severity: string }[]
  }
  expect(problems.filter(({ severity }) => severity === 'damage')).toEqual([])
}

/** diffIDs of the layers in a docker-archive, from the layers' own bytes. */
function diffIDsIn(archive: string): string[] {
  const dir = `${archive}.d`
  mkdirSync(dir)
  execFileSync('tar', ['-xf', archive, '-C', dir])
  const [image] = JSON.parse(readFileSync(join(dir, 'manifest.json'), 'utf8')) as { Layers: string[] }[]
  return (image?.Layers ?? []).map((name) => sha256(readFileSync(join(dir, name))))
}

/** Paths of an exported archive, without what is made at create. */
async function exportedTree(archive: string): Promise<string[]> {
  const dir = `${archive}.d`
  mkdirSync(dir)
  execFileSync('tar', ['-xpf', archive, '-C', dir, '--numeric-owner', '--xattrs', '--xattrs-include=*'])
  const made =
    /^(\.|dev|etc|\.dockerenv|dev\/(console|pts|shm)|etc\/(hosts|hostname|resolv\.conf|mtab)|proc|sys) /
  const xattrs = (name: string): boolean => name === 'security.capability'
  return (await dumpTree(dir, { nanoseconds: false, root: false, xattrs })).filter((line) => !made.test(line))
}

const gates = [
  'canMount',
  'canLoop',
  'hasBtrfs',
  'hasDocker',
  'hasDockerd',
  'hasAptGet',
  'hasMmdebstrap',
] as const

describe.skipIf(missing(...gates))('dockerd on a btrfs root that overlaid wrote', () => {
  it('runs, diffs, saves and exports what is there', async () => {
    await run('load', '-i', await debianImage())
    await run('create', '--name', 'ours', DEBIAN_NAME)
    await run('export', '-o', join(disk.dir, 'ours.tar'), 'ours')
    const [image] = await json<{ id: string; layers: string[] }[]>(root, 'images')
    let diff: string[]
    {
      await using docker = await dockerd()
      expect(docker.docker('info', '--format', '{{.Driver}}').trim()).toBe('btrfs')
      expect(docker.docker('images', '--no-trunc', '--format', '{{.ID}}').trim()).toBe(image?.id)
      const release = docker.docker('run', '--rm', '--network', 'none', DEBIAN_NAME, 'cat', '/etc/os-release')
      expect(release).toContain('ID=debian')
      docker.docker('create', '--name', 'theirs', DEBIAN_NAME)
      docker.docker('export', '-o', join(disk.dir, 'theirs.tar'), 'theirs')
      docker.docker('save', '-o', join(disk.dir, 'saved.tar'), DEBIAN_NAME)
      const script = 'rm /etc/hosts.allow /etc/issue; echo new > /root/new; rm -r /srv/kinds/sticky'
      docker.docker('run', '--name', 'changed', '--network', 'none', DEBIAN_NAME, 'sh', '-c', script)
      diff = docker.docker('diff', 'changed').trim().split('\n').sort()
      expect(diff).toEqual(expect.arrayContaining(['A /root/new', 'D /etc/issue', 'D /srv/kinds/sticky']))
    }
    expect(diffIDsIn(join(disk.dir, 'saved.tar'))).toEqual(image?.layers)
    const ours = await exportedTree(join(disk.dir, 'ours.tar'))
    expect(ours.length).toBeGreaterThan(6500)
    expect(await exportedTree(join(disk.dir, 'theirs.tar'))).toEqual(ours)
    expect((await run('diff', 'changed')).trim().split('\n').sort()).toEqual(diff)
    await expectSound()
  })
})

describe.skipIf(missing(...gates))('overlaid on a btrfs root that dockerd wrote', () => {
  it('lists, checks, mounts, diffs, commits and saves what is there', async () => {
    let diff: string[]
    {
      await using docker = await dockerd()
      docker.docker('load', '-q', '-i', await debianImage())
      const change = 'rm -r /etc/nginx; echo hi > /root/hi; ln /root/hi /root/link; chmod 700 /srv'
      docker.docker('run', '--name', 'stopped', '--network', 'none', DEBIAN_NAME, 'sh', '-c', change)
      diff = docker.docker('diff', 'stopped').trim().split('\n').sort()
    }
    await expectSound()
    expect(await json(root, 'ps')).toMatchObject([{ name: 'stopped', mounted: false }])
    expect((await run('diff', 'stopped')).trim().split('\n').sort()).toEqual(diff)
    const merged = (await run('mount', 'stopped')).trim()
    expect(readFileSync(join(merged, 'root/link'), 'utf8')).toBe('hi\n')
    await run('unmount', 'stopped')
    const [image] = await json<{ layers: string[] }[]>(root, 'images')
    await run('save', '-o', join(disk.dir, 'saved.tar'), DEBIAN_NAME)
    expect(diffIDsIn(join(disk.dir, 'saved.tar'))).toEqual(image?.layers)
    await run('commit', 'stopped', 'committed:1')
    await run('create', '--name', 'next', 'committed:1')
    const next = (await run('mount', 'next')).trim()
    expect(readFileSync(join(next, 'root/hi'), 'utf8')).toBe('hi\n')
    await run('unmount', 'next')
  })

  it('keeps the size that dockerd gave a container', async () => {
    {
      await using docker = await dockerd()
      docker.docker('load', '-q', '-i', await debianImage())
      docker.docker(
        'create',
        '--name',
        'sized',
        '--storage-opt',
        `size=${String(512 * MIB)}`,
        DEBIAN_NAME,
        'true',
      )
    }
    const merged = (await run('mount', 'sized')).trim()
    const write = (): void => writeFileSync(join(merged, 'more'), Buffer.alloc(512 * MIB, 1))
    // libuv has no name for EDQUOT.
    expect(write).toThrow(expect.objectContaining({ errno: -constants.errno.EDQUOT }) as Error)
    await run('unmount', 'sized')
    await expectSound()
  })
})
