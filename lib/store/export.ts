/**
 * A merged root file system as one tar, as `docker export` gives it: names in the order of a sorted walk, no entry
 * for the root, hard links as links, whiteouts applied and not shown.
 */
import { constants, openSync } from 'node:fs'
import { pathAt, walk } from '../fs/walk.ts'
import { type DiffEntry, sourceOf } from '../driver/overlay2/diff.ts'
import { OverlaidError } from '../errors.ts'
import type { OwnedFd } from '../native/fd.ts'
import { cloneMount } from '../native/mount.ts'
import { S } from '../native/flags.ts'
import { type TarSource, writeTar } from '../tar/writer.ts'
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
): AsyncGenerator<Buffer> {
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
): AsyncGenerator<Buffer> {
  const { path } = await mountStateOf(store, entry)
  const { fd } = await (path === undefined
    ? store.driver.open(entry.mount.mountID, { readOnly: true })
    : cloneMount(path))
  yield* packAndClose(fd, options)
}

async function* packAndClose(root: OwnedFd, options: ExportOptions): AsyncGenerator<Buffer> {
  try {
    yield* writeTar(sources(root.fd, options), options)
  } finally {
    await root.closeAsync()
  }
}

const OPEN_FILE = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK

async function* sources(rootFd: number, options: ExportOptions): AsyncGenerator<TarSource> {
  const firstNames = new Map<string, Buffer>()
  for await (const found of walk(rootFd, { xattrs: true, ...options })) {
    const { stat, parentFd, name } = found
    if ((stat.mode & S.S_IFMT) === S.S_IFSOCK) continue
    const inode = `${String(stat.devMajor)}:${String(stat.devMinor)}:${String(stat.ino)}`
    const open = () => Promise.resolve(openSync(pathAt(parentFd, name), OPEN_FILE))
    const entry: DiffEntry = { ...found, kind: 'plain', inode, open }
    yield sourceOf(entry, firstNames)
  }
}
