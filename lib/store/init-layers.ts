/**
 * Filling init layers. What one has is decided by the layers below it, which never change, and finding that out needs
 * a mount: 1.5 ms of a container's creation, and the sync of its file system at the end. So it is done for the first
 * container on an image, and the entries that the driver kept of it are made again for those that follow.
 */
import type { Driver } from '../driver/driver.ts'
import { now, setupInitLayer } from '../driver/init-layer.ts'
import { openFolder } from '../fs/folder.ts'
import { type TreeEntry, walk } from '../fs/walk.ts'
import { type FileOp, fileops } from '../native/file-op.ts'
import type { Xattr } from '../native/binding.ts'
import { S } from '../native/flags.ts'
import type { StoreContext } from './context.ts'

/** A step that is yet to be given its times. */
type Entry = Untimed<Extract<FileOp, { readonly op: 'dir' | 'file' | 'symlink' | 'node' }>>
type Untimed<T> = T extends FileOp ? Omit<T, 'mtimeSec' | 'mtimeNsec'> : never

/** Images whose entries are kept, the latest: a dozen small objects each. */
const MAX_KEPT = 64

/** What the driver keeps of an image's init layer, by the id of the layer below it. */
export type InitEntries = Map<string, readonly Entry[]>

/** Whether {@link fillInitLayer} needs no mount for an init layer on `parent`: it is known what one has. */
export function isFilledUnmounted(
  { initEntries }: Pick<StoreContext, 'initEntries'>,
  parent: string | undefined,
): boolean {
  return parent !== undefined && initEntries.has(parent)
}

/** Fills the init layer `id`, which was just made on `parent`. */
export async function fillInitLayer(
  { driver, initEntries }: Pick<StoreContext, 'driver' | 'initEntries'>,
  id: string,
  parent: string | undefined,
): Promise<void> {
  const folder = driver.ownFolder?.(id)
  if (parent === undefined || folder === undefined) return fillMounted(driver, id)
  using own = openFolder(folder)
  const known = initEntries.get(parent)
  if (known !== undefined) return await makeAgain(own.fd, known)
  await fillMounted(driver, id)
  const found = await readEntries(own.fd)
  if (found !== undefined) keep(initEntries, parent, found)
}

function keep(entries: InitEntries, parent: string, found: readonly Entry[]): void {
  entries.set(parent, found)
  const [oldest] = entries.keys()
  if (entries.size > MAX_KEPT && oldest !== undefined) entries.delete(oldest)
}

async function fillMounted(driver: Driver, id: string): Promise<void> {
  await using root = await driver.open(id)
  await setupInitLayer(root.fd.fd)
}

async function makeAgain(rootFd: number, entries: readonly Entry[]): Promise<void> {
  const times = now()
  const steps = entries.map((entry) => ({ ...entry, ...times }))
  await fileops(rootFd, steps)
}

/** What makes the tree again; undefined where it has what no init layer has. */
async function readEntries(rootFd: number): Promise<Entry[] | undefined> {
  const found: Entry[] = []
  for await (const batch of walk(rootFd, { xattrs: true })) {
    for (const tree of batch) {
      const entry = entryOf(tree)
      if (entry === undefined) return undefined
      found.push(entry)
    }
  }
  return found
}

function entryOf({ path, stat, xattrs, target }: TreeEntry): Entry | undefined {
  const { mode, uid, gid, rdevMajor: major, rdevMinor: minor } = stat
  const meta = { path, mode, uid, gid, xattrs: xattrs.map(copyOf) }
  switch (mode & S.S_IFMT) {
    case S.S_IFDIR:
      return { op: 'dir', ...meta }
    case S.S_IFREG:
      return stat.size === 0 && stat.nlink === 1 ? { op: 'file', data: [], ...meta } : undefined
    case S.S_IFLNK:
      return { op: 'symlink', target: Buffer.from(target), ...meta }
    case S.S_IFCHR:
      return { op: 'node', major, minor, ...meta }
    default:
      return undefined
  }
}

/** The walk's own are views of a batch. */
function copyOf({ name, value }: Xattr): Xattr {
  return { name, value: Buffer.from(value) }
}
