/** Layers: layerdb's entries, each a chainID with its folder in the driver's home. */
import { OverlaidError } from '../errors.ts'
import { type CacheID, type ChainID, type DiffID, hexOf } from '../oci/digest.ts'
import { idPrefixOf } from '../oci/reference.ts'
import type { StoreContext } from './context.ts'
import { withLayer } from './reading-lease.ts'
import { type LayerRecord, listChainIDs, readLayer } from './layer-db.ts'
import { type LayerUse, layerUse } from './use.ts'

/** A layer with the number of things that need it. */
export interface LayerSummary {
  readonly chainID: ChainID
  readonly diffID: DiffID
  readonly parent?: ChainID
  /** The folder's name in the driver's home. */
  readonly cacheID: CacheID
  /** Bytes of the layer's own content, as moby counts. */
  readonly size: number
  /** Images with this layer on top. */
  readonly images: number
  readonly children: number
  readonly containers: number
}

export class Layers {
  readonly #store: StoreContext

  /** @internal */
  constructor(store: StoreContext) {
    this.#store = store
  }

  /** Sorted by chainID. */
  async list(): Promise<LayerSummary[]> {
    this.#store.expectOpen()
    const use = await layerUse(this.#store)
    return [...use.layers.values()].map((record) => summaryOf(record, use))
  }

  /** By chainID, or its first hex digits. @throws ERR_LAYER_NOT_FOUND, ERR_AMBIGUOUS_ID */
  async get(chainID: string): Promise<LayerSummary> {
    this.#store.expectOpen()
    const record = await this.#find(chainID)
    return summaryOf(record, await layerUse(this.#store))
  }

  /** The layer's tar as it was loaded, byte for byte. @throws ERR_DIGEST_MISMATCH at the end when it is not. */
  async *tar(chainID: string, options: { readonly signal?: AbortSignal } = {}): AsyncGenerator<Buffer> {
    this.#store.expectOpen()
    const layer = await this.#find(chainID)
    const { layerTar } = await import('./layer-tar.ts')
    yield* withLayer(this.#store, layer.chainID, () => layerTar(this.#store, layer, options))
  }

  async #find(text: string): Promise<LayerRecord> {
    const prefix = idPrefixOf(text)
    const ids = prefix === undefined ? [] : await listChainIDs(this.#store.paths)
    const matching = ids.filter((id) => hexOf(id).startsWith(prefix ?? ''))
    if (matching.length > 1) {
      throw new OverlaidError('ERR_AMBIGUOUS_ID', `${text} is the start of several chainIDs`, {
        detail: matching,
      })
    }
    const [only] = matching
    if (only === undefined) throw new OverlaidError('ERR_LAYER_NOT_FOUND', `no such layer: ${text}`)
    return readLayer(this.#store.paths, only)
  }
}

function summaryOf({ chainID, diffID, parent, cacheID, size }: LayerRecord, use: LayerUse): LayerSummary {
  return {
    chainID,
    diffID,
    ...(parent !== undefined && { parent }),
    cacheID,
    size,
    images: use.images.get(chainID) ?? 0,
    children: use.children.get(chainID) ?? 0,
    containers: use.containers.get(chainID) ?? 0,
  }
}
