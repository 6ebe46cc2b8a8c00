/** What a commit and an import share: one new layer at most, then a new image. */
import { chainID } from '../oci/chain-id.ts'
import { type ChainID, type DiffID, type Digest, digestOf, EMPTY_TAR_DIFF_ID } from '../oci/digest.ts'
import type { Reference } from '../oci/reference.ts'
import type { StoreContext } from './context.ts'
import { deleteImage, listImageIDs, writeImage, writeNote } from './image-db.ts'
import { nameImage } from './image-name.ts'
import type { LayerRecord } from './layer-db.ts'
import { type Lease, takeLease } from './lease.ts'
import { commitLayer } from './register.ts'
import { releaseChain } from './release.ts'
import { discardQuietly, type UnpackedLayer } from './unpack.ts'

export interface Derivation {
  /** Layers that must stay meanwhile: the parent image's. */
  readonly needs: ChainID | undefined
  readonly parent: LayerRecord | undefined
  /** The new layer's content. */
  readonly unpack: () => Promise<UnpackedLayer>
  /** The new image's config; the layer of an archive of nothing is none. */
  readonly configBytes: (layer: DiffID) => Buffer
  readonly name: Reference | undefined
  /** The image it was made from, noted when it is still there. */
  readonly parentImage?: Digest
  readonly signal?: AbortSignal
}

/** Makes the layer and the image; its id is returned. On an error the store is as it was. */
export async function deriveImage(store: StoreContext, derivation: Derivation): Promise<Digest> {
  const { needs, parent } = derivation
  const signal = derivation.signal === undefined ? {} : { signal: derivation.signal }
  const needed = needs === undefined ? [] : [needs]
  const lease = await store.locked(() => takeLease(store.paths, { chainIDs: needed, driverIDs: [] }), signal)
  let added: ChainID | undefined
  try {
    const unpacked = await derivation.unpack()
    try {
      if (unpacked.diffID === EMPTY_TAR_DIFF_ID) await unpacked.staged.discard()
      else {
        const id = chainID(parent?.chainID, unpacked.diffID)
        // Between its commit and the image's the layer is nobody's: the lease names it before it is there.
        await store.locked(async () => lease.update({ chainIDs: [...needed, id], driverIDs: [] }), signal)
        const { isNew } = await commitLayer(store, unpacked, parent, { signal: derivation.signal })
        if (isNew) added = id
      }
    } catch (error) {
      await discardQuietly(store, unpacked.staged)
      throw error
    }
    return await store.locked(() => recordImage(store, derivation, unpacked.diffID), signal)
  } catch (error) {
    await undo(store, lease, added)
    throw error
  } finally {
    lease.drop()
  }
}

/** The commit point. The caller holds the store lock. */
async function recordImage(
  store: StoreContext,
  { configBytes, name, parentImage }: Derivation,
  layer: DiffID,
): Promise<Digest> {
  const { paths, durability } = store
  const bytes = configBytes(layer)
  const before = await listImageIDs(paths)
  const id = digestOf(bytes)
  try {
    await writeImage(paths, bytes, durability)
    if (parentImage !== undefined && before.includes(parentImage)) {
      await writeNote(paths, id, 'parent', parentImage, durability)
    }
    if (name !== undefined) await nameImage(store, id, name)
    return id
  } catch (error) {
    // Before its layer is taken back: an image without its layers would be damage.
    if (!before.includes(id)) await deleteImage(paths, id, durability)
    throw error
  }
}

async function undo(store: StoreContext, lease: Lease, added: ChainID | undefined): Promise<void> {
  if (added === undefined) return
  try {
    await store.locked(async () => {
      lease.drop()
      await releaseChain(store, added, new Set([added]))
    })
    await store.driver.emptyTrash()
  } catch (error) {
    // The first error is the one to report; what stays is a layer without an image, which gc removes.
    store.warn(`could not take back a layer: ${error instanceof Error ? error.message : String(error)}`)
  }
}
