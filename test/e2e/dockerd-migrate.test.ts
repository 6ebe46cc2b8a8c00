/** Data roots that a real dockerd wrote with vfs and btrfs, moved to overlay2, and used there by a real dockerd. */
import { execFileSync } from 'node:child_process'
import { mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { DEBIAN_NAME, debianImage } from '../fixtures/images/debian.mjs'
import { type Dockerd, startDockerd } from '../helpers/dockerd.ts'
import { missing } from '../helpers/gates.ts'
import { sha256 } from '../helpers/image.ts'
import { loopFileSystem, type LoopFileSystem } from '../helpers/loopfs.ts'
import { watchLeaks } from '../helpers/mounts.ts'
import { GIB } from '../helpers/sizes.ts'
import { dumpTree } from '../../lib/driver-suite/tree.ts'
import { type CommandResult, overlaid } from './support/command.ts'
import { bothImages } from './support/images.ts'

interface Migrated {
  readonly images: { readonly id: string; readonly was: string; readonly names: string[] }[]
  readonly layers: { readonly total: number; readonly added: number; readonly shared: number }
}

/** An image as a docker-archive has it: its config and its layers, by their bytes. */
interface Saved {
  readonly config: string
  readonly layers: string[]
  readonly names: string[]
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

describe.skipIf(missing(...gates)).each([
  ['vfs', 'ext4'],
  ['btrfs', 'btrfs'],
] as const)('a root of dockerd with %s', (driver, kind) => {
  let from: LoopFileSystem
  let to: LoopFileSystem
  let old: string
  let root: string
  beforeEach(() => {
    from = loopFileSystem(kind, 6 * GIB)
    to = loopFileSystem('ext4', 4 * GIB)
    old = join(from.dir, 'docker')
    root = join(to.dir, 'docker')
  })
  afterEach(() => {
    from[Symbol.dispose]()
    to[Symbol.dispose]()
  })
  watchLeaks(() => [from.dir, to.dir])

  const oldDockerd = (): Promise<Dockerd> =>
    startDockerd(old, join(from.dir, 'scratch'), `--storage-driver=${driver}`)
  const newDockerd = (): Promise<Dockerd> => startDockerd(root, join(to.dir, 'scratch'))

  const migrate = (): Promise<CommandResult> =>
    overlaid(root, ['--json', '--quiet', 'migrate', '--from', driver, old])
  const expectMigrated = async (): Promise<Migrated> => {
    const { status, stdout, stderr } = await migrate()
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
    return JSON.parse(stdout) as Migrated
  }

  /** Names and ids, as the client lists them. */
  const listed = (docker: Dockerd): string[] =>
    docker
      .docker('images', '--no-trunc', '--format', '{{.Repository}}:{{.Tag}} {{.ID}}')
      .trim()
      .split('\n')
      .sort()

  const saved = (docker: Dockerd, name: string, folder: string): Saved => {
    const archive = join(folder, `${name.replace(':', '-')}.tar`)
    docker.docker('save', '-o', archive, name)
    const dir = unpacked(archive)
    const manifest = readFileSync(join(dir, 'manifest.json'), 'utf8')
    const [image] = JSON.parse(manifest) as { Config: string; Layers: string[]; RepoTags: string[] }[]
    return {
      config: sha256(readFileSync(join(dir, image?.Config ?? ''))),
      layers: (image?.Layers ?? []).map((layer) => sha256(readFileSync(join(dir, layer)))),
      names: image?.RepoTags ?? [],
    }
  }

  /** All that a new container shows, but for what is made at create. */
  const exported = async (docker: Dockerd, name: string, folder: string): Promise<string[]> => {
    const archive = join(folder, `${name.replace(':', '-')}-export.tar`)
    const id = docker.docker('create', name, 'sh').trim()
    docker.docker('export', '-o', archive, id)
    docker.docker('rm', id)
    const made =
      /^(\.|dev|etc|\.dockerenv|dev\/(console|pts|shm)|etc\/(hosts|hostname|resolv\.conf|mtab)|proc|sys) /
    const xattrs = (attribute: string): boolean => attribute === 'security.capability'
    const tree = await dumpTree(unpacked(archive), { nanoseconds: false, root: false, xattrs })
    return tree.filter((line) => !made.test(line)).map(asDockerHasIt)
  }

  /**
   * Where dockerd's old driver is less exact than what became of it: it unpacks files from before 1970 with the time 0,
   * and the copies that its vfs makes have of a symlink with two names two symlinks.
   */
  const asDockerHasIt = (line: string): string =>
    line.includes(' symlink ')
      ? line.replace(/ nlink=\d+( same-as=.*)?$/, '')
      : line.replace(' 0644 0:0 -10 0 ', ' 0644 0:0 0 0 ')

  const unpacked = (archive: string): string => {
    const dir = `${archive}.d`
    mkdirSync(dir)
    execFileSync('tar', ['-xpf', archive, '-C', dir, '--numeric-owner', '--xattrs', '--xattrs-include=*'])
    return dir
  }

  it('becomes one of overlay2 that dockerd lists, runs, exports and saves as before', async () => {
    const before: { images: string[]; saved: Saved[]; tree: string[] } = { images: [], saved: [], tree: [] }
    const names = [DEBIAN_NAME, 'web:1', 'api:1']
    {
      await using docker = await oldDockerd()
      expect(docker.docker('info', '--format', '{{.Driver}}').trim()).toBe(driver)
      docker.docker('load', '-q', '-i', await debianImage())
      docker.dockerWith(bothImages, 'load', '-q')
      docker.docker('tag', 'web:1', 'again:1')
      before.images = listed(docker)
      before.saved = names.map((name) => saved(docker, name, from.dir))
      before.tree = await exported(docker, DEBIAN_NAME, from.dir)
    }
    const first = await expectMigrated()
    expect(first.images.map(({ id, was }) => id === was)).toEqual([true, true, true])
    expect(first.layers).toEqual({ total: 6, added: 6, shared: 1 })
    // Done: there is nothing left to do.
    expect(await expectMigrated()).toEqual({
      images: first.images,
      layers: { total: 6, added: 0, shared: 6 },
    })
    const { status } = await overlaid(root, ['check', '--deep'])
    expect(status).toBe(0)
    {
      await using docker = await newDockerd()
      expect(docker.docker('info', '--format', '{{.Driver}}').trim()).toBe('overlay2')
      expect(listed(docker)).toEqual(before.images)
      const release = docker.docker('run', '--rm', '--network', 'none', DEBIAN_NAME, 'cat', '/etc/os-release')
      expect(release).toContain('ID=debian')
      expect(names.map((name) => saved(docker, name, to.dir))).toEqual(before.saved)
      const tree = await exported(docker, DEBIAN_NAME, to.dir)
      expect(tree.length).toBeGreaterThan(6500)
      expect(tree.filter((line) => line.includes('security.capability'))).toHaveLength(2)
      expect(tree).toEqual(before.tree)
    }
    // The old root is as it was.
    await using docker = await oldDockerd()
    expect(listed(docker)).toEqual(before.images)
  })

  it('can be moved while dockerd runs on it, but not into itself', async () => {
    await using docker = await oldDockerd()
    docker.dockerWith(bothImages, 'load', '-q')
    docker.docker('create', '--name', 'used', 'web:1', 'sh')
    const { images } = await expectMigrated()
    expect(images.flatMap((image) => image.names).sort()).toEqual(['api:1', 'web:1'])
    const inPlace = await overlaid(old, ['--json', '--driver', 'overlay2', 'migrate', '--from', driver, old])
    expect(inPlace.status).toBe(4)
    expect(inPlace.stderr).toContain('ERR_STORE_LOCKED')
    // What it has in memory still holds.
    docker.docker('rm', 'used')
    docker.docker('rmi', 'web:1', 'api:1')
  })
})
