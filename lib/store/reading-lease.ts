/** Keeping layers while they are read. */
import type { ChainID } from '../oci/digest.ts'
import { hasCode } from '../errors.ts'
import type { StoreContext } from './context.ts'
import { takeLease } from './lease.ts'

/**
 * Reads with a lease on `chainIDs`, so that nobody removes them meanwhile. A store opened read-only takes none, nor
 * is one needed beside a dockerd, which lets nobody else remove anything.
 */
export async function* withLayers<T>(
  store: StoreContext,
  chainIDs: readonly ChainID[],
  read: () => AsyncIterable<T>,
): AsyncGenerator<T> {
  const lease = await leaseOf(store, chainIDs)
  try {
    yield* read()
  } finally {
    await lease?.drop()
  }
}

async function leaseOf(store: StoreContext, chainIDs: readonly ChainID[]) {
  if (store.readOnly) return undefined
  try {
    return await store.locked(() => takeLease(store.paths, { chainIDs, driverIDs: [] }))
  } catch (error) {
    if (hasCode(error, 'ERR_STORE_LOCKED')) return undefined
    throw error
  }
}
