/** Layers: layerdb's entries, each a chainID with its folder in the driver's home. */
import type { CacheID, ChainID, DiffID } from '../oci/digest.ts'

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
  list(): Promise<LayerSummary[]> {
    throw new Error('not built yet')
  }

  /** @throws ERR_LAYER_NOT_FOUND, ERR_AMBIGUOUS_ID */
  get(_chainID: string): Promise<LayerSummary> {
    throw new Error('not built yet')
  }

  /** The layer's tar as it was loaded, byte for byte. @throws ERR_DIGEST_MISMATCH at the end when it is not. */
  tar(_chainID: string, _options?: { readonly signal?: AbortSignal }): AsyncIterable<Buffer> {
    throw new Error('not built yet')
  }
}
