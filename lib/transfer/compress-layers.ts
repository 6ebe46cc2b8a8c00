/**
 * Layers made into compressed blobs before any of them is written: a manifest, which comes first, has their digests.
 * Each is kept in a file without a name in the folder for temporary files, and is gone when the archive is written.
 */
import type { FileHandle } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { type DiffID, Measured } from '../oci/digest.ts'
import { OCI_LAYER } from '../oci/media-types.ts'
import { compressed, type CompressionOptions } from './compress.ts'
import type { ExportImage, ExportLayer } from './source.ts'
import { spool } from './spool.ts'

const READ_BYTES = 1024 * 1024

/** Compresses each layer once, whichever images have it. The files are closed when the images were used. */
export class CompressedLayers implements AsyncDisposable {
  readonly #options: CompressionOptions
  readonly #signal: AbortSignal | undefined
  readonly #files: FileHandle[] = []
  readonly #known: Map<DiffID, ExportLayer> = new Map()

  constructor(options: CompressionOptions, signal: AbortSignal | undefined) {
    this.#options = options
    this.#signal = signal
  }

  async images(images: readonly ExportImage[]): Promise<ExportImage[]> {
    const done: ExportImage[] = []
    for (const image of images) {
      const layers: ExportLayer[] = []
      for (const layer of image.layers) layers.push(await this.#layer(layer))
      done.push({ ...image, layers })
    }
    return done
  }

  async #layer(layer: ExportLayer): Promise<ExportLayer> {
    const known = this.#known.get(layer.diffID) ?? (await this.#compress(layer))
    this.#known.set(layer.diffID, known)
    return known
  }

  async #compress(layer: ExportLayer): Promise<ExportLayer> {
    const stream = new Measured(compressed(layer.open(), this.#options))
    const limits = { dir: tmpdir(), maxBytes: Infinity, signal: this.#signal }
    const file = await spool(stream, limits)
    this.#files.push(file)
    const { size } = await file.stat()
    const open = (): AsyncIterable<Buffer> =>
      file.createReadStream({ start: 0, autoClose: false, highWaterMark: READ_BYTES })
    const mediaType = `${OCI_LAYER}+${this.#options.type}`
    return { ...layer, blob: { mediaType, digest: stream.digest, size, open } }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const file of this.#files.splice(0)) await file.close()
  }
}
