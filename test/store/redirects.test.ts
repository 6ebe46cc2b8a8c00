/** Containers mounted with options after which their upper directory is not the diff: what is committed of them. */
import { chmodSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { describe, expect, it } from 'vitest'
import type { MountOptions } from '../../lib/driver/driver.ts'
import { collect, listed } from '../../lib/driver-suite/streams.ts'
import { TarStream } from '../../lib/driver/tar-stream.ts'
import { naiveDiffPieces } from '../../lib/driver/tree/naive-diff.ts'
import { compareTrees } from '../../lib/driver/upper/changes.ts'
import { binding } from '../../lib/native/binding.ts'
import type { Container } from '../../lib/store/container.ts'
import type { Image } from '../../lib/store/image-store.ts'
import type { Store } from '../../lib/store/store.ts'
import { missing } from '../helpers/gates.ts'
import { buildImage } from '../helpers/image.ts'
import { watchLeaks } from '../helpers/mounts.ts'
import { MIB } from '../helpers/sizes.ts'
import { archiveOf, members, newStore, storeFolders } from '../helpers/store.ts'
import { readAll } from '../helpers/tar.ts'
import { dumpTree } from '../../lib/driver-suite/tree.ts'

watchLeaks(() => storeFolders)

const FILES = 1000
const LARGE = Buffer.alloc(8 * MIB, 'large file ')

async function loaded(store: Store): Promise<Image> {
  const files = Array.from({ length: FILES }, (_, i) => [`pkg/file-${String(i)}`, `content ${String(i)}`])
  const base = members({ 'pkg/': '', ...Object.fromEntries(files), 'pkg/sub/': '', 'pkg/sub/deep': 'deep' })
  const layers = [[...base, { name: 'large', body: LARGE, mode: 0o644 }], members({ 'pkg/file-1': 'above' })]
  return await store.images.load(archiveOf(buildImage({ layers, names: ['pkg:1'] })))
}

/** Without what create makes; an archive has whole seconds. */
async function treeOf(container: Container, options: MountOptions = {}): Promise<string[]> {
  await using mount = await container.mount(options)
  const lines = await dumpTree(mount.path ?? '', { nanoseconds: false, root: false })
  return lines.filter((line) => !/^(\.dockerenv|dev|etc|proc|sys)[ /]/.test(line))
}

interface Diff {
  readonly changes: readonly string[]
  /** By name, whiteouts too; marks of opaque folders hide what is hidden anyhow. */
  readonly members: readonly unknown[]
}

async function membersOf(tar: Buffer): Promise<unknown[]> {
  const found = (await readAll(tar)).map(({ header, body }) => {
    const name = header.name.toString()
    // Only overlayfs notes when something was deleted.
    const time = basename(name).startsWith('.wh.') ? { mtimeSec: 0, mtimeNsec: 0 } : {}
    return { ...header, ...time, name, body }
  })
  const shown = found.filter(({ name }) => !name.endsWith('.wh..wh..opq'))
  return shown.sort((a, b) => (a.name < b.name ? -1 : 1))
}

/** The container's merged tree compared with the merged tree below it, name by name. */
async function naiveDiff(store: Store, container: Container): Promise<Diff> {
  const { upperdir, lowerdir } = await container.paths()
  const [id = '', initID = ''] = [upperdir, lowerdir[0] ?? ''].map((path) => basename(dirname(path)))
  await using tree = await store.driver.open(id, { readOnly: true })
  await using below = await store.driver.open(initID, { readOnly: true })
  const changes = await compareTrees(tree.fd.fd, below.fd.fd)
  const tar = await collect(new TarStream(naiveDiffPieces(tree.fd.fd, changes), {}))
  return {
    changes: changes.map(({ kind, path }) => `${kind} ${path.toString()}`),
    members: await membersOf(tar),
  }
}

describe.skipIf(missing('hasBinding', 'canMount', 'canMknod', 'canTrustedXattr'))('a commit after', () => {
  it('a folder of 1,000 files was renamed with redirect_dir has what the naive diff has', async () => {
    const store = await newStore()
    const image = await loaded(store)
    const container = await store.containers.create(image)
    {
      await using mount = await container.mount({ redirectDir: true })
      const at = (path: string): string => join(mount.path ?? '', path)
      renameSync(at('pkg'), at('moved'))
      rmSync(at('moved/file-7'))
      writeFileSync(at('moved/file-8'), 'changed')
      writeFileSync(at('moved/new'), 'new')
    }
    const { upperdir } = await container.paths()
    expect(readdirSync(join(upperdir, 'moved')).sort()).toEqual(['file-7', 'file-8', 'new'])
    const naive = await naiveDiff(store, container)
    expect(naive.changes).toHaveLength(1 + 1 + (FILES - 1) + 1 + 2)
    expect((await listed(container.changes())).toSorted()).toEqual(naive.changes.toSorted())

    const committed = await container.commit('moved:1')
    const layer = await collect(store.layers.tar(committed.chainIDs.at(-1) ?? ''))
    expect(await membersOf(layer)).toEqual(naive.members)
    const tree = await treeOf(container)
    expect(tree).toHaveLength(1 + 1 + (FILES - 1) + 1 + 2)
    expect(await treeOf(await store.containers.create(committed))).toEqual(tree)
    expect(await store.check({ deep: true })).toEqual({ ok: true, problems: [] })
  })

  it('a large file was changed in its mode with metacopy has the whole file', async () => {
    const store = await newStore()
    const container = await store.containers.create(await loaded(store))
    {
      await using mount = await container.mount({ metacopy: true })
      chmodSync(join(mount.path ?? '', 'large'), 0o640)
    }
    const { upperdir } = await container.paths()
    const upper = join(upperdir, 'large')
    expect(await binding.lgetxattr(upper, 'trusted.overlay.metacopy')).toBeDefined()
    // An ext4 may have a block for the attributes.
    expect(statSync(upper).blocks).toBeLessThanOrEqual(8)
    expect(await listed(container.changes())).toEqual(['C /large'])

    const committed = await container.commit('mode:1')
    const [member, ...rest] = await readAll(await collect(store.layers.tar(committed.chainIDs.at(-1) ?? '')))
    expect([member?.header.name.toString(), member?.header.mode, rest]).toEqual(['large', 0o640, []])
    expect(Buffer.from(member?.body ?? '').equals(LARGE)).toBe(true)
    await using mount = await store.images.mount('mode:1')
    const path = join(mount.path ?? '', 'large')
    expect(readFileSync(path).equals(LARGE)).toBe(true)
    expect(statSync(path).mode & 0o7777).toBe(0o640)
  })
})
