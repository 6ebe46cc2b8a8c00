/**
 * Docker's fuse-overlayfs: overlay2's home and layers, merged by a program in user space, for file systems on which
 * the kernel's overlayfs cannot have its upper directory (an overlay itself: a container without a volume).
 *
 * Each mount has a process, which the kernel asks for everything: slower than overlay2, much smaller than vfs. A process
 * that is killed takes its mount with it; what was written is in the upper directory.
 *
 * Deleted names are kept as archives have them, `.wh.<name>` and `.wh..wh..opq`, so that a layer can be copied to any
 * file system, and is what dockerd's driver of that name expects. What the program writes itself is read too:
 * ../upper/aufs-walk.ts has the forms.
 */
import type { Durability } from '../../fs/atomic.ts'
import { cloneMount, type Detached, isDead } from '../../native/mount.ts'
import { OverlaidError } from '../../errors.ts'
import { describeBacking } from '../backing.ts'
import { detached } from '../detached.ts'
import type { DetachedMount, MountOptions, ReadWriteOptions } from '../driver.ts'
import type { Home } from '../home/home.ts'
import { ownProject } from '../home/project-quota.ts'
import { mountAttributes } from '../mount-attributes.ts'
import type { UpperBackend, UpperReading } from '../overlay2/backend.ts'
import { folderOf } from '../overlay2/layout.ts'
import { existingFolder, readLower } from '../overlay2/links.ts'
import { isCommitted } from '../overlay2/mount-layer.ts'
import { UpperDriver } from '../overlay2/upper-driver.ts'
import { lowerLinks } from '../overlay2/view.ts'
import { noIDMaps } from '../refusals.ts'
import { toAufsMarks } from '../upper/aufs-marks.ts'
import { AUFS_PREFIX, hasOpaqueRoot, walkAufs } from '../upper/aufs-walk.ts'
import { PASSING_MARKS } from '../upper/marks.ts'
import { type FuseLayers, isServed, mountFuse, waitForEnd } from './mount.ts'
import { PROGRAM, programVersion } from './program.ts'

const NO_MAPPED_MOUNTS =
  'a file system in user space has to say that its mounts may be mapped (Linux 6.12), and the program does not'

class FuseBackend implements UpperBackend {
  readonly name = PROGRAM
  readonly server = PROGRAM
  readonly marking = { marks: PASSING_MARKS, translate: toAufsMarks }
  readonly home: Home

  constructor(home: Home) {
    this.home = home
  }

  async reading(_id: string, diffFd: number): Promise<UpperReading> {
    return { prefix: AUFS_PREFIX, walk: walkAufs, opaqueRoot: await hasOpaqueRoot(diffFd) }
  }

  refuse({ idMap }: ReadWriteOptions): void {
    if (idMap !== undefined) throw noIDMaps(this.name, NO_MAPPED_MOUNTS)
  }

  async verify(): Promise<void> {
    const { verifyFuse } = await import('./probe.ts')
    await verifyFuse(this.home.path)
  }

  async mountLayer(id: string, options: MountOptions): Promise<Detached> {
    refuseOptions(options)
    const folder = existingFolder(this.home.path, id)
    const lowers = lowerLinks(readLower(folder))
    const upper = `${id}/diff`
    const readOnly = options.readOnly === true || isCommitted(folder)
    if (readOnly) return this.#mount({ lowers: [upper, ...lowers] }, { ...options, readOnly })
    const limited = (await ownProject(this.home.path, folder.dir)) !== undefined
    return this.#mount({ lowers, upper, work: `${id}/work`, limited }, { ...options, readOnly })
  }

  openView(id: string): Promise<DetachedMount> {
    const lowers = lowerLinks(readLower(existingFolder(this.home.path, id)))
    return this.#view([`${id}/diff`, ...lowers])
  }

  async openParentView(id: string): Promise<DetachedMount | undefined> {
    const lowers = lowerLinks(readLower(folderOf(this.home.path, id)))
    return lowers.length === 0 ? undefined : this.#view(lowers)
  }

  async #view(lowers: readonly string[]): Promise<DetachedMount> {
    return detached(await this.#mount({ lowers }, { readOnly: true }))
  }

  /** A single layer is its folder, as in moby: no program is needed to merge it with nothing. */
  async #mount(layers: FuseLayers, options: MountOptions): Promise<Detached> {
    const { lowers, upper } = layers
    const single = lowers.length + (upper === undefined ? 0 : 1) === 1 ? (upper ?? lowers[0]) : undefined
    if (single === undefined) return mountFuse(this.home.path, layers, options)
    return cloneMount(`${this.home.path}/${single}/.`, mountAttributes(options))
  }

  async status(): Promise<readonly (readonly [string, string])[]> {
    const { name } = await describeBacking(this.home.path)
    return [
      ['Backing Filesystem', name],
      ['fuse-overlayfs version', await programVersion()],
    ]
  }

  /** The mount is asked, which waits for its process. One that writes has a lock, by which a look is enough to see it. */
  async isDead(id: string, path: string): Promise<boolean> {
    return !(await isServed(folderOf(this.home.path, id).work)) && (await isDead(path))
  }

  async ended(id: string): Promise<void> {
    await waitForEnd(folderOf(this.home.path, id).work)
  }
}

const KERNELS_OPTIONS = ['redirectDir', 'metacopy', 'xino', 'userxattr', 'context'] as const

/** @throws ERR_INVALID_ARGUMENT for what the program has not */
function refuseOptions(options: MountOptions): void {
  const asked = KERNELS_OPTIONS.filter((option) => options[option] !== undefined && options[option] !== false)
  if (asked.length > 0) {
    const message = `the driver ${PROGRAM} has no option ${asked.join(', ')}`
    throw new OverlaidError('ERR_INVALID_ARGUMENT', message, {
      hint: 'overlay2 has it, where it can be used',
    })
  }
  if (options.volatile !== true || options.readOnly !== true) return
  throw new OverlaidError('ERR_INVALID_ARGUMENT', 'volatile has no meaning for a read-only mount', {
    hint: 'leave out volatile or readOnly',
  })
}

/** Opens the driver on its home, `<root>/fuse-overlayfs`. Reads and writes nothing yet. */
export function openFuseOverlayfs(
  home: string,
  { durability }: { readonly durability: Durability },
): UpperDriver {
  return new UpperDriver(new FuseBackend({ path: home, durability }))
}
