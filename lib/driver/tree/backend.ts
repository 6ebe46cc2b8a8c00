/** What tells the drivers apart that keep each layer as a tree of its own, whole with all that its parents have. */
import type { Detached } from '../../native/mount.ts'
import type { DriverProblem, LayerQuota, LayerWeight } from '../driver.ts'
import type { Home } from '../home/home.ts'
import type { Trash } from '../home/trash.ts'

/** The root of a tree, for as long as this is not disposed of. */
export interface TreeRoot extends AsyncDisposable {
  readonly path: string
}

/** A tree that no id names yet. It belongs to a staging folder, whose lock keeps it from gc. */
export type LooseTree = TreeRoot

/** Deletes what was set aside: see the methods of Trash that are called so. */
export type TreeTrash = Pick<Trash, 'empty' | 'start' | 'settled' | 'idle'>

export interface TreeBackend {
  /** Docker's name of the driver. */
  readonly name: string
  readonly home: Home
  /** The folder in the home below which get() mounts. */
  readonly mergedDir: string
  /** Whether a clone takes no room for what it has of its parent. */
  readonly clonesShare: boolean
  /** Of trees that are no folders; folders go to the home's. */
  readonly trash?: TreeTrash
  /**
   * Checks that the file system can carry the driver. Leaves nothing behind.
   * @throws ERR_UNSUPPORTED_FS, ERR_NO_PRIVILEGE
   */
  verify(): Promise<void>
  /** Makes what the home has besides. */
  makeFolders(): Promise<void>
  /** Where the tree of `id` shows; for zfs, while it is mounted. @throws ERR_INVALID_ARGUMENT */
  pathOf(id: string): string
  exists(id: string): Promise<boolean>
  list(): Promise<string[]>
  /** The tree of a layer, to read or to write in. @throws ERR_LAYER_NOT_FOUND */
  open(id: string): Promise<TreeRoot>
  /** The same as a detached mount of its own with the MOUNT_ATTR_* `attributes`. @throws ERR_LAYER_NOT_FOUND */
  mount(id: string, attributes: number, signal?: AbortSignal): Promise<Detached>
  /** Makes an empty tree; `path`, below the home's staging folder, is its place or tells of its name. */
  createTree(path: string): Promise<LooseTree>
  /**
   * Makes what the layer `parent` is, owners, attributes, links and times and all. `path` is as for createTree.
   * @throws ERR_LAYER_NOT_FOUND
   */
  cloneTree(parent: string, path: string, signal?: AbortSignal): Promise<LooseTree>
  /**
   * Limits what the tree takes, and writes down that `id`, as which it will be known, has that size. Where a backend has
   * no such method a size is refused.
   * @throws ERR_UNSUPPORTED_FS
   */
  limitTree?(tree: LooseTree, id: string, size: number): Promise<void>
  /**
   * cloneTree(), limited: where a limit counts only what comes after it, and a tree that is there already cannot be
   * given one.
   * @throws as limitTree(); ERR_INVALID_ARGUMENT when the layer `parent` takes more
   */
  cloneLimited?(parent: string, path: string, size: number): Promise<LooseTree>
  /** Makes it the tree of `id`, in one step. @throws ERR_ALREADY_EXISTS */
  publish(tree: LooseTree, id: string): Promise<void>
  /** Puts it in the place of the tree of `id`, which goes to the trash or into the staging folder. */
  replace(tree: LooseTree, id: string): Promise<void>
  /** Removes a tree that was not published, where it does not go with the staging folder. */
  discard?(tree: LooseTree): Promise<void>
  /** Sets the tree of `id` aside; false where there is none. `sync`: see Driver.remove. */
  remove(id: string, trash: Trash, sync: boolean): Promise<boolean>
  /** See Driver.quota. @throws ERR_LAYER_NOT_FOUND */
  quotaOf?(id: string): Promise<LayerQuota | undefined>
  /** See Driver.renewQuota. */
  renewLimit?(id: string): Promise<void>
  /** See Driver.diskUsage; where the file system counts. @throws ERR_LAYER_NOT_FOUND */
  diskUsageOf?(id: string): Promise<number>
  /** Looks at a tree that is to go; what it gives is called when it has gone. */
  leave?(id: string): Promise<() => Promise<void>>
  /** Removes what is written down of a tree that has gone. */
  forget?(id: string): Promise<void>
  /** Whether a layer that the store does not know is this home's at all. Always, where there is no such method. */
  isOurs?(id: string): Promise<boolean>
  /** What is wrong with the home that only the backend can see. */
  check?(ids: readonly string[]): Promise<DriverProblem[]>
  /** See Driver.costOf. */
  costOf?(layers: readonly LayerWeight[]): string | undefined
  /** Pairs for `info`, with moby's keys. */
  status(): Promise<readonly (readonly [string, string])[]>
}
