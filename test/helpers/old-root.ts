/** Data roots as Docker's other drivers left them, made of a store's own: to the layout of moby's sources. */
import { execFileSync } from 'node:child_process'
import { cpSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { LayerSummary } from '../../lib/store/layer-store.ts'
import type { Store } from '../../lib/store/store.ts'
import { collect } from '../../lib/driver-suite/streams.ts'

export type OldDriver = 'aufs' | 'overlay' | 'vfs' | 'fuse-overlayfs'

/** Writes all that `store` has into the data root `root`, as `driver` would have. */
export async function writeOldRoot(store: Store, root: string, driver: OldDriver): Promise<void> {
  copyRecords(store, root, driver)
  for (const { id, parents, tar } of await layersOf(store)) {
    WRITERS[driver](join(root, driver), id, parents, tar)
  }
}

/** What Docker notes of images and layers. */
export function copyRecords(store: Store, root: string, driver: string): void {
  mkdirSync(join(root, 'image'), { recursive: true })
  cpSync(join(store.root, 'image/overlay2'), join(root, 'image', driver), { recursive: true })
}

export interface OldLayer {
  /** The cacheID. */
  readonly id: string
  /** The nearest first. */
  readonly parents: readonly string[]
  readonly tar: Buffer
}

/** All layers, each after its parents. */
export async function layersOf(store: Store): Promise<OldLayer[]> {
  const layers = new Map((await store.layers.list()).map((layer) => [layer.chainID as string, layer]))
  const parentsOf = (layer: LayerSummary): string[] => {
    const parent = layer.parent === undefined ? undefined : layers.get(layer.parent)
    return parent === undefined ? [] : [parent.cacheID, ...parentsOf(parent)]
  }
  const found: OldLayer[] = []
  for (const layer of layers.values()) {
    const tar = await collect(store.layers.tar(layer.chainID))
    found.push({ id: layer.cacheID, parents: parentsOf(layer), tar })
  }
  return found.sort((a, b) => a.parents.length - b.parents.length)
}

type Writer = (home: string, id: string, parents: readonly string[], tar: Buffer) => void

const WRITERS: Readonly<Record<OldDriver, Writer>> = {
  aufs(home, id, parents, tar) {
    const diff = join(home, 'diff', id)
    for (const dir of [diff, join(home, 'layers'), join(home, 'mnt', id)]) mkdirSync(dir, { recursive: true })
    writeFileSync(join(home, 'layers', id), parents.map((parent) => `${parent}\n`).join(''))
    unpack(diff, tar)
    // AUFS keeps its own names in each branch.
    for (const own of ['.wh..wh.plnk', '.wh..wh.orph']) mkdirSync(join(diff, own), { mode: 0o700 })
    writeFileSync(join(diff, '.wh..wh.aufs'), '')
  },
  overlay(home, id, [parent], tar) {
    const tree = join(home, id, 'root')
    mkdirSync(join(home, id), { recursive: true, mode: 0o700 })
    // Unchanged files are hard links to the parent's.
    if (parent === undefined) mkdirSync(tree)
    else execFileSync('cp', ['-al', join(home, parent, 'root'), tree])
    unpackOnto(tree, tar)
  },
  vfs(home, id, [parent], tar) {
    const tree = join(home, 'dir', id)
    mkdirSync(join(home, 'dir'), { recursive: true })
    if (parent === undefined) mkdirSync(tree)
    else execFileSync('cp', ['-a', join(home, 'dir', parent), tree])
    unpackOnto(tree, tar)
  },
  'fuse-overlayfs'(home, id, _parents, tar) {
    const diff = join(home, id, 'diff')
    mkdirSync(diff, { recursive: true })
    unpack(diff, tar)
  },
}

/** With its marks as the files that they are. */
function unpack(dir: string, tar: Buffer): void {
  execFileSync('tar', ['-xpf', '-', '--numeric-owner', '-C', dir], { input: tar })
}

/** A file that another tree links to is replaced, not written to. */
export function unpackOnto(dir: string, tar: Buffer): void {
  const names = execFileSync('tar', ['-tf', '-'], { input: tar, encoding: 'utf8' }).split('\n')
  for (const name of names) {
    const [, parent = '', deleted] = /^(.*?)\.wh\.([^/]+)$/.exec(name) ?? []
    if (deleted !== undefined) rmSync(join(dir, parent, deleted), { recursive: true, force: true })
  }
  const options = ['--numeric-owner', '--unlink-first', '--exclude=.wh.*']
  execFileSync('tar', ['-xpf', '-', ...options, '-C', dir], { input: tar })
}
