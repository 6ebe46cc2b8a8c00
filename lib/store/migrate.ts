/** Migration: the images that another driver of Docker's left in a data root become images of this store. */
import { FOREIGN_NAMES, isForeignName } from '../driver/foreign-names.ts'
import { OverlaidError } from '../errors.ts'
import type { Digest } from '../oci/digest.ts'
import type { StoreContext } from './context.ts'
import { hasImagesOf, openForeignSource } from './foreign-source.ts'
import type { LoadOptions, LoadReport } from './image-store.ts'
import { loadImages } from './load.ts'

export interface MigrateOptions extends LoadOptions {
  /** aufs, overlay, vfs, btrfs, zfs, fuse-overlayfs or devicemapper; without it the only one of them that has images there. */
  readonly from?: string
}

export interface MigrateReport {
  readonly images: readonly {
    readonly id: Digest
    /** The id before: another one where a layer had lost the record of its archive. */
    readonly was: Digest
    readonly names: readonly string[]
  }[]
  readonly layers: LoadReport['layers']
}

/**
 * Copies; the old root stays as it is, and a dockerd may run on it, unless its driver is devicemapper: layers do not
 * change. One that goes meanwhile ends the migration, and nothing is left of that.
 * @throws ERR_INVALID_ARGUMENT, ERR_UNSUPPORTED_KERNEL, ERR_STORE_LOCKED, ERR_DAMAGED, and as loading
 */
export async function migrateImages(
  store: StoreContext,
  root: string,
  { from, ...options }: MigrateOptions,
): Promise<MigrateReport> {
  const name = from ?? onlyName(root)
  if (!isForeignName(name)) throw unreadable(name)
  const signal = options.signal === undefined ? {} : { signal: options.signal }
  await using source = await openForeignSource(root, name, signal)
  const report = await loadImages(store, source, options)
  const images = report.images.map((image, i) => ({ ...image, was: source.images[i]?.was ?? image.id }))
  return { images, layers: report.layers }
}

function onlyName(root: string): string {
  const [first, ...others] = FOREIGN_NAMES.filter((name) => hasImagesOf(root, name))
  if (first !== undefined && others.length === 0) return first
  const found = first === undefined ? 'none of them has' : `${[first, ...others].join(', ')} have`
  throw new OverlaidError('ERR_INVALID_ARGUMENT', `${found} images in ${root}`, {
    path: root,
    hint: `name the driver to migrate from: ${FOREIGN_NAMES.join(', ')}`,
  })
}

function unreadable(from: string): OverlaidError {
  const text = `layers of ${JSON.stringify(from)} cannot be migrated; those of ${FOREIGN_NAMES.join(', ')} can`
  return new OverlaidError('ERR_INVALID_ARGUMENT', text)
}
