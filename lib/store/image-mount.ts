/** Mounting images read-only, to look into them without making a container. */
import { OverlaidError } from '../errors.ts'
import type { StoreContext } from './context.ts'
import { imageSubject } from './hold.ts'
import type { Image, ImageMountOptions } from './image-store.ts'
import { readLayer } from './layer-db.ts'
import type { Mount } from './mount.ts'
import { mountSubject, type Subject } from './mounting.ts'

/** Mounts an image. @throws ERR_INVALID_ARGUMENT when it has no layers */
export async function mountImage(
  store: StoreContext,
  image: Image,
  options: ImageMountOptions,
): Promise<Mount> {
  return mountSubject(store, await subjectOf(store, image), { ...options, readOnly: true })
}

/** What is mounted are the image's layers: images of the same layers share mounts. */
export async function subjectOf(store: StoreContext, { id, names, chainIDs }: Image): Promise<Subject> {
  const top = chainIDs.at(-1)
  const label = `image ${names[0] ?? id}`
  if (top === undefined) throw new OverlaidError('ERR_INVALID_ARGUMENT', `${label} has no layers to mount`)
  const { cacheID: driverID } = await readLayer(store.paths, top)
  const expect = async () => void (await readLayer(store.paths, top))
  return { name: imageSubject(top), label, driverID, isReadOnly: true, expect }
}
