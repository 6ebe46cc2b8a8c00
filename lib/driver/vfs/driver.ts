/**
 * The vfs driver: a full copy of all files for each layer and each container. It works on any file system that can hold
 * a root file system at all, and costs accordingly. Docker's layout: `vfs/dir/<id>`.
 *
 * Where the file system can share blocks between files (btrfs, XFS with reflink), a copy shares them.
 */
import { type Durability, mkdirExactly } from '../../fs/atomic.ts'
import { copyTree } from '../../fs/copy-tree.ts'
import { describeBacking, nearestExisting } from '../backing.ts'
import { inProbeFolder } from '../home/probe-folder.ts'
import type { Home } from '../home/home.ts'
import type { TreeBackend } from '../tree/backend.ts'
import { TreeDriver } from '../tree/driver.ts'
import type { LayerWeight } from '../driver.ts'
import { openFolder } from '../../fs/folder.ts'
import { vfsCost } from './cost.ts'
import { tryRootFiles } from './probe.ts'

/** moby's, of a tree that has nothing to say. */
const ROOT_MODE = 0o755

class VfsBackend implements TreeBackend {
  readonly name = 'vfs'
  readonly treesDir = 'dir'
  readonly clonesShare = false
  readonly home: Home

  constructor(home: Home) {
    this.home = home
  }

  async verify(): Promise<void> {
    await inProbeFolder(nearestExisting(this.home.path), (dir) => tryRootFiles(dir))
  }

  createTree(path: string): Promise<void> {
    mkdirExactly(path, ROOT_MODE)
    return Promise.resolve()
  }

  async cloneTree(parent: string, path: string, signal?: AbortSignal): Promise<void> {
    mkdirExactly(path, ROOT_MODE)
    using from = openFolder(parent)
    using to = openFolder(path)
    await copyTree(from.fd, to.fd, signal === undefined ? {} : { signal })
  }

  costOf(layers: readonly LayerWeight[]): string | undefined {
    return vfsCost(layers)
  }

  async status(): Promise<readonly (readonly [string, string])[]> {
    const { name } = await describeBacking(this.home.path)
    return [['Backing Filesystem', name]]
  }
}

/** Opens the driver on its home, `<root>/vfs`. Reads and writes nothing yet. */
export function openVfs(home: string, { durability }: { readonly durability: Durability }): TreeDriver {
  return new TreeDriver(new VfsBackend({ path: home, durability }))
}
