/**
 * ChainIDs: what a layer is called together with all layers below it.
 *
 * OCI image-spec, config.md, "Layer ChainID": for layers applied in order L₀ … Lₙ,
 *
 *     ChainID(L₀)        = DiffID(L₀)
 *     ChainID(L₀|…|Lₙ)   = Digest(ChainID(L₀|…|Lₙ₋₁) + " " + DiffID(Lₙ))
 *
 * over the text of both ids, prefix included, one space between them and no newline. Two images that share their
 * first layers share those layers' chainIDs: this is what lets a store keep them once.
 */
import { type ChainID, type DiffID, digestOf } from './digest.ts'

/** The chainID of a layer on `parent`; of a base layer when `parent` is undefined. */
export function chainID(parent: ChainID | undefined, diffID: DiffID): ChainID {
  if (parent === undefined) return diffID as string as ChainID
  return digestOf(`${parent} ${diffID}`) as string as ChainID
}

/** The chainID of each layer of an image, base first. */
export function chainIDs(diffIDs: readonly DiffID[]): ChainID[] {
  const chain: ChainID[] = []
  for (const diffID of diffIDs) chain.push(chainID(chain.at(-1), diffID))
  return chain
}
