/** Tells whoever loads layers what they take, with a driver by which that is more than their sizes. */
import type { LayerWeight } from '../driver/driver.ts'
import type { ChainID } from '../oci/digest.ts'
import type { StoreContext } from './context.ts'
import { readLayer } from './layer-db.ts'

/** Warns of what the layers `ids` cost, which are in the store. */
export async function tellCost(store: StoreContext, ids: Iterable<ChainID>): Promise<void> {
  if (store.driver.costOf === undefined) return
  const weights = new Map<ChainID, LayerWeight>()
  const cost = store.driver.costOf(await Promise.all([...ids].map((id) => weigh(store, id, weights))))
  if (cost !== undefined) store.warn(cost)
}

async function weigh(
  store: StoreContext,
  id: ChainID,
  known: Map<ChainID, LayerWeight>,
): Promise<LayerWeight> {
  const before = known.get(id)
  if (before !== undefined) return before
  const { size, parent } = await readLayer(store.paths, id)
  const below = parent === undefined ? 0 : (await weigh(store, parent, known)).wholeSize
  const weight = { size, wholeSize: below + size }
  known.set(id, weight)
  return weight
}
