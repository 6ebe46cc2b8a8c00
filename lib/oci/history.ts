/** The history of an image as a person wants to see it: newest step first, each with what it weighs. */
import type { ImageConfig } from './config.ts'

export interface HistoryEntry {
  /** RFC 3339; empty when the image does not say. */
  readonly created: string
  readonly createdBy: string
  /** Bytes of the layer that the step made. */
  readonly size: number
  /** The step made no layer. */
  readonly empty: boolean
  readonly comment: string
}

/**
 * The rows of `history`, newest first. Layers beyond the last step come as rows without a text, so that the sizes
 * add up to the image's.
 * @param sizes of the layers in bytes, base first, one for each of the config's diff_ids
 */
export function historyOf(config: ImageConfig, sizes: readonly number[]): HistoryEntry[] {
  const rows: HistoryEntry[] = []
  let layer = 0
  for (const step of config.history ?? []) {
    const empty = step.empty_layer ?? false
    rows.push({
      created: step.created ?? '',
      createdBy: step.created_by ?? '',
      size: empty ? 0 : (sizes[layer++] ?? 0),
      empty,
      comment: step.comment ?? '',
    })
  }
  for (const size of sizes.slice(layer)) {
    rows.push({ created: '', createdBy: '', size, empty: false, comment: '' })
  }
  return rows.reverse()
}
