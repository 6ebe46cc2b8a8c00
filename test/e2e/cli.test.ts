/** A session with the built command, verb by verb, on real mounts. */
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { missing } from '../helpers/gates.ts'
import { loopFileSystem, type LoopFileSystem } from '../helpers/loopfs.ts'
import { mountsBelow } from '../../lib/driver-suite/leaks.ts'
import { ociFiles, sha256, writeFiles } from '../helpers/image.ts'
import { json, overlaid } from './support/command.ts'
import { api, bothImages, web } from './support/images.ts'

interface Identified {
  readonly id: string
  readonly names: string[]
}

interface ContainerRow {
  readonly id: string
  readonly name: string
  readonly image: string
  readonly mounted: boolean
  readonly path: string | null
  readonly quota: object | null
  readonly size: number
}

// One test builds on the other, as the commands of a session do.
describe.skipIf(missing('canMount', 'hasBinding'))('a session', () => {
  let fs: LoopFileSystem
  let root: string
  let archive: string
  let merged: string

  beforeAll(() => {
    fs = loopFileSystem('tmpfs')
    root = join(fs.dir, 'root')
    archive = join(fs.dir, 'both.tar')
    writeFileSync(archive, bothImages)
  })
  afterAll(() => {
    const left = mountsBelow(fs.dir).filter((path) => path !== fs.dir)
    fs.dispose()
    expect(left).toEqual([])
  })

  const names = async (): Promise<string[]> =>
    (await json<Identified[]>(root, 'images')).flatMap((image) => image.names)
  const clean = async (): Promise<void> => {
    expect(await json(root, 'check', '--deep')).toEqual({ ok: true, problems: [] })
  }

  it('loads an archive, and shares the layer that both images have', async () => {
    expect(await json(root, 'load', '-i', archive)).toEqual({
      images: [
        { id: web.id, names: ['web:1'] },
        { id: api.id, names: ['api:1'] },
      ],
      layers: { total: 3, added: 3, shared: 1 },
    })
    const again = await overlaid(root, ['load'], { input: bothImages })
    expect(again).toMatchObject({ status: 0, stderr: '' })
    expect(again.stdout).toBe('Loaded image: web:1\nLoaded image: api:1\n3 layers: 0 added, 3 shared\n')
  })

  it('loads an OCI layout folder', async () => {
    const layout = join(fs.dir, 'layout')
    writeFiles(layout, ociFiles([web], { gzipLayers: true }))
    const { layers } = await json<{ layers: object }>(root, 'load', '-i', layout)
    expect(layers).toEqual({ total: 2, added: 0, shared: 2 })
  })

  it('lists images and layers', async () => {
    const images = await json<Identified[]>(root, 'images')
    expect(images).toHaveLength(2)
    expect(images).toContainEqual({
      id: web.id,
      names: ['web:1'],
      created: expect.stringMatching(/^2024-05-06T07:08:09/) as string,
      // moby counts a symlink by the length of its target
      size: ['tool', 'from the base\n', 'to be deleted', 'motd', 'from web\n'].join('').length,
      layers: web.layers.map(({ diffID }) => diffID),
    })
    const layers = await json<Record<string, unknown>[]>(root, 'layers')
    expect(layers).toHaveLength(3)
    const base = layers.find(({ parent }) => parent === null)
    expect(base).toMatchObject({ diffID: web.layers[0]?.diffID, images: 0, children: 2, containers: 0 })
    expect((await overlaid(root, ['images'])).stdout).toMatch(/^web +1 +[0-9a-f]{12} +\d+ years? ago +\d+B$/m)
  })

  it('inspects an image and tells its history', async () => {
    expect(await json(root, 'inspect', 'web:1')).toMatchObject({
      type: 'image',
      id: web.id,
      config: { Cmd: ['serve'], ExposedPorts: { '80/tcp': {} } },
      env: ['A=b'],
      labels: { tier: 'web' },
      layers: web.layers.map(({ diffID }) => ({ diffID })),
    })
    const history = await json<{ createdBy: string }[]>(root, 'history', web.id.slice(7, 19))
    expect(history.map(({ createdBy }) => createdBy)).toEqual(['step 1', 'step 0'])
  })

  it('gives an image another name', async () => {
    expect(await overlaid(root, ['tag', 'web:1', 'example.com:5000/web:stable'])).toMatchObject({
      status: 0,
      stdout: '',
    })
    expect(await names()).toEqual(expect.arrayContaining(['web:1', 'example.com:5000/web:stable']))
  })

  it('creates a container and mounts it for longer than the command lives', async () => {
    const { id, name } = await json<{ id: string; name: string }>(root, 'create', '--name', 'one', 'web:1')
    expect([id, name]).toEqual([expect.stringMatching(/^[0-9a-f]{64}$/), 'one'])
    const mount = await json<{ id: string; path: string }>(root, 'mount', 'one')
    expect(mount.id).toBe(id)
    merged = mount.path
    expect(readFileSync(join(merged, 'etc/motd'), 'utf8')).toBe('from web\n')
    expect(statSync(join(merged, 'bin/tool')).mode & 0o7777).toBe(0o4755)
    expect(await json<ContainerRow[]>(root, 'ps')).toEqual([
      {
        id,
        name: 'one',
        image: 'web:1',
        mounted: true,
        path: merged,
        dead: false,
        size: expect.any(Number) as number,
        quota: null,
      },
    ])
  })

  it('shows what was changed in it', async () => {
    writeFileSync(join(merged, 'etc/new\nline'), 'hello')
    writeFileSync(join(merged, 'etc/motd'), 'mine\n')
    rmSync(join(merged, 'etc/gone'))
    const { stdout } = await overlaid(root, ['diff', 'one'])
    expect(stdout).toBe('C /etc\nD /etc/gone\nC /etc/motd\nA /etc/new\nline\n')
    const lines = (await overlaid(root, ['diff', '--json', 'one'])).stdout.trimEnd().split('\n')
    expect(lines.map((line) => JSON.parse(line) as object)).toContainEqual({
      kind: 'A',
      path: '/etc/new\nline',
    })
  })

  it('writes the changes as a layer', async () => {
    const out = join(fs.dir, 'layer.tar')
    expect(await overlaid(root, ['diff', '--tar', '-o', out, 'one'])).toMatchObject({ status: 0, stdout: '' })
    const { bytes } = await overlaid(root, ['diff', '--tar', 'one'])
    expect(bytes.equals(readFileSync(out))).toBe(true)
    expect(bytes.includes('etc/.wh.gone')).toBe(true)
  })

  it('inspects the container with its folders', async () => {
    const details = await json<Record<string, string> & { lowerdir: string[]; layers: unknown[] }>(
      root,
      'inspect',
      'one',
    )
    expect(details).toMatchObject({ type: 'container', name: 'one', imageID: web.id, mounted: true, merged })
    expect(existsSync(join(details['upperdir'] ?? '', 'etc/motd'))).toBe(true)
    // the init layer is a folder below the container's, and no layer of the image
    expect([details.lowerdir.length, details.layers.length]).toEqual([3, 2])
  })

  it('commits it as an image with another config', async () => {
    const argv = [
      'commit',
      '-m',
      'a change',
      '-a',
      'me',
      '-c',
      'CMD ["other"]',
      '-c',
      'ENV C=d',
      'one',
      'web:2',
    ]
    const { id } = await json<Identified>(root, ...argv)
    expect(await json(root, 'inspect', id)).toMatchObject({
      names: ['web:2'],
      author: 'me',
      config: { Cmd: ['other'] },
      env: ['A=b', 'C=d'],
      layers: [{ diffID: web.layers[0]?.diffID }, { diffID: web.layers[1]?.diffID }, {}],
    })
    expect((await json<{ comment: string }[]>(root, 'history', 'web:2'))[0]?.comment).toBe('a change')
  })

  it('mounts an image read-only, at a place of one’s own', async () => {
    const target = join(fs.dir, 'target')
    mkdirSync(target)
    expect(await json(root, 'mount', '--read-only', '--target', target, 'web:2')).toMatchObject({
      path: target,
    })
    expect(readFileSync(join(target, 'etc/motd'), 'utf8')).toBe('mine\n')
    expect(existsSync(join(target, 'etc/gone'))).toBe(false)
    expect(() => writeFileSync(join(target, 'x'), '')).toThrow('EROFS')
    expect(await overlaid(root, ['unmount', target])).toMatchObject({ status: 0, stdout: '', stderr: '' })
    expect(mountsBelow(target)).toEqual([])
    const { stdout } = await overlaid(root, ['mount', '--read-only', 'web:2'])
    expect(readFileSync(join(stdout.trimEnd(), 'etc/motd'), 'utf8')).toBe('mine\n')
    expect(await overlaid(root, ['unmount', 'web:2'])).toMatchObject({ status: 0 })
  })

  it('exports a container, and an image the same', async () => {
    const { bytes } = await overlaid(root, ['export', 'one'])
    expect(bytes.includes('from the base')).toBe(false)
    expect(bytes.includes('mine\n')).toBe(true)
    const out = join(fs.dir, 'rootfs.tar')
    expect(await overlaid(root, ['export', '-o', out, 'web:2'])).toMatchObject({ status: 0 })
    expect(readFileSync(out).includes('mine\n')).toBe(true)
  })

  it('imports a root file system as an image', async () => {
    const file = join(fs.dir, 'rootfs.tar')
    const rootfs = readFileSync(file)
    const { id } = await json<Identified>(root, 'import', '-i', file, 'flat:latest')
    const image = { names: ['flat:latest'], layers: [{ diffID: sha256(rootfs) }] }
    expect(await json(root, 'inspect', 'flat')).toMatchObject({ id, ...image })
    const other = join(fs.dir, 'imported')
    expect(await overlaid(other, ['import', 'flat:latest'], { input: rootfs })).toMatchObject({ status: 0 })
    expect(await json(other, 'inspect', 'flat')).toMatchObject(image)
    for (const at of [root, other]) {
      const { bytes } = await overlaid(at, ['export', 'flat:latest'])
      expect(bytes.equals(rootfs)).toBe(true)
    }
  })

  it.each(['docker', 'oci'])('saves images for others to load: %s', async (format) => {
    const out = join(fs.dir, `saved-${format}.tar`)
    expect(await overlaid(root, ['save', '--format', format, '-o', out, 'web:1', 'web:2'])).toMatchObject({
      status: 0,
      stdout: '',
      stderr: '',
    })
    const other = join(fs.dir, `other-${format}`)
    const { images } = await json<{ images: Identified[] }>(other, 'load', '-i', out)
    expect(images.map(({ names }) => names)).toEqual([['web:1'], ['web:2']])
    const layers = async (at: string): Promise<unknown> =>
      (await json<{ layers: { diffID: string }[] }>(at, 'inspect', 'web:2')).layers.map(
        ({ diffID }) => diffID,
      )
    expect(await layers(other)).toEqual(await layers(root))
  })

  it('accounts for the disk', async () => {
    const usage = await json<{ layers: object; images: Identified[]; containers: object }>(root, 'df')
    expect(usage.images.map(({ names }) => names[0]).sort()).toEqual([
      'api:1',
      'example.com:5000/web:stable',
      'flat:latest',
      'web:2',
    ])
    expect(usage).toMatchObject({ layers: { count: 5 }, containers: { count: 1 } })
    expect((await overlaid(root, ['df', '-v'])).stdout).toMatch(/^Containers +1 +/m)
  })

  it('tells about the machine', async () => {
    expect(await json(root, 'info')).toMatchObject({
      version: expect.any(String) as string,
      root,
      driver: 'overlay2',
      backingFs: { name: 'tmpfs', dType: true },
      capabilities: expect.objectContaining({ fsopen: expect.any(Boolean) as boolean }) as object,
      drivers: expect.arrayContaining([
        expect.objectContaining({ name: 'overlay2', usable: true }),
      ]) as object,
      images: 4,
      layers: 5,
      containers: 1,
    })
  })

  it('does not remove what is in use', async () => {
    const busy = openSync(join(merged, 'etc/motd'), 'r')
    expect(await overlaid(root, ['rm', 'one'])).toMatchObject({ status: 4, stdout: '' })
    expect(await overlaid(root, ['unmount', 'one'])).toMatchObject({ status: 4 })
    closeSync(busy)
    expect(await overlaid(root, ['create', '--name', 'one', 'web:1'])).toMatchObject({ status: 4 })
    expect(await json(root, 'gc')).toEqual({ removed: [], bytes: 0 })
    expect(existsSync(join(merged, 'etc/motd'))).toBe(true)
  })

  it('unmounts, removes, and leaves an empty store', async () => {
    expect(await overlaid(root, ['unmount', 'one'])).toMatchObject({ status: 0, stdout: '' })
    expect(await overlaid(root, ['unmount', 'one'])).toMatchObject({ status: 3 })
    const [row] = await json<ContainerRow[]>(root, 'ps')
    expect(row).toMatchObject({ mounted: false, path: null })
    await clean()
    // a mount of the command is held by no process: rm ends it
    expect(await overlaid(root, ['mount', 'one'])).toMatchObject({ status: 0 })
    expect(await json(root, 'rm', 'one')).toEqual({ deleted: [row?.id] })
    expect(await json(root, 'rmi', 'example.com:5000/web:stable')).toEqual({
      untagged: ['example.com:5000/web:stable'],
      deleted: [],
    })
    const removed = await json<{ untagged: string[]; deleted: string[] }>(
      root,
      'rmi',
      'web:1',
      'web:2',
      'api:1',
      'flat',
    )
    expect(removed.untagged).toEqual(['web:1', 'web:2', 'api:1', 'flat:latest'])
    expect(removed.deleted).toEqual(expect.arrayContaining([web.id, api.id]))
    await clean()
    expect(await json(root, 'gc')).toMatchObject({ removed: [] })
    expect([await json(root, 'images'), await json(root, 'layers'), await json(root, 'ps')]).toEqual([
      [],
      [],
      [],
    ])
    expect(readdirSync(join(root, 'overlay2')).filter((name) => /^[0-9a-f]{64}/.test(name))).toEqual([])
  })
})
