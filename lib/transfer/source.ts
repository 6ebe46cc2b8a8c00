/** Where images come from: an archive, a layout folder. The store reads it and decides what it needs. */
import type { DiffID, Digest } from '../oci/digest.ts'
import type { ImageConfig } from '../oci/config.ts'

/** A layer as a source has it. */
export interface SourceLayer {
  readonly diffID: DiffID
  /** Digest and size of the blob as stored, where the source states them: checked while reading. */
  readonly digest?: Digest
  readonly size?: number
  /** The blob as stored, compressed or not. Opened only when the store lacks the layer. */
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
}

export interface ExportImage {
  readonly id: Digest
  readonly configBytes: Buffer
  readonly config: ImageConfig
  readonly names: readonly string[]
  readonly layers: readonly ExportLayer[]
}
