/** What a load or save tells while it runs. */
export interface Progress {
  readonly kind: 'layer' | 'config'
  /** The layer's diffID, or the image's id. */
  readonly id: string
  /** Bytes of the blob read (load) or of the tar written (save) so far. */
  readonly done: number
  /** All bytes, where known. */
  readonly total?: number
  readonly state: 'waiting' | 'unpacking' | 'packing' | 'done' | 'exists'
}

export type OnProgress = (event: Progress) => void
