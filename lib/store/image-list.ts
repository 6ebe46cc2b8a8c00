/** Listing images. */
import type { Digest } from '../oci/digest.ts'
import { namesOf } from '../oci/repositories.ts'
import type { StoreContext } from './context.ts'
import { type ImageRecord, listImageIDs, readImages, topChainID } from './image-db.ts'
import type { ImageSummary } from './image-store.ts'
import { readLayers } from './layer-db.ts'
import { readReferences } from './references.ts'
import { chainOf } from './use.ts'
import { hasCode } from '../errors.ts'

/** All images that are whole, newest first; the others are warned of, as dockerd leaves them out. */
export async function listImages(store: StoreContext): Promise<ImageSummary[]> {
  const { paths } = store
  const leaveOut = (id: Digest, error: unknown) =>
    store.warn(`image ${id} is left out: ${(error as Error).message}`)
  const images = await readImages(paths, leaveOut)
  // In this order: an image that is loaded meanwhile is not seen, one that is removed may lack its layers.
  const layers = await readLayers(paths)
  const names = await readReferences(paths)
  const summaries: ImageSummary[] = []
  for (const image of images) {
    try {
      const size = chainOf(layers, topChainID(image.config)).reduce((sum, layer) => sum + layer.size, 0)
      summaries.push(summaryOf(image, namesOf(names, image.id), size))
    } catch (error) {
      if (!hasCode(error, 'ERR_DAMAGED')) throw error
      if ((await listImageIDs(paths)).includes(image.id)) leaveOut(image.id, error)
    }
  }
  return summaries.sort((a, b) => compare(b.created ?? '', a.created ?? '') || compare(a.id, b.id))
}

function summaryOf({ id, config }: ImageRecord, names: readonly string[], size: number): ImageSummary {
  const created = config.created === undefined ? {} : { created: config.created }
  return { id, names, ...created, size, layers: config.rootfs.diff_ids }
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}
