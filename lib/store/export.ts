/**
 * A merged root file system as one tar, as `docker export` gives it: names in the order of a sorted walk, no entry
 * for the root, hard links as links, whiteouts applied and not shown.
 */
import type { TarPiece } from '../driver/tar-stream.ts'
import { isPackable, SMALL_BODY, TreePacker } from '../driver/tree-packer.ts'
import { walk } from '../fs/walk.ts'
import { OverlaidError } from '../errors.ts'
import type { OwnedFd } from '../native/fd.ts'
import { cloneMount } from '../native/mount.ts'
import { type ContainerEntry, mountStateOf } from './container-entry.ts'
import type { StoreContext } from './context.ts'
import type { Image } from './image-store.ts'
import { readLayer } from './layer-db.ts'
import { withImages } from './reading-lease.ts'

export interface ExportOptions {
  readonly signal?: AbortSignal
}

/** An image's content. */
export async function* exportImage(
  store: StoreContext,
  image: Image,
  options: ExportOptions,
): AsyncGenerator<TarPiece, void, undefined> {
  const { chainIDs, id } = image
  const top = chainIDs.at(-1)
  if (top === undefined)
    throw new OverlaidError('ERR_INVALID_ARGUMENT', `image ${id} has no layers to export`)
  yield* withImages(store, [image], async function* () {
    const { cacheID } = await readLayer(store.paths, top)
    const view = await store.driver.open(cacheID, { readOnly: true })
    yield* packAndClose(view.fd, options)
  })
}

/** A container's content: of its mount, when it is mounted where this process can see it. */
export async function* exportContainer(
  store: StoreContext,
  entry: ContainerEntry,
  options: ExportOptions,
): AsyncGenerator<TarPiece, void, undefined> {
  const { path } = await mountStateOf(store, entry)
  // Its mount has the ids from outside.
  const { fd } = await (path === undefined || entry.idMap !== undefined
    ? store.driver.open(entry.mount.mountID, { readOnly: true, unmapped: true })
    : cloneMount(path))
  yield* packAndClose(fd, options)
}

async function* packAndClose(
  root: OwnedFd,
  { signal }: ExportOptions,
): AsyncGenerator<TarPiece, void, undefined> {
  try {
    yield* pack(root.fd, { xattrs: true, bodies: SMALL_BODY, ...(signal && { signal }) })
  } finally {
    await root.closeAsync()
  }
}

async function* pack(
  rootFd: number,
  options: Parameters<typeof walk>[1],
): AsyncGenerator<TarPiece, void, undefined> {
  const packer = new TreePacker()
  for await (const entries of walk(rootFd, options)) {
    for (const entry of entries) {
      if (!isPackable(entry)) continue
      const { stat, path } = entry
      const inode = (): string => `${String(stat.devMajor)}:${String(stat.devMinor)}:${String(stat.ino)}`
      const body = packer.addEntry(entry, path, inode)
      if (body !== undefined) yield* packer.passOn(body)
      else if (packer.isFull) yield* packer.takeFull()
    }
  }
  packer.end()
  yield* packer.takeAll()
}
