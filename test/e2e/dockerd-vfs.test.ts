/** overlaid and a real dockerd on one data root, both with vfs. */
import { execFileSync } from 'node:child_process'
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { demoImages } from '../../scripts/demo-images.mjs'
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

const gates = ['canMount', 'canLoop', 'hasDocker', 'hasDockerd', 'hasAptGet', 'hasMmdebstrap'] as const

describe.skipIf(missing(...gates))('vfs', () => {
  let disk: LoopFileSystem
  let root: string
  beforeEach(() => {
    disk = loopFileSystem('ext4', 6 * GIB)
    root = join(disk.dir, 'root')
  })
  afterEach(() => disk[Symbol.dispose]())
  watchLeaks(() => [disk.dir])

  const dockerd = (): Promise<Dockerd> =>
    startDockerd(root, join(disk.dir, 'scratch'), '--storage-driver=vfs')

  /** Runs the command, which must succeed and, told to be quiet, be it. */
  const run = async (...argv: string[]): Promise<string> => {
    const { status, stdout, stderr } = await overlaid(root, ['--quiet', '--driver', 'vfs', ...argv])
    expect({ argv, status, stderr }).toEqual({ argv, status: 0, stderr: '' })
    return stdout
  }
  const images = (): Promise<Listed[]> => json<Listed[]>(root, '--driver', 'vfs', 'images')
  const expectSound = async (): Promise<void> => {
    const { stdout } = await overlaid(root, ['--json', '--driver', 'vfs', 'check', '--deep'])
    const { problems } = JSON.parse(stdout) as { problems: { severity: string }[] }
    expect(problems.filter(({ severity }) => severity === 'damage')).toEqual([])
  }

  /** diffIDs of the layers in a docker-archive, from the layers' own bytes. */
  const diffIDsIn = (archive: string): string[] => {
    const dir = unpacked(archive)
    const [image] = JSON.parse(readFileSync(join(dir, 'manifest.json'), 'utf8')) as { Layers: string[] }[]
    return (image?.Layers ?? []).map((name) => sha256(readFileSync(join(dir, name))))
  }

  const unpacked = (archive: string): string => {
    const dir = `${archive}.d`
    mkdirSync(dir)
    execFileSync('tar', ['-xpf', archive, '-C', dir, '--warning=no-timestamp', '--numeric-owner'])
    return dir
  }

  it('says on stderr what it costs', async () => {
    const [{ file } = { file: '' }] = await demoImages(() => undefined)
    const { status, stderr } = await overlaid(root, ['--driver', 'vfs', 'load', '-i', file])
    expect(status).toBe(0)
    expect(stderr.trim().split('\n')).toEqual([
      expect.stringMatching(
        /^warning: vfs stores every layer.* \d+ layers take about [\d.]+MB where overlay2/,
      ),
    ])
  })

  it('dockerd starts on what overlaid wrote: lists, runs, diffs, exports and saves', async () => {
    for (const { file } of await demoImages(() => undefined)) await run('load', '-i', file)
    const ours = await images()
    await run('create', '--name', 'ours', 'nginx:demo')
    {
      await using docker = await dockerd()
      expect(docker.docker('info', '--format', '{{.Driver}}').trim()).toBe('vfs')
      const listed = docker.docker('images', '--no-trunc', '--format', '{{.ID}}').trim().split('\n')
      expect([...new Set(listed)].sort()).toEqual(ours.map(({ id }) => id).sort())
      const code = 'import os; os.remove("/etc/issue"); open("/root/new", "w").write("x")'
      docker.docker('run', '--name', 'theirs', '--network', 'none', 'python:demo', 'python3', '-c', code)
      const diff = docker.docker('diff', 'theirs').trim().split('\n')
      expect(diff).toEqual(expect.arrayContaining(['A /root/new', 'D /etc/issue']))
      docker.docker('create', '--name', 'fresh', 'nginx:demo')
      docker.docker('export', '-o', join(disk.dir, 'fresh.tar'), 'fresh')
      for (const { names, layers } of ours) {
        const archive = join(disk.dir, `${names[0]?.replace(':', '-') ?? ''}.tar`)
        docker.docker('save', '-o', archive, names[0] ?? '')
        expect(diffIDsIn(archive)).toEqual(layers)
      }
      await docker.stop()
      expect((await run('diff', 'theirs')).trim().split('\n').sort()).toEqual(diff.sort())
    }
    await run('export', '-o', join(disk.dir, 'ours.tar'), 'ours')
    const trees = ['ours', 'fresh'].map((name) => unpacked(join(disk.dir, `${name}.tar`)))
    // The init layer's own entries are made at create, and move the times of the folders that they are in.
    const [made, theirs] = await Promise.all(
      trees.map((dir) => dumpTree(dir, { mtime: false, root: false, xattrs: () => false })),
    )
    expect(made?.length).toBeGreaterThan(100)
    expect(made).toEqual(theirs)
    await expectSound()
  })

  it('overlaid reads what dockerd wrote: lists, checks, mounts, diffs, commits and saves', async () => {
    const change =
      'import os; os.remove("/etc/issue"); open("/root/hi", "w").write("hi"); os.link("/root/hi", "/root/link")'
    let diff: string[]
    {
      await using docker = await dockerd()
      for (const { file } of await demoImages(() => undefined)) docker.docker('load', '-q', '-i', file)
      docker.docker('run', '--name', 'stopped', '--network', 'none', 'python:demo', 'python3', '-c', change)
      docker.docker('commit', '-m', 'by docker', 'stopped', 'committed:1')
      diff = docker.docker('diff', 'stopped').trim().split('\n').sort()
      await docker.stop()
    }
    await expectSound()
    const listed = await images()
    expect(listed.flatMap(({ names }) => names).sort()).toEqual(['committed:1', 'nginx:demo', 'python:demo'])
    expect((await run('diff', 'stopped')).trim().split('\n').sort()).toEqual(diff)
    const merged = (await run('mount', 'stopped')).trim()
    expect(readFileSync(join(merged, 'root/link'), 'utf8')).toBe('hi')
    writeFileSync(join(merged, 'root/ours'), 'x')
    await run('unmount', 'stopped')
    for (const { names, layers } of listed) {
      const archive = join(disk.dir, `${names[0]?.replace(':', '-') ?? ''}.tar`)
      await run('save', '-o', archive, names[0] ?? '')
      expect(diffIDsIn(archive)).toEqual(layers)
    }
    await run('commit', 'stopped', 'committed:2')
    await run('rmi', 'committed:1')
    await run('gc')
    await expectSound()
    await using docker = await dockerd()
    const names = ['run', '--rm', '--network', 'none', 'committed:2', 'python3', '-c']
    expect(docker.docker(...names, 'import os; print(sorted(os.listdir("/root")))')).toContain(
      "'hi', 'link', 'ours'",
    )
    docker.docker('rm', 'stopped')
    docker.docker('rmi', 'committed:2', 'python:demo', 'nginx:demo')
    await docker.stop()
    expect(readdirSync(join(root, 'vfs/dir'))).toEqual([])
    // What dockerd removed has left notes of ours, which are rubbish.
    await run('gc')
    await expectSound()
  })
})
