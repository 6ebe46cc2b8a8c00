/** Mounting images read-only, to look into them without making a container. */
import { OverlaidError } from '../errors.ts'
import type { StoreContext } from './context.ts'
import { imageSubject } from './hold.ts'
import type { Image, ImageMountOptions } from './image-store.ts'
import { findLayer } from './layer-db.ts'
import type { Mount } from './mount.ts'
import { mountSubject, type Subject } from './mounting.ts'
import { expectLayers } from './reading-lease.ts'

/**
 * Mounts an image.
 * @throws ERR_INVALID_ARGUMENT when it has no layers, ERR_IMAGE_NOT_FOUND when it has been removed meanwhile
 */
export async function mountImage(
  store: StoreContext,
  image: Image,
  options: ImageMountOptions,
): Promise<Mount> {
  for (;;) {
    const subject = await subjectOf(store, image)
    try {
      return await mountSubject(store, subject, { ...options, readOnly: true })
    } catch (error) {
      // The mount was made of folders that somebody removed or replaced meanwhile: that is known under the lock.
      const now = await store.locked(() => expectLayers(store, image))
      if (now?.cacheID === subject.driverID) throw error
    }
  }
}

/** What is mounted are the image's layers: images of the same layers share mounts. */
export async function subjectOf(store: StoreContext, image: Image): Promise<Subject> {
  const { id, names, chainIDs } = image
  const top = chainIDs.at(-1)
  const label = `image ${names[0] ?? id}`
  if (top === undefined) throw new OverlaidError('ERR_INVALID_ARGUMENT', `${label} has no layers to mount`)
  const record = (await findLayer(store.paths, top)) ?? (await store.locked(() => expectLayers(store, image)))
  const driverID = record?.cacheID ?? ''
  const expect = async () => {
    if ((await expectLayers(store, image))?.cacheID === driverID) return
    throw new OverlaidError('ERR_LAYER_NOT_FOUND', `${label} has other folders by now`)
  }
  return { name: imageSubject(top), label, driverID, isReadOnly: true, expect }
}
