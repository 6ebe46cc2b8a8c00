/** Keeping layers while they are read. */
import { hasCode, OverlaidError } from '../errors.ts'
import type { ChainID } from '../oci/digest.ts'
import type { StoreContext } from './context.ts'
import { expectImage } from './image-db.ts'
import type { Image } from './image-store.ts'
import { findLayer, type LayerRecord } from './layer-db.ts'
import { type Lease, takeLease } from './lease.ts'

/**
 * Reads with a lease on the images' layers, so that nobody removes them meanwhile. A store opened read-only takes
 * none, nor is one needed beside a dockerd, which lets nobody else remove anything.
 * @throws ERR_IMAGE_NOT_FOUND when one has been removed since it was looked up
 */
export async function* withImages<T>(
  store: StoreContext,
  images: readonly Pick<Image, 'id' | 'chainIDs'>[],
  read: () => AsyncIterable<T>,
): AsyncGenerator<T> {
  const lease = await leaseOf(store, async () => {
    for (const image of images) await expectLayers(store, image)
    return takeLease(store.paths, {
      chainIDs: images.flatMap(({ chainIDs }) => chainIDs.slice(-1)),
      driverIDs: [],
    })
  })
  try {
    yield* read()
  } finally {
    lease?.drop()
  }
}

/** As {@link withImages}, of one layer with all below it. */
export async function* withLayer<T>(
  store: StoreContext,
  chainID: ChainID,
  read: () => AsyncIterable<T>,
): AsyncGenerator<T> {
  const lease = await leaseOf(store, () => takeLease(store.paths, { chainIDs: [chainID], driverIDs: [] }))
  try {
    yield* read()
  } finally {
    lease?.drop()
  }
}

async function leaseOf(store: StoreContext, take: () => Promise<Lease>): Promise<Lease | undefined> {
  if (store.readOnly) return undefined
  try {
    return await store.locked(take)
  } catch (error) {
    if (hasCode(error, 'ERR_STORE_LOCKED')) return undefined
    throw error
  }
}

/**
 * The image's top layer; undefined when it has none. The caller holds the store lock.
 * @throws ERR_IMAGE_NOT_FOUND when the image has been removed, ERR_DAMAGED when only its layer is gone
 */
export async function expectLayers(
  { paths }: StoreContext,
  { id, chainIDs }: Pick<Image, 'id' | 'chainIDs'>,
): Promise<LayerRecord | undefined> {
  const top = chainIDs.at(-1)
  expectImage(paths, id)
  const record = top === undefined ? undefined : await findLayer(paths, top)
  if (record !== undefined || top === undefined) return record
  throw new OverlaidError('ERR_DAMAGED', `layer ${top} of image ${id} is missing`, {
    hint: 'load the image again',
  })
}
