/**
 * The vfs driver: a full copy of all files for each layer and each container. It works on any file system that can hold
 * a root file system at all, and costs accordingly. Docker's layout: `vfs/dir/<id>`.
 *
 * Where the file system can share blocks between files (btrfs, XFS with reflink), a copy shares them.
 *
 * A limit of the size counts the whole tree, as in moby: the container's copy of its image, shared blocks and all, and
 * what it writes. It is a project's: see ../home/project-quota.ts, also for whom ext4 lets pass it. A mount is the tree
 * itself, so that root is among those who may, unless it has no CAP_SYS_RESOURCE, as in a container.
 */
import { OverlaidError } from '../../errors.ts'
import { type Durability, mkdirExactly } from '../../fs/atomic.ts'
import { copyTree } from '../../fs/copy-tree.ts'
import { humanSize } from '../../fs/human-size.ts'
import { diskUsageOf } from '../../fs/usage.ts'
import { describeBacking, nearestExisting } from '../backing.ts'
import { inProbeFolder } from '../home/probe-folder.ts'
import { clearLimit, expectLimits, limitFolder, ownProject, quotaOf } from '../home/project-quota.ts'
import type { LooseTree } from '../tree/backend.ts'
import { TreeDriver } from '../tree/driver.ts'
import { FolderBackend, folderAt } from '../tree/folder-backend.ts'
import type { LayerQuota, LayerWeight } from '../driver.ts'
import { openFolder } from '../../fs/folder.ts'
import { vfsCost } from './cost.ts'
import { tryRootFiles } from './probe.ts'

/** moby's, of a tree that has nothing to say. */
const ROOT_MODE = 0o755

class VfsBackend extends FolderBackend {
  readonly name = 'vfs'
  readonly clonesShare = false
  protected readonly treesDir = 'dir'

  async verify(): Promise<void> {
    await inProbeFolder(nearestExisting(this.home.path), (dir) => tryRootFiles(dir))
  }

  protected createFolder(path: string): Promise<void> {
    mkdirExactly(path, ROOT_MODE)
    return Promise.resolve()
  }

  protected async cloneFolder(parent: string, path: string, signal?: AbortSignal): Promise<void> {
    mkdirExactly(path, ROOT_MODE)
    await fill(parent, path, signal)
  }

  async limitTree({ path }: LooseTree, _id: string, size: number): Promise<void> {
    await expectLimits(this.home.path, size)
    await limitFolder(this.home.path, path, size)
  }

  /** What root copies may pass the limit, so that is looked at before and after. */
  async cloneLimited(parent: string, path: string, size: number): Promise<LooseTree> {
    const from = this.existing(parent)
    await expectLimits(this.home.path, size)
    expectRoom(from, await diskUsageOf(from), size)
    mkdirExactly(path, ROOT_MODE)
    await limitFolder(this.home.path, path, size)
    await fill(from, path)
    expectRoom(from, (await quotaOf(this.home.path, path))?.used ?? 0, size)
    return folderAt(path)
  }

  async quotaOf(id: string): Promise<LayerQuota | undefined> {
    return await quotaOf(this.home.path, this.existing(id))
  }

  async leave(id: string): Promise<() => Promise<void>> {
    const project = await ownProject(this.home.path, this.pathOf(id))
    return async () => {
      if (project !== undefined) await clearLimit(this.home.path, project)
    }
  }

  costOf(layers: readonly LayerWeight[]): string | undefined {
    return vfsCost(layers)
  }

  async status(): Promise<readonly (readonly [string, string])[]> {
    const { name } = await describeBacking(this.home.path)
    return [['Backing Filesystem', name]]
  }
}

async function fill(parent: string, path: string, signal?: AbortSignal): Promise<void> {
  using from = openFolder(parent)
  using to = openFolder(path)
  await copyTree(from.fd, to.fd, signal === undefined ? {} : { signal })
}

/** @throws ERR_INVALID_ARGUMENT when the copy alone takes more than the limit */
function expectRoom(parent: string, bytes: number, size: number): void {
  if (bytes <= size) return
  const [takes, limit] = [humanSize(bytes), humanSize(size)]
  throw new OverlaidError(
    'ERR_INVALID_ARGUMENT',
    `a size of ${limit} has no room for the image, whose copy takes ${takes}: vfs counts all that the container has`,
    { path: parent, hint: `a size beyond ${takes}, by what the container is to write` },
  )
}

/** Opens the driver on its home, `<root>/vfs`. Reads and writes nothing yet. */
export function openVfs(home: string, { durability }: { readonly durability: Durability }): TreeDriver {
  return new TreeDriver(new VfsBackend({ path: home, durability }))
}
