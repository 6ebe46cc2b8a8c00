/** Where the disk's bytes are. All numbers are bytes on disk (st_blocks), each inode once. */
import type { ChainID, Digest } from '../oci/digest.ts'

export interface DiskUsage {
  /** Everything that the store keeps on disk: layers, containers and rubbish in the driver's home. */
  readonly total: number
  readonly layers: {
    readonly count: number
    readonly bytes: number
    /** Of layers that more than one image has. */
    readonly shared: number
    /** Of layers that no image and no container needs. */
    readonly reclaimable: number
  }
  readonly containers: { readonly count: number; readonly bytes: number; readonly reclaimable: number }
  readonly images: readonly {
    readonly id: Digest
    readonly names: readonly string[]
    readonly bytes: number
    /** Of layers that another image has too. */
    readonly shared: number
    /** Of layers that only this image has: what removing it would free when no container uses it. */
    readonly unique: number
    readonly containers: number
  }[]
  readonly perLayer: readonly { readonly chainID: ChainID; readonly bytes: number; readonly images: number }[]
  readonly perContainer: readonly { readonly id: string; readonly name: string; readonly bytes: number }[]
  /** What gc, rm of unmounted containers and rmi of unused images would free together. */
  readonly reclaimable: number
}
