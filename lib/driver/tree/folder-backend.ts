/** Trees that are folders of the home, each by its id: rename(2) makes one appear, takes another's place, removes it. */
import { join } from 'node:path'
import { hasCode } from '../../errors.ts'
import { fsyncDir, mkdirDurable } from '../../fs/atomic.ts'
import { isFolder } from '../../fs/folder.ts'
import { AT_FDCWD, binding } from '../../native/binding.ts'
import { RENAME } from '../../native/flags.ts'
import { cloneMount, type Detached } from '../../native/mount.ts'
import type { DriverProblem } from '../driver.ts'
import { looseMode } from '../home/check.ts'
import { type Home, idsIn, isPlainID } from '../home/home.ts'
import { moveToTrash, type Trash } from '../home/trash.ts'
import type { LooseTree, TreeBackend, TreeRoot } from './backend.ts'
import { alreadyThere, expectID, MERGED_DIR, MODES, notThere } from './layout.ts'

export abstract class FolderBackend implements TreeBackend {
  readonly home: Home
  readonly mergedDir: string = MERGED_DIR
  abstract readonly name: string
  abstract readonly clonesShare: boolean
  /** The folder in the home that the trees are in, each by its id. */
  protected abstract readonly treesDir: string

  constructor(home: Home) {
    this.home = home
  }

  abstract verify(): Promise<void>
  abstract status(): Promise<readonly (readonly [string, string])[]>
  protected abstract createFolder(path: string): Promise<void>
  protected abstract cloneFolder(parent: string, path: string, signal?: AbortSignal): Promise<void>

  async makeFolders(): Promise<void> {
    const { path, durability } = this.home
    await mkdirDurable(join(path, this.treesDir), { mode: MODES.trees, durability })
  }

  pathOf(id: string): string {
    return join(this.home.path, this.treesDir, expectID(id))
  }

  exists(id: string): Promise<boolean> {
    return Promise.resolve(isFolder(this.pathOf(id)))
  }

  list(): Promise<string[]> {
    return idsIn(join(this.home.path, this.treesDir), isPlainID)
  }

  async open(id: string): Promise<TreeRoot> {
    return folderAt(this.existing(id))
  }

  async mount(id: string, attributes: number): Promise<Detached> {
    return await cloneMount(this.existing(id), attributes)
  }

  async createTree(path: string): Promise<LooseTree> {
    await this.createFolder(path)
    return folderAt(path)
  }

  async cloneTree(parent: string, path: string, signal?: AbortSignal): Promise<LooseTree> {
    await this.cloneFolder(this.existing(parent), path, signal)
    return folderAt(path)
  }

  async publish({ path }: LooseTree, id: string): Promise<void> {
    const target = this.pathOf(id)
    try {
      // rename(2) alone would replace an empty tree.
      await binding.renameat2(AT_FDCWD, path, AT_FDCWD, target, RENAME.RENAME_NOREPLACE)
    } catch (error) {
      throw hasCode(error, 'ENOTEMPTY', 'EEXIST') ? alreadyThere(id) : error
    }
    await this.#syncTrees()
  }

  async replace({ path }: LooseTree, id: string): Promise<void> {
    await binding.renameat2(AT_FDCWD, path, AT_FDCWD, this.pathOf(id), RENAME.RENAME_EXCHANGE)
    await this.#syncTrees()
    await moveToTrash(this.home.path, path)
  }

  async remove(id: string, trash: Trash, sync: boolean): Promise<boolean> {
    if (!trash.add(this.pathOf(id))) return false
    if (sync) await this.#syncTrees()
    return true
  }

  async check(_ids: readonly string[]): Promise<DriverProblem[]> {
    return await looseMode(join(this.home.path, this.treesDir))
  }

  /** @throws ERR_LAYER_NOT_FOUND, ERR_INVALID_ARGUMENT */
  protected existing(id: string): string {
    const path = this.pathOf(id)
    if (isFolder(path)) return path
    throw notThere(id)
  }

  async #syncTrees(): Promise<void> {
    await fsyncDir(join(this.home.path, this.treesDir), this.home)
  }
}

export function folderAt(path: string): TreeRoot {
  return { path, [Symbol.asyncDispose]: () => Promise.resolve() }
}
