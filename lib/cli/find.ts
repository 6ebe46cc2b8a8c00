import { OverlaidError, hasCode } from '../errors.ts'
import type { Container } from '../store/container.ts'
import type { Image } from '../store/image-store.ts'
import type { Store } from '../store/store.ts'

/** One of the two. */
export type Found =
  | { readonly container: Container; readonly image?: undefined }
  | { readonly container?: undefined; readonly image: Image }

/**
 * What `subject` names: a container, or else an image, as docker looks them up.
 *
 * @throws ERR_CONTAINER_NOT_FOUND when it is neither; ERR_AMBIGUOUS_ID when it shortens several containers' ids
 *   and names no image
 */
export async function find(store: Store, subject: string): Promise<Found> {
  let noContainer: unknown
  try {
    return { container: await store.containers.get(subject) }
  } catch (error) {
    if (!hasCode(error, 'ERR_CONTAINER_NOT_FOUND', 'ERR_AMBIGUOUS_ID')) throw error
    noContainer = error
  }
  try {
    return { image: await store.images.get(subject) }
  } catch (error) {
    if (!hasCode(error, 'ERR_IMAGE_NOT_FOUND', 'ERR_INVALID_REFERENCE')) throw error
    if (hasCode(noContainer, 'ERR_AMBIGUOUS_ID')) throw noContainer
    throw new OverlaidError('ERR_CONTAINER_NOT_FOUND', `no such container or image: ${subject}`)
  }
}
