/** Finding the folder of a layer whose `cache-id` is lost: the one whose files give the layer's archive. */
import { OverlaidError } from '../errors.ts'
import type { StoreContext } from './context.ts'
import type { CacheID, DiffID } from '../oci/digest.ts'
import type { Inventory, LayerState } from './inventory.ts'
import { layerTar } from './layer-tar.ts'

/**
 * The folder, undefined when none has the content. Reads each folder that no record names, so this may take as long as
 * reading the layer from disk as many times.
 */
export async function findFolder(
  store: StoreContext,
  inventory: Inventory,
  { chainID, diffID }: LayerState,
): Promise<CacheID | undefined> {
  if (diffID === undefined) return undefined
  for (const cacheID of unnamedFolders(inventory)) {
    if (await hasContent(store, { chainID, diffID, cacheID })) return cacheID
  }
  return undefined
}

function unnamedFolders({ folders, layers, mounts, tombstones }: Inventory): CacheID[] {
  const named = new Set<string | undefined>()
  for (const { cacheID } of [...layers.values(), ...tombstones]) named.add(cacheID)
  for (const { mountID, initID } of mounts.values()) named.add(mountID).add(initID)
  return [...folders].filter((id) => !named.has(id)) as CacheID[]
}

async function hasContent(
  store: StoreContext,
  layer: { readonly chainID: LayerState['chainID']; readonly diffID: DiffID; readonly cacheID: CacheID },
): Promise<boolean> {
  try {
    for await (const chunk of layerTar(store, layer)) void chunk
    return true
  } catch (error) {
    // Another layer's, or damaged itself.
    if (error instanceof OverlaidError) return false
    throw error
  }
}
