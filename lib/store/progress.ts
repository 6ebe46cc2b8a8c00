/** What a load, pull, save or push tells while it runs. */
export interface Progress {
  readonly kind: 'layer' | 'config'
  /** The layer's diffID, or the image's id. */
  readonly id: string
  /** Bytes of the blob read (load, pull) or of the tar written (save) or compressed (push) so far. */
  readonly done: number
  /** All bytes, where known. */
  readonly total?: number
  readonly state: 'waiting' | 'unpacking' | 'packing' | 'pushing' | 'done' | 'exists'
}

export type OnProgress = (event: Progress) => void
