/** Removing layers that nothing needs: under the store lock by renames, deleted after it. */
import { rm } from 'node:fs/promises'
import { fsyncDir } from '../fs/atomic.ts'
import { failpoint } from '../fs/failpoint.ts'
import type { CacheID, ChainID } from '../oci/digest.ts'
import type { StoreContext } from './context.ts'
import { buryLayer, type LayerRecord } from './layer-db.ts'
import { forgetLayer, isNeeded, layerUse } from './use.ts'

/**
 * Removes `top`, then the layers below it, down to the first that something still needs. The caller holds the
 * store lock, and empties the driver's trash after it.
 * @param only - removes no others than these: the undoing of a load leaves alone what it did not make
 * @returns the removed, top first
 */
export async function releaseChain(
  store: StoreContext,
  top: ChainID,
  only?: ReadonlySet<ChainID>,
): Promise<LayerRecord[]> {
  const use = await layerUse(store)
  const released: LayerRecord[] = []
  for (let record = use.layers.get(top); record !== undefined;) {
    if (isNeeded(use, record.chainID) || only?.has(record.chainID) === false) break
    released.push(record)
    forgetLayer(use, record)
    record = record.parent === undefined ? undefined : use.layers.get(record.parent)
  }
  await removeLayers(store, released)
  return released
}

/**
 * Removes layers, children before parents. First all become tombstones, durably: a layer whose record is there has
 * its folder too, at every moment and after every crash. A damaged record without a cacheID goes alone: gc finds its
 * folder as an orphan.
 */
export async function removeLayers(
  store: StoreContext,
  records: readonly { readonly chainID: ChainID; readonly cacheID: CacheID | undefined }[],
): Promise<void> {
  if (records.length === 0) return
  const { paths, driver, durability } = store
  const tombstones: string[] = []
  for (const { chainID } of records) {
    tombstones.push(await buryLayer(paths, chainID))
    failpoint('layer.remove.after-tombstone')
  }
  await fsyncDir(paths.layers, { durability })
  for (const { cacheID } of records) {
    if (cacheID !== undefined) await driver.remove(cacheID)
    failpoint('layer.remove.after-driver')
  }
  for (const tombstone of tombstones) await rm(tombstone, { recursive: true, force: true })
}
