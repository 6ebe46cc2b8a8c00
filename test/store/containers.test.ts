import {
  createReadStream,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import { gzipSync } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import type { Change } from '../../lib/driver/driver.ts'
import type { Store } from '../../lib/store/store.ts'
import { missing } from '../helpers/gates.ts'
import { collect, streamOf } from '../../lib/driver-suite/streams.ts'
import { buildImage, sha256 } from '../helpers/image.ts'
import { watchLeaks } from '../helpers/mounts.ts'
import { readAll } from '../helpers/tar.ts'
import { archiveOf, members, newStore, nginxImage, storeFolders } from '../helpers/store.ts'

watchLeaks(() => storeFolders)

async function listed(changes: AsyncIterable<Change>): Promise<string[]> {
  const lines: string[] = []
  for await (const { kind, path } of changes) lines.push(`${kind} ${path.toString()}`)
  return lines
}

async function tarNames(tar: AsyncIterable<Buffer>): Promise<string[]> {
  return (await readAll(await collect(tar))).map(({ header }) => header.name.toString())
}

/** A container of the nginx image in which a file was changed, one added and one deleted. */
async function changedContainer(store: Store) {
  await store.images.load(archiveOf(nginxImage()))
  const container = await store.containers.create('nginx:1', { name: 'web' })
  await using root = await container.mount()
  const at = (path: string) => join(root.path ?? '', path)
  writeFileSync(at('etc/motd'), 'changed\n')
  writeFileSync(at('srv/new'), 'new\n')
  rmSync(at('etc/os-release'))
  return container
}

const CHANGES = ['C /etc', 'C /etc/motd', 'D /etc/os-release', 'C /srv', 'A /srv/new']

describe.skipIf(missing('canMount', 'hasBinding'))('create', () => {
  it('makes an entry, an init layer and a writable one, as dockerd does', async () => {
    const store = await newStore()
    const image = await store.images.load(archiveOf(nginxImage()))
    const { id } = await store.containers.create(image, { name: 'web' })
    const entry = join(store.root, 'image/overlay2/layerdb/mounts', id)
    const text = (name: string) => readFileSync(join(entry, name), 'utf8')
    expect(text('parent')).toBe(image.chainIDs.at(-1))
    expect(text('init-id')).toBe(`${text('mount-id')}-init`)
    const init = join(store.root, 'overlay2', text('init-id'), 'diff')
    expect(readdirSync(init).sort()).toEqual(['.dockerenv', 'dev', 'etc', 'proc', 'sys'])
    expect(existsSync(join(store.root, 'overlay2', text('init-id'), 'committed'))).toBe(true)
    expect(readdirSync(join(store.root, 'overlay2', text('mount-id'), 'diff'))).toEqual([])
    expect(readdirSync(join(store.root, 'overlaid/leases'))).toEqual([])
  })

  it('names a container by the first digits of its id, unless a name is given', async () => {
    const store = await newStore()
    await store.images.load(archiveOf(nginxImage()))
    const { id, name } = await store.containers.create('nginx:1')
    expect(name).toBe(id.slice(0, 12))
    expect((await store.containers.create('nginx:1', { name: 'web-1.a_b' })).name).toBe('web-1.a_b')
  })

  it('refuses a name that is taken, and one that is none, and leaves nothing', async () => {
    const store = await newStore()
    await store.images.load(archiveOf(nginxImage()))
    await store.containers.create('nginx:1', { name: 'web' })
    const folders = readdirSync(join(store.root, 'overlay2'))
    await expect(store.containers.create('nginx:1', { name: 'web' })).rejects.toMatchObject({
      code: 'ERR_ALREADY_EXISTS',
    })
    for (const name of ['', 'x', '-web', 'we b', 'a/b', '../x']) {
      await expect(store.containers.create('nginx:1', { name })).rejects.toMatchObject({
        code: 'ERR_INVALID_ARGUMENT',
      })
    }
    expect(readdirSync(join(store.root, 'overlay2'))).toEqual(folders)
    expect(await store.containers.list()).toHaveLength(1)
  })

  it('gives a name once when two ask for it at the same time', async () => {
    const store = await newStore()
    await store.images.load(archiveOf(nginxImage()))
    const made = await Promise.allSettled(
      [1, 2].map(() => store.containers.create('nginx:1', { name: 'web' })),
    )
    expect(made.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected'])
    expect(await store.containers.list()).toHaveLength(1)
    expect(readdirSync(join(store.root, 'overlay2')).filter((name) => name.length >= 64)).toHaveLength(5)
  })

  it('does not follow what an image has in the place of an init file', async () => {
    const store = await newStore()
    const outside = join(store.root, '../outside')
    const evil = buildImage({
      layers: [
        [
          { name: 'etc', type: 'symlink', linkname: outside },
          { name: 'dev', type: 'symlink', linkname: '/' },
        ],
      ],
      names: ['evil:1'],
    })
    mkdirSync(outside)
    await store.images.load(archiveOf(evil))
    const container = await store.containers.create('evil:1')
    expect(readdirSync(outside)).toEqual([])
    await using root = await container.mount()
    expect(readdirSync(join(root.path ?? '', 'etc')).sort()).toEqual([
      'hostname',
      'hosts',
      'mtab',
      'resolv.conf',
    ])
  })

  it('makes one of an image without layers', async () => {
    const store = await newStore()
    await store.images.load(archiveOf(buildImage({ layers: [], names: ['scratch:1'] })))
    const container = await store.containers.create('scratch:1')
    {
      await using root = await container.mount()
      writeFileSync(join(root.path ?? '', 'only'), 'me')
    }
    expect(await listed(container.changes())).toEqual(['A /only'])
    const image = await container.commit('one:1')
    expect(image.diffIDs).toHaveLength(1)
  })

  it('finds containers by name, id and the first digits of it', async () => {
    const store = await newStore()
    await store.images.load(archiveOf(nginxImage()))
    const { id } = await store.containers.create('nginx:1', { name: 'web' })
    for (const name of [id, 'web', id.slice(0, 6)]) expect((await store.containers.get(name)).id).toBe(id)
    await expect(store.containers.get('nobody')).rejects.toMatchObject({ code: 'ERR_CONTAINER_NOT_FOUND' })
  })

  it('tells of an id that is too short', async () => {
    const store = await newStore()
    await store.images.load(archiveOf(nginxImage()))
    // Of 17 ids two begin with the same digit.
    const ids: string[] = []
    for (let i = 0; i < 17; i++) ids.push((await store.containers.create('nginx:1')).id)
    const digits = ids.map((id) => id.slice(0, 1))
    const twice = digits.find((digit, index) => digits.indexOf(digit) !== index) ?? ''
    await expect(store.containers.get(twice)).rejects.toMatchObject({ code: 'ERR_AMBIGUOUS_ID' })
  })
})

describe.skipIf(missing('canMount', 'hasBinding'))("a container's changes", () => {
  it('are listed against the image, without the init layer', async () => {
    const container = await changedContainer(await newStore())
    expect(await listed(container.changes())).toEqual(CHANGES)
    expect(await container.size()).toBe('changed\n'.length + 'new\n'.length)
  })

  it('are a layer tar, the same each time', async () => {
    const container = await changedContainer(await newStore())
    const tar = await collect(container.diff())
    expect(await tarNames(streamOf(tar))).toEqual([
      'etc/',
      'etc/motd',
      'etc/.wh.os-release',
      'srv/',
      'srv/new',
    ])
    expect(await collect(container.diff())).toEqual(tar)
  })

  it('become a layer and an image by commit', async () => {
    const store = await newStore()
    const container = await changedContainer(store)
    const parent = await store.images.get('nginx:1')
    const image = await container.commit('mine:latest', {
      message: 'three changes',
      author: 'me',
      changes: ['CMD ["/srv/new"]', 'ENV A=b'],
    })
    expect(image.names).toEqual(['mine:latest'])
    expect(image.diffIDs.slice(0, 3)).toEqual(parent.diffIDs)
    expect(image.diffIDs[3]).toBe(sha256(await collect(container.diff())))
    expect(image.config.config).toMatchObject({ Cmd: ['/srv/new'], Env: ['PATH=/usr/bin:/bin', 'A=b'] })
    expect(image.config.author).toBe('me')
    const [newest, ...older] = await store.images.history('mine:latest')
    expect(newest).toMatchObject({ comment: 'three changes', createdBy: '/bin/sh', empty: false, size: 12 })
    expect(older).toHaveLength(3)
    const metadata = join(store.root, 'image/overlay2/imagedb/metadata/sha256', image.id.slice(7))
    expect(readFileSync(join(metadata, 'parent'), 'utf8')).toBe(parent.id)
    const again = await store.containers.create('mine:latest')
    await using root = await again.mount()
    expect(readFileSync(join(root.path ?? '', 'etc/motd'), 'utf8')).toBe('changed\n')
    expect(existsSync(join(root.path ?? '', 'etc/os-release'))).toBe(false)
  })

  it('commit while it is mounted', async () => {
    const store = await newStore()
    await store.images.load(archiveOf(nginxImage()))
    const container = await store.containers.create('nginx:1')
    await using root = await container.mount()
    writeFileSync(join(root.path ?? '', 'here'), 'x')
    const image = await container.commit()
    expect(image.names).toEqual([])
    expect(image.diffIDs).toHaveLength(4)
  })

  it('that are none make an image without a new layer', async () => {
    const store = await newStore()
    const parent = await store.images.load(archiveOf(nginxImage()))
    const container = await store.containers.create('nginx:1')
    const image = await container.commit('same:1', { changes: ['USER nobody'] })
    expect(image.diffIDs).toEqual(parent.diffIDs)
    expect(image.id).not.toBe(parent.id)
    expect((await store.images.history('same:1'))[0]).toMatchObject({ empty: true, size: 0 })
    expect(await store.layers.list()).toHaveLength(3)
  })

  it('do not commit with a change or name that is wrong, and leave nothing', async () => {
    const store = await newStore()
    const container = await changedContainer(store)
    await expect(container.commit('x:1', { changes: ['RUN rm'] })).rejects.toMatchObject({
      code: 'ERR_INVALID_ARGUMENT',
    })
    await expect(container.commit('UPPER:1')).rejects.toMatchObject({ code: 'ERR_INVALID_REFERENCE' })
    expect(await store.layers.list()).toHaveLength(3)
    expect(await store.images.list()).toHaveLength(1)
  })

  it('go to another store by save and load with the same ids', async () => {
    const store = await newStore()
    const container = await changedContainer(store)
    const image = await container.commit('mine:latest')
    for (const format of ['docker', 'oci'] as const) {
      const other = await newStore()
      const archive = await collect(store.images.save(['mine:latest', 'nginx:1'], { format }))
      const report = await other.images.loadAll(streamOf(archive))
      expect(report.layers).toEqual({ total: 4, added: 4, shared: 3 })
      const loaded = await other.images.get('mine:latest')
      expect(loaded.id).toBe(image.id)
      expect(loaded.diffIDs).toEqual(image.diffIDs)
    }
  })
})

describe.skipIf(missing('canMount', 'hasBinding'))('a container', () => {
  it('still mounts and commits when its image is gone', async () => {
    const store = await newStore()
    const container = await changedContainer(store)
    await store.images.remove(['nginx:1'], { force: true })
    expect(await store.images.list()).toEqual([])
    expect(await store.layers.list()).toHaveLength(3)
    expect(await store.containers.list()).toMatchObject([{ name: 'web', image: 'nginx:1', mounted: false }])
    await using root = await container.mount()
    expect(readFileSync(join(root.path ?? '', 'etc/motd'), 'utf8')).toBe('changed\n')
    const image = await container.commit('back:1')
    expect(image.diffIDs).toHaveLength(4)
  })

  it('is gone with its folders after rm, and its layers stay for its image', async () => {
    const store = await newStore()
    const container = await changedContainer(store)
    await container.remove()
    expect(await store.containers.list()).toEqual([])
    expect(readdirSync(join(store.root, 'overlay2')).filter((name) => name.length >= 64)).toHaveLength(3)
    await store.driver.idle()
    for (const folder of ['overlaid/containers', 'overlaid/locks', 'overlaid/holds', 'overlay2/trash']) {
      expect(readdirSync(join(store.root, folder)), folder).toEqual([])
    }
    await expect(container.mount()).rejects.toMatchObject({ code: 'ERR_CONTAINER_NOT_FOUND' })
    await expect(store.containers.remove('web')).rejects.toMatchObject({ code: 'ERR_CONTAINER_NOT_FOUND' })
  })

  it('is gone with what somebody put into its entry', async () => {
    const store = await newStore()
    const container = await changedContainer(store)
    const entry = join(store.root, 'image/overlay2/layerdb/mounts', container.id)
    mkdirSync(join(entry, 'strange'))
    writeFileSync(join(entry, 'strange/file'), '')
    await container.remove()
    expect(readdirSync(join(store.root, 'image/overlay2/layerdb/mounts'))).toEqual([])
    expect(readdirSync(join(store.root, 'image/overlay2/layerdb/tmp'))).toEqual([])
  })

  it('is not removed while it is mounted', async () => {
    const store = await newStore()
    const container = await changedContainer(store)
    {
      await using _root = await container.mount()
      await expect(container.remove()).rejects.toMatchObject({ code: 'ERR_IN_USE' })
    }
    await container.remove()
  })

  it('shows its folders and config', async () => {
    const store = await newStore()
    const container = await changedContainer(store)
    const details = await container.inspect()
    expect(details).toMatchObject({
      name: 'web',
      image: 'nginx:1',
      owner: 'overlaid',
      mounted: false,
      size: 12,
    })
    expect(details.lowerdir).toHaveLength(4)
    expect(details.upperdir).toMatch(/\/overlay2\/[0-9a-f]{64}\/diff$/)
    expect(details.config.config?.Cmd).toEqual(['/bin/sh'])
    expect(details.chainIDs).toHaveLength(3)
  })

  it('exports its root file system as docker does: sorted, links as links, whiteouts gone', async () => {
    const store = await newStore()
    const image = buildImage({
      layers: [
        [
          ...members({ 'etc/': '', 'etc/a': 'a', 'etc/z': 'z' }),
          { name: 'etc/link', type: 'hardlink', linkname: 'etc/a' },
        ],
        members({ 'etc/.wh.z': '', 'etc/b': 'b' }),
      ],
      names: ['links:1'],
    })
    await store.images.load(archiveOf(image))
    expect(await tarNames(store.images.export('links:1'))).toEqual(['etc/', 'etc/a', 'etc/b', 'etc/link'])
    const container = await store.containers.create('links:1')
    const offline = await collect(container.export())
    await using _root = await container.mount()
    expect(await collect(container.export())).toEqual(offline)
    const types = (await readAll(offline)).map(({ header }) => `${header.type} ${header.name.toString()}`)
    expect(types).toContain('hardlink etc/link')
    expect(types).toContain('file .dockerenv')
  })
})

describe.skipIf(missing('canMount', 'hasBinding'))('import', () => {
  it("takes one of Node's streams, compressed or not", async () => {
    const store = await newStore()
    await store.images.load(archiveOf(nginxImage()))
    const rootfs = await collect(store.images.export('nginx:1'))
    const file = join(store.root, '../rootfs.tar')
    for (const bytes of [rootfs, gzipSync(rootfs)]) {
      writeFileSync(file, bytes)
      const image = await store.images.import(createReadStream(file), 'flat:1')
      expect(image.diffIDs).toEqual([sha256(rootfs)])
      expect(await collect(store.images.export('flat:1'))).toEqual(rootfs)
    }
  })

  it('makes no image of a stream that is aborted, before its first bytes or after', async () => {
    const store = await newStore()
    for (const first of [[], [Buffer.alloc(512)]]) {
      const abort = new AbortController()
      const stream = new PassThrough()
      for (const bytes of first) stream.write(bytes)
      const importing = store.images.import(stream, 'flat:1', { signal: abort.signal })
      setTimeout(() => {
        abort.abort(new Error('enough'))
        stream.end()
      }, 50)
      await expect(importing).rejects.toThrow('enough')
    }
    expect(await store.images.list()).toEqual([])
    expect(readdirSync(join(store.root, 'overlay2/staging'))).toEqual([])
  })

  it('makes a one-layer image of a root file system', async () => {
    const store = await newStore()
    await store.images.load(archiveOf(nginxImage()))
    const rootfs = await collect(store.images.export('nginx:1'))
    const image = await store.images.import(streamOf(rootfs), 'flat:1', {
      message: 'flattened',
      changes: ['CMD sh'],
    })
    expect(image.diffIDs).toEqual([sha256(rootfs)])
    expect(image.config.config?.Cmd).toEqual(['/bin/sh', '-c', 'sh'])
    expect(await store.images.history('flat:1')).toMatchObject([{ comment: 'flattened', empty: false }])
    expect(await collect(store.images.export('flat:1'))).toEqual(rootfs)
  })

  it('leaves nothing of an archive that is cut off', async () => {
    const store = await newStore()
    await store.images.load(archiveOf(nginxImage()))
    const rootfs = await collect(store.images.export('nginx:1'))
    // Inside the first body.
    const importing = store.images.import(streamOf(rootfs.subarray(0, 2000)), 'flat:1')
    await expect(importing).rejects.toMatchObject({ code: 'ERR_BAD_TAR' })
    expect(await store.images.list()).toHaveLength(1)
    expect(await store.layers.list()).toHaveLength(3)
  })
})
