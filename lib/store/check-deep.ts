/**
 * Every byte of every layer: its archive put together again from tar-split data and files, and hashed. One layer after
 * the other, in bounded memory; without a lock, so a layer that is removed meanwhile is passed over.
 */
import { OverlaidError } from '../errors.ts'
import { chainIDs } from '../oci/chain-id.ts'
import type { ChainID } from '../oci/digest.ts'
import { called } from './check-images.ts'
import type { Finding } from './check-finding.ts'
import type { StoreContext } from './context.ts'
import { findReadable, markDamaged } from './damaged.ts'
import type { Inventory } from './inventory.ts'
import type { LayerRecord } from './layer-db.ts'
import { layerTar } from './layer-tar.ts'
import { layerDir } from './paths.ts'

export interface CheckProgress {
  readonly chainID: ChainID
  /** Bytes of the layer's archive that have been compared. */
  readonly done: number
  readonly state: 'reading' | 'good' | 'damaged'
}

export interface DeepOptions {
  readonly onProgress?: (event: CheckProgress) => void
  readonly signal?: AbortSignal
}

export async function checkDeep(
  store: StoreContext,
  inventory: Inventory,
  options: DeepOptions,
): Promise<Finding[]> {
  const findings: Finding[] = []
  for (const chainID of inventory.layers.keys()) {
    options.signal?.throwIfAborted()
    const fault = await contentFault(store, chainID, options)
    if (fault !== undefined) findings.push(asFinding(store, inventory, chainID, fault))
  }
  return findings
}

/** What is wrong with a layer's content, in words; undefined when nothing is, or the quick check told it. */
async function contentFault(
  store: StoreContext,
  chainID: ChainID,
  options: DeepOptions,
): Promise<string | undefined> {
  const { onProgress = () => {}, signal } = options
  const record = await readable(store, chainID)
  if (record === undefined) return undefined
  let done = 0
  try {
    for await (const chunk of layerTar(store, record, signal === undefined ? {} : { signal })) {
      done += chunk.length
      onProgress({ chainID, done, state: 'reading' })
    }
    onProgress({ chainID, done, state: 'good' })
    return undefined
  } catch (error) {
    signal?.throwIfAborted()
    const fault = await faultOf(store, record, error)
    if (fault !== undefined) onProgress({ chainID, done, state: 'damaged' })
    return fault
  }
}

async function readable(store: StoreContext, chainID: ChainID): Promise<LayerRecord | undefined> {
  const record = await findReadable(store, chainID)
  return record !== undefined && (await store.driver.exists(record.cacheID)) ? record : undefined
}

/** Says of the content what the reading found; a layer that was removed meanwhile is no fault. */
async function faultOf(
  store: StoreContext,
  record: LayerRecord,
  error: unknown,
): Promise<string | undefined> {
  if (!(error instanceof OverlaidError)) throw error
  const now = await readable(store, record.chainID)
  return now?.cacheID === record.cacheID ? error.message : undefined
}

function asFinding(store: StoreContext, inventory: Inventory, chainID: ChainID, fault: string): Finding {
  const images = inventory.images.filter(({ diffIDs = [] }) => chainIDs([...diffIDs]).includes(chainID))
  const names = images.map(({ id }) => called(inventory, id))
  const remedy = `mark it by check --deep --repair, then load again: ${names.join(', ')}`
  return {
    kind: 'changed-layer',
    path: layerDir(store.paths, chainID),
    detail: `${fault}; ${names.length === 0 ? 'no image has it' : remedy}`,
    mark: () => markDamaged(store, chainID, fault),
  }
}
