/**
 * Trees on their way in: a layer from its archive, and a copy of a parent. The protocol, with what a crash leaves:
 *
 *     staging/<x>/ made and locked, unpacked, settled       rubbish: the folder, for whoever gets its lock
 *     staging/<x>/layer/tree cloned from the parent         rubbish, as before
 *     what was unpacked put onto it, synced                 the content is on disk before any name is
 *     parents/<id> written                                  rubbish: the parent of no layer
 *     idmaps/<id> written, when it has a map                rubbish: the map of no layer, as well
 *     staging/<x>/layer/tree → <trees>/<id>, synced         the layer is there, whole
 *     staging/<x>/ removed                                  rubbish: an empty staging folder
 */
import { rename } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { hasCode, OverlaidError } from '../../errors.ts'
import { type DurableOptions, fsyncDir, writeFileAtomic } from '../../fs/atomic.ts'
import { failpoint } from '../../fs/failpoint.ts'
import { isFolder, openFolder } from '../../fs/folder.ts'
import { AT_FDCWD, binding } from '../../native/binding.ts'
import { RENAME } from '../../native/flags.ts'
import { StagedUpper, type Unpacking } from '../home/staged.ts'
import { makeStagingFolder, removeStagingFolder, type StagingFolder } from '../home/staging-folder.ts'
import { moveToTrash } from '../home/trash.ts'
import type { IDMap } from '../id-map.ts'
import type { TreeBackend } from './backend.ts'
import { recordIDMap } from './id-map.ts'
import { MODES, parentFile } from './layout.ts'
import { mergeUpper } from './merge.ts'

/** What the staged tree is called beside the upper directory `diff`. */
const TREE = 'tree'

export class StagedTree extends StagedUpper {
  readonly #backend: TreeBackend
  readonly #pathOf: (id: string) => string

  constructor(
    unpacking: Unpacking,
    folder: StagingFolder,
    backend: TreeBackend,
    pathOf: (id: string) => string,
  ) {
    super(unpacking, folder)
    this.#backend = backend
    this.#pathOf = pathOf
  }

  async commit(id: string, parent: string | undefined): Promise<void> {
    if (isFolder(this.#pathOf(id))) throw alreadyThere(id)
    await this.settle(parent)
    await publish(this.#backend, join(this.dir, TREE), this.#pathOf(id), { id, parent })
    await this.finish()
  }

  async replace(id: string, parent: string | undefined): Promise<void> {
    const target = this.#pathOf(id)
    if (!isFolder(target)) return this.commit(id, parent)
    await this.settle(parent)
    const { home } = this.#backend
    await writeParent(this.#backend, id, parent)
    const staged = join(this.dir, TREE)
    failpoint('driver.tree.before-exchange')
    await binding.renameat2(AT_FDCWD, staged, AT_FDCWD, target, RENAME.RENAME_EXCHANGE)
    await fsyncDir(dirname(target), home)
    await moveToTrash(home.path, staged)
    await this.finish()
  }

  /** Makes the tree: a clone of the parent with what was unpacked put onto it. */
  protected override async build(parent: string | undefined): Promise<void> {
    const tree = join(this.dir, TREE)
    // With nothing below it nothing is left of what says that something is hidden: what was unpacked is the tree.
    if (parent === undefined) await rename(this.diff, tree)
    else await this.#cloneInto(tree, this.#pathOf(parent))
    await syncTree(tree, this.#backend.home)
  }

  async #cloneInto(tree: string, parent: string): Promise<void> {
    await this.#backend.cloneTree(parent, tree, this.signal)
    failpoint('driver.tree.before-merge')
    if (this.settled === undefined) return
    using root = openFolder(this.dir)
    const { settled, signal } = this
    await mergeUpper({ rootFd: root.fd, upper: 'diff', tree: TREE, settled, signal })
  }
}

/** What {@link createTree} is to make. */
export interface NewTree {
  readonly id: string
  readonly parent: string | undefined
  /** The most bytes that it may take; see TreeBackend.limitTree. */
  readonly size: number | undefined
  readonly idMap: IDMap | undefined
}

/** Makes the tree of `id` as a copy of its parent's, or an empty one. @throws ERR_ALREADY_EXISTS */
export async function createTree(
  backend: TreeBackend,
  pathOf: (id: string) => string,
  { id, parent, size, idMap }: NewTree,
): Promise<void> {
  if (isFolder(pathOf(id))) throw alreadyThere(id)
  const { home } = backend
  const folder = await makeStagingFolder(home.path)
  try {
    const tree = join(folder.path, TREE)
    const below = parent === undefined ? undefined : pathOf(parent)
    if (size === undefined) await makeTree(backend, tree, below)
    else await makeLimited(backend, tree, below, { id, size })
    await syncTree(tree, home)
    await publish(backend, tree, pathOf(id), { id, parent, idMap })
  } finally {
    await removeStagingFolder(home.path, folder)
  }
}

async function makeTree(backend: TreeBackend, tree: string, below: string | undefined): Promise<void> {
  if (below === undefined) await backend.createTree(tree)
  else await backend.cloneTree(below, tree)
}

async function makeLimited(
  backend: TreeBackend,
  tree: string,
  below: string | undefined,
  { id, size }: { readonly id: string; readonly size: number },
): Promise<void> {
  if (below !== undefined && backend.cloneLimited !== undefined) {
    await backend.cloneLimited(below, tree, size)
    return
  }
  await makeTree(backend, tree, below)
  await backend.limitTree?.(tree, id, size)
}

/** What is written down of a tree before it has its name. */
interface Recorded {
  readonly id: string
  readonly parent: string | undefined
  readonly idMap?: IDMap | undefined
}

async function publish(
  backend: TreeBackend,
  from: string,
  to: string,
  { id, parent, idMap }: Recorded,
): Promise<void> {
  // Of two who make one id the later must not say whose child it is.
  if (isFolder(to)) throw alreadyThere(id)
  await writeParent(backend, id, parent)
  await recordIDMap(backend.home, id, idMap)
  failpoint('driver.tree.before-rename')
  try {
    // rename(2) alone would replace an empty tree.
    await binding.renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME.RENAME_NOREPLACE)
  } catch (error) {
    throw hasCode(error, 'ENOTEMPTY', 'EEXIST') ? alreadyThere(id) : error
  }
  failpoint('driver.tree.before-sync')
  await fsyncDir(dirname(to), backend.home)
}

async function writeParent({ home }: TreeBackend, id: string, parent: string | undefined): Promise<void> {
  failpoint('driver.tree.before-parent')
  await writeFileAtomic(parentFile(home.path, id), parent ?? '', {
    mode: MODES.parent,
    durability: home.durability,
  })
}

/** One syncfs costs less than an fsync a file, and brings the folders' entries along. */
async function syncTree(path: string, { durability }: DurableOptions): Promise<void> {
  if (durability !== 'full') return
  using tree = openFolder(path)
  await binding.syncfs(tree.fd)
}

function alreadyThere(id: string): OverlaidError {
  return new OverlaidError('ERR_ALREADY_EXISTS', `there is a layer ${id} already`)
}
