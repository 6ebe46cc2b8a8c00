/**
 * Writes images as one tar, the same bytes for the same images: fixed order, no times.
 *
 * Documents come first, then layers: all digests and sizes are known beforehand, and whoever reads the archive as
 * a stream knows at once what is in it. A layer is written once, whichever images have it, as an uncompressed tar.
 */
import type { TarMember } from '../tar/encode.ts'
import { type TarSource, writeTar } from '../tar/writer.ts'
import { dockerParts } from './docker-save.ts'
import { ociParts } from './oci-save.ts'
import type { ExportImage, ExportLayer } from './source.ts'

/** `docker`: as `docker save`. `oci`: an OCI image layout in a tar. */
export type ArchiveFormat = 'docker' | 'oci'

/** A file of the archive: a document, or a layer. */
export type ArchivePart =
  { readonly path: string; readonly bytes: Buffer } | { readonly path: string; readonly layer: ExportLayer }

export interface WriteOptions {
  readonly format: ArchiveFormat
  readonly signal?: AbortSignal
}

/**
 * One archive of `images`. Images with the same id are one, with the names of all.
 * @throws ERR_SIZE_MISMATCH when a layer does not have the size it is said to have, and what reading it throws
 */
export function writeArchive(
  images: readonly ExportImage[],
  { format, signal }: WriteOptions,
): AsyncGenerator<Buffer> {
  const distinct = merge(images)
  const parts = format === 'docker' ? dockerParts(distinct) : ociParts(distinct)
  return writeTar(once(parts), signal === undefined ? {} : { signal })
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
    else yield { member: file(part.path, part.layer.size), body: () => part.layer.open() }
  }
}

function file(path: string, size: number): TarMember {
  return { name: Buffer.from(path), type: 'file', mode: 0o644, uid: 0, gid: 0, size, mtimeSec: 0 }
}
