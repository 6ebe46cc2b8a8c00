/** What tells the drivers apart that keep each layer as a tree of its own, whole with all that its parents have. */
import type { DriverProblem, LayerQuota, LayerWeight } from '../driver.ts'
import type { Home } from '../home/home.ts'

export interface TreeBackend {
  /** Docker's name of the driver. */
  readonly name: string
  readonly home: Home
  /** The folder in the home that the trees are in, each by its id. */
  readonly treesDir: string
  /** Whether a clone takes no room for what it has of its parent. */
  readonly clonesShare: boolean
  /**
   * Checks that the file system can carry the driver. Leaves nothing behind.
   * @throws ERR_UNSUPPORTED_FS, ERR_NO_PRIVILEGE
   */
  verify(): Promise<void>
  /** Makes an empty tree at `path`, below the home's staging folder. */
  createTree(path: string): Promise<void>
  /** Makes at `path` what is at `parent`, owners, attributes, links and times and all. */
  cloneTree(parent: string, path: string, signal?: AbortSignal): Promise<void>
  /**
   * Limits what the tree at `path` takes, and writes down that `id`, as which it will be known, has that size. Where a
   * backend has no such method a size is refused.
   * @throws ERR_UNSUPPORTED_FS
   */
  limitTree?(path: string, id: string, size: number): Promise<void>
  /**
   * cloneTree(), limited: where a limit counts only what comes after it, and a tree that is there already cannot be
   * given one.
   * @throws ERR_UNSUPPORTED_FS; ERR_INVALID_ARGUMENT when what is at `parent` takes more
   */
  cloneLimited?(parent: string, path: string, size: number): Promise<void>
  /** See Driver.quota. */
  quotaOf?(path: string): Promise<LayerQuota | undefined>
  /** See Driver.renewQuota. */
  renewLimit?(path: string, id: string): Promise<void>
  /** Looks at a tree that is to go; what it gives is called when it has gone. */
  leave?(path: string): Promise<() => Promise<void>>
  /** Removes what is written down of a tree that has gone. */
  forget?(id: string): Promise<void>
  /** What is wrong with the home that only the backend can see. */
  check?(pathOf: (id: string) => string, ids: readonly string[]): Promise<DriverProblem[]>
  /** See Driver.costOf. */
  costOf?(layers: readonly LayerWeight[]): string | undefined
  /** Pairs for `info`, with moby's keys. */
  status(): Promise<readonly (readonly [string, string])[]>
}
