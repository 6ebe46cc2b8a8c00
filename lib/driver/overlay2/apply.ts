import type { TarLimits, TarObserver } from '../../tar/entry.ts'

/** A folder that the archive needs but never gives, for {@link settleLayer}. */
export interface ImpliedDir {
  readonly path: Buffer
  /** Whited out by this same layer, so that nothing below it counts. */
  readonly fresh: boolean
}

/** A hard link whose target this layer does not bring. */
export interface LowerLink {
  readonly path: Buffer
  readonly target: Buffer
}

/** What a layer's archive leaves open until its parent is known. Plain data; paths are relative, canonical bytes. */
export interface ApplyNotes {
  /** Apparent bytes of what was unpacked: non-directories, each inode once (moby's rule). */
  readonly size: number
  /** Parents before children. */
  readonly implied: readonly ImpliedDir[]
  readonly whiteouts: readonly Buffer[]
  /** In the archive's order. */
  readonly links: readonly LowerLink[]
  /** The archive makes the root itself opaque, which the kernel has no mark for. */
  readonly rootOpaque: boolean
}

export interface ApplyLayerOptions {
  readonly xattrPrefix: 'trusted.overlay.' | 'user.overlay.'
  readonly limits?: TarLimits
  readonly observer?: TarObserver
  readonly signal?: AbortSignal
}

/** Unpacks an uncompressed layer tar into the empty folder `diffFd`, in overlayfs' upper form. */
export async function applyLayer(
  diffFd: number,
  tar: AsyncIterable<Buffer>,
  options: ApplyLayerOptions,
): Promise<ApplyNotes> {
  throw new Error(`not yet: ${String([diffFd, tar, options])}`)
}
