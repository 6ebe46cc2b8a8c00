/**
 * Trees on their way in: a layer from its archive, and a copy of a parent. The protocol, with what a crash leaves:
 *
 *     staging/<x>/ made and locked, unpacked, settled       rubbish: the folder, for whoever gets its lock
 *     staging/<x>/layer/tree cloned from the parent         rubbish, as before
 *     what was unpacked put onto it, synced                 the content is on disk before any name is
 *     parents/<id> written                                  rubbish: the parent of no layer
 *     idmaps/<id> written, when it has a map                rubbish: the map of no layer, as well
 *     the tree (of a base layer, what was unpacked)
 *       → <trees>/<id>, synced                              the layer is there, whole
 *     staging/<x>/ removed                                  rubbish: an empty staging folder
 */
import { join } from 'node:path'
import { type DurableOptions, writeFileAtomic } from '../../fs/atomic.ts'
import { failpoint } from '../../fs/failpoint.ts'
import { openFolder } from '../../fs/folder.ts'
import { binding } from '../../native/binding.ts'
import { StagedUpper, type Unpacking } from '../home/staged.ts'
import { makeStagingFolder, removeStagingFolder, type StagingFolder } from '../home/staging-folder.ts'
import type { IDMap } from '../id-map.ts'
import type { LooseTree, TreeBackend } from './backend.ts'
import { recordIDMap } from './id-map.ts'
import { alreadyThere, MODES, parentFile } from './layout.ts'
import { mergeUpper } from './merge.ts'

/** What the staged tree is called beside the upper directory `diff`. */
const TREE = 'tree'

export class StagedTree extends StagedUpper {
  readonly #backend: TreeBackend
  readonly #upper: LooseTree
  /** What is to be published. */
  #tree: LooseTree | undefined

  constructor(unpacking: Unpacking, folder: StagingFolder, backend: TreeBackend, upper: LooseTree) {
    super(unpacking, folder, upper.path)
    this.#backend = backend
    this.#upper = upper
  }

  async commit(id: string, parent: string | undefined): Promise<void> {
    await publish(this.#backend, await this.#built(parent), { id, parent })
    await this.finish()
  }

  async replace(id: string, parent: string | undefined): Promise<void> {
    if (!(await this.#backend.exists(id))) return this.commit(id, parent)
    const tree = await this.#built(parent)
    await writeParent(this.#backend, id, parent)
    failpoint('driver.tree.before-exchange')
    await this.#backend.replace(tree, id)
    await this.finish()
  }

  async #built(parent: string | undefined): Promise<LooseTree> {
    await this.settle(parent)
    return this.#tree ?? this.#upper
  }

  /** Makes the tree: a clone of the parent with what was unpacked put onto it. */
  protected override async build(parent: string | undefined): Promise<void> {
    // With nothing below it nothing is left of what says that something is hidden: what was unpacked is the tree.
    if (parent !== undefined) this.#tree = await this.#clone(parent)
    await syncTree((this.#tree ?? this.#upper).path, this.#backend.home)
  }

  async #clone(parent: string): Promise<LooseTree> {
    const { settled, signal } = this
    const tree = await this.#backend.cloneTree(parent, join(this.dir, TREE), signal)
    // From here on it is dropped with the rest.
    this.#tree = tree
    failpoint('driver.tree.before-merge')
    if (settled === undefined) return tree
    const { home } = this.#backend
    await mergeUpper({ home: home.path, upper: this.#upper.path, tree: tree.path, settled, signal })
    return tree
  }

  protected override async drop(): Promise<void> {
    for (const tree of [this.#tree, this.#upper]) if (tree !== undefined) await discard(this.#backend, tree)
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

/**
 * Makes the tree of `id` as a copy of its parent's, or an empty one.
 * @throws ERR_ALREADY_EXISTS, ERR_LAYER_NOT_FOUND (the parent)
 */
export async function createTree(backend: TreeBackend, wanted: NewTree): Promise<void> {
  const { home } = backend
  const folder = await makeStagingFolder(home.path)
  let tree: LooseTree | undefined
  try {
    tree = await makeTree(backend, join(folder.path, TREE), wanted)
    await syncTree(tree.path, home)
    await publish(backend, tree, wanted)
  } finally {
    if (tree !== undefined) await discard(backend, tree)
    await removeStagingFolder(home.path, folder)
  }
}

async function makeTree(
  backend: TreeBackend,
  path: string,
  { id, parent, size }: NewTree,
): Promise<LooseTree> {
  if (size !== undefined && parent !== undefined && backend.cloneLimited !== undefined) {
    return await backend.cloneLimited(parent, path, size)
  }
  const tree = await (parent === undefined ? backend.createTree(path) : backend.cloneTree(parent, path))
  try {
    if (size !== undefined) await backend.limitTree?.(tree, id, size)
    return tree
  } catch (error) {
    await discard(backend, tree)
    throw error
  }
}

/** What is written down of a tree before it has its name. */
interface Recorded {
  readonly id: string
  readonly parent: string | undefined
  readonly idMap?: IDMap | undefined
}

async function publish(
  backend: TreeBackend,
  tree: LooseTree,
  { id, parent, idMap }: Recorded,
): Promise<void> {
  // Of two who make one id the later must not say whose child it is.
  if (await backend.exists(id)) throw alreadyThere(id)
  await writeParent(backend, id, parent)
  await recordIDMap(backend.home, id, idMap)
  failpoint('driver.tree.before-rename')
  await backend.publish(tree, id)
}

async function writeParent({ home }: TreeBackend, id: string, parent: string | undefined): Promise<void> {
  failpoint('driver.tree.before-parent')
  await writeFileAtomic(parentFile(home.path, id), parent ?? '', {
    mode: MODES.parent,
    durability: home.durability,
  })
}

/** One that was published is not there any more. */
async function discard(backend: TreeBackend, tree: LooseTree): Promise<void> {
  await tree[Symbol.asyncDispose]()
  await backend.discard?.(tree)
}

/** One syncfs costs less than an fsync a file, and brings the folders' entries along. */
async function syncTree(path: string, { durability }: DurableOptions): Promise<void> {
  if (durability !== 'full') return
  using tree = openFolder(path)
  await binding.syncfs(tree.fd)
}
