/** What tells the drivers apart that keep each layer as a tree of its own, whole with all that its parents have. */
import type { LayerWeight } from '../driver.ts'
import type { Home } from '../home/home.ts'

export interface TreeBackend {
  /** Docker's name of the driver. */
  readonly name: string
  readonly home: Home
  /** The folder in the home that the trees are in, each by its id. */
  readonly treesDir: string
  /**
   * Checks that the file system can carry the driver. Leaves nothing behind.
   * @throws ERR_UNSUPPORTED_FS, ERR_NO_PRIVILEGE
   */
  verify(): Promise<void>
  /** Makes an empty tree at `path`, below the home's staging folder. */
  createTree(path: string): Promise<void>
  /** Makes at `path` what is at `parent`, owners, attributes, links and times and all. */
  cloneTree(parent: string, path: string, signal?: AbortSignal): Promise<void>
  /** See Driver.costOf. */
  costOf?(layers: readonly LayerWeight[]): string | undefined
  /** Pairs for `info`, with moby's keys. */
  status(): Promise<readonly (readonly [string, string])[]>
}
