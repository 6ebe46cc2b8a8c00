/**
 * Writes images as one tar, the same bytes for the same images: fixed order, no times.
 *
 * Documents come first, then layers: all digests and sizes are known beforehand, and whoever reads the archive as
 * a stream knows at once what is in it. A layer is written once, whichever images have it.
 */
import { OverlaidError } from '../errors.ts'
import type { TarMember } from '../tar/encode.ts'
import { type TarSource, writeTar } from '../tar/writer.ts'
import { dockerParts } from './docker-save.ts'
import { ociParts } from './oci-save.ts'
import { checkCompression, type CompressionOptions } from './compress.ts'
import { CompressedLayers } from './compress-layers.ts'
import type { ExportBlob, ExportImage } from './source.ts'

/** `docker`: as `docker save`. `oci`: an OCI image layout in a tar. */
export type ArchiveFormat = 'docker' | 'oci'

/** A file of the archive: a document, or a layer. */
export type ArchivePart =
  | { readonly path: string; readonly bytes: Buffer }
  | { readonly path: string; readonly body: Pick<ExportBlob, 'size' | 'open'> }

export interface WriteOptions {
  readonly format: ArchiveFormat
  /** Of the layers, in an OCI archive; without it they are plain tars. */
  readonly compression?: CompressionOptions | undefined
  readonly signal?: AbortSignal
}

/**
 * One archive of `images`. Images with the same id are one, with the names of all.
 * @throws ERR_SIZE_MISMATCH when a layer does not have the size it is said to have, and what reading it throws;
 *   ERR_INVALID_ARGUMENT for a compression that there is not
 */
export async function* writeArchive(
  images: readonly ExportImage[],
  { format, compression, signal }: WriteOptions,
): AsyncGenerator<Buffer> {
  const distinct = merge(images)
  const options = signal === undefined ? {} : { signal }
  if (compression === undefined) {
    yield* writeTar(once(format === 'docker' ? dockerParts(distinct) : ociParts(distinct)), options)
    return
  }
  checkFormat(format)
  await using layers = new CompressedLayers(checkCompression(compression), signal)
  yield* writeTar(once(ociParts(await layers.images(distinct))), options)
}

/** @throws ERR_INVALID_ARGUMENT for a docker-archive: its layers are named by their diffIDs, as docker save has it */
export function checkFormat(format: ArchiveFormat): void {
  if (format === 'oci') return
  throw new OverlaidError('ERR_INVALID_ARGUMENT', 'the layers of a docker-archive are not compressed', {
    hint: 'take the format oci, or compress the whole archive',
  })
}

function merge(images: readonly ExportImage[]): ExportImage[] {
  const byID = new Map<string, ExportImage>()
  for (const image of images) {
    const names = new Set([...(byID.get(image.id)?.names ?? []), ...image.names])
    byID.set(image.id, { ...image, names: [...names] })
  }
  return [...byID.values()]
}

/** Each path once: layers that images share, and layers that an image has twice. */
function* once(parts: readonly ArchivePart[]): Generator<TarSource> {
  const written = new Set<string>()
  for (const part of parts) {
    if (written.has(part.path)) continue
    written.add(part.path)
    if ('bytes' in part) yield { member: file(part.path, part.bytes.length), body: () => [part.bytes] }
    else yield { member: file(part.path, part.body.size), body: () => part.body.open() }
  }
}

function file(path: string, size: number): TarMember {
  return { name: Buffer.from(path), type: 'file', mode: 0o644, uid: 0, gid: 0, size, mtimeSec: 0 }
}
