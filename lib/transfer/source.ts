/** Where images come from: an archive, a layout folder. The store reads it and decides what it needs. */
import type { DiffID, Digest } from '../oci/digest.ts'
import type { ImageConfig } from '../oci/config.ts'

/** A layer as a source has it. */
export interface SourceLayer {
  readonly diffID: DiffID
  /** Of the blob as stored, where the source states it: checked while reading. */
  readonly digest?: Digest
  /** Bytes of the blob as stored: checked while reading. */
  readonly size?: number
  /**
   * The blob as stored, compressed or not; see `decompressed` in compression.ts. Opened only when the store lacks
   * the layer. Whoever reads it checks the diffID of what comes out.
   */
  open(signal?: AbortSignal): AsyncIterable<Buffer>
}

/** An image as a source has it. */
export interface SourceImage {
  /** Normalized names, e.g. `docker.io/library/alpine:3.20`. */
  readonly names: readonly string[]
  /** The config's exact bytes, verified against its digest; its sha256 is the image id. */
  readonly configBytes: Buffer
  readonly config: ImageConfig
  readonly layers: readonly SourceLayer[]
}

export interface ImageSource extends AsyncDisposable {
  readonly images: readonly SourceImage[]
}

/** Where images go: the store drives it, image by image. */
export interface ExportLayer {
  readonly diffID: DiffID
  /** Bytes of the uncompressed tar. */
  readonly size: number
  /** The uncompressed tar, byte for byte. */
  open(): AsyncIterable<Buffer>
  /** The layer as it is stored in an OCI layout, when that is not the tar itself. */
  readonly blob?: ExportBlob
}

/** A blob of an OCI layout. */
export interface ExportBlob {
  readonly mediaType: string
  readonly digest: Digest
  readonly size: number
  open(): AsyncIterable<Buffer>
}

export interface ExportImage {
  readonly id: Digest
  readonly configBytes: Buffer
  readonly config: ImageConfig
  readonly names: readonly string[]
  readonly layers: readonly ExportLayer[]
}
