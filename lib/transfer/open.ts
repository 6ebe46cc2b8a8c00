/** Opens what an image is loaded from: a docker archive, an OCI archive or layout, by what is inside. */
import { createReadStream } from 'node:fs'
import { open, stat } from 'node:fs/promises'
import { OverlaidError } from '../errors.ts'
import { checkLayoutFile } from '../oci/layout.ts'
import type { TarLimits } from '../tar/entry.ts'
import { Archive } from './archive.ts'
import { decompressed, sniff } from './compression.ts'
import { readDockerArchive } from './docker-archive.ts'
import { readAt, readRange } from './file.ts'
import { Folder } from './folder.ts'
import { type LayoutOptions, readOCILayout } from './oci-layout.ts'
import { type Parts, readDocument } from './parts.ts'
import type { ImageSource, SourceImage } from './source.ts'
import { DEFAULT_LIMITS } from '../tar/scanner.ts'
import { spool } from './spool.ts'

export interface OpenOptions extends LayoutOptions {
  /** Where streams and compressed archives are unpacked to, in files without a name. Made when missing. */
  readonly spoolDir: string
  readonly limits?: TarLimits | undefined
}

const STREAM = 'the archive'
const SNIFF_BYTES = 16

/**
 * Opens images as files: a path to an archive (plain, gzip or zstd) or to an OCI layout folder, or an archive as
 * a stream. Manifests and configs are read and checked here, layers when they are asked for. Where an archive is
 * both, as docker's since 25, it is read as docker's.
 *
 * A plain archive at a path is read in place, several layers at a time; anything else is written to
 * {@link OpenOptions.spoolDir} first, since manifests come last in many archives.
 * @throws ERR_BAD_MANIFEST, ERR_BAD_TAR, ERR_BAD_COMPRESSION, ERR_DIGEST_MISMATCH, ERR_SIZE_MISMATCH,
 *   ERR_LIMIT_EXCEEDED, ERR_UNSUPPORTED_MEDIA_TYPE, ERR_UNSUPPORTED_PLATFORM; errno names
 */
export async function openImageSource(
  from: string | AsyncIterable<Buffer>,
  options: OpenOptions,
): Promise<ImageSource> {
  const parts =
    typeof from === 'string' ? await openPath(from, options) : await openStream(from, STREAM, options)
  return closingOnError(parts, async () => {
    const images = await readImages(parts, options)
    return { images, [Symbol.asyncDispose]: () => parts[Symbol.asyncDispose]() }
  })
}

async function closingOnError<T>(resource: AsyncDisposable, use: () => Promise<T>): Promise<T> {
  try {
    return await use()
  } catch (error) {
    await resource[Symbol.asyncDispose]()
    throw error
  }
}

async function openPath(path: string, options: OpenOptions): Promise<Parts> {
  const stats = await stat(path)
  if (stats.isDirectory()) return new Folder(path)
  // A fifo or a terminal can be read once, in order.
  if (!stats.isFile()) return openStream(createReadStream(path) as AsyncIterable<Buffer>, path, options)
  const file = await open(path, 'r')
  return closingOnError(file, async () => {
    if (sniff(await readAt(file, 0, SNIFF_BYTES), path) === 'none') return Archive.open(file, path, options)
    const content = readRange(file, { offset: 0, size: stats.size }, path, options.signal)
    const parts = await openStream(content, path, options)
    await file.close()
    return parts
  })
}

async function openStream(stream: AsyncIterable<Buffer>, name: string, options: OpenOptions): Promise<Parts> {
  const { spoolDir: dir, limits, signal } = options
  const file = await spool(decompressed(stream, name), {
    dir,
    signal,
    maxBytes: limits?.maxBytes ?? DEFAULT_LIMITS.maxBytes,
  })
  return closingOnError(file, () => Archive.open(file, name, options))
}

async function readImages(parts: Parts, options: OpenOptions): Promise<readonly SourceImage[]> {
  const isArchive = parts instanceof Archive
  const manifest = isArchive ? await parts.find('manifest.json') : undefined
  if (manifest !== undefined) return readDockerArchive(parts, manifest, options.signal)
  const layout = await parts.find('oci-layout')
  if (layout !== undefined) {
    checkLayoutFile(await readDocument(layout, 'oci-layout', options.signal))
    return readOCILayout(parts, options)
  }
  throw await noImage(parts, isArchive)
}

async function noImage(parts: Parts, isArchive: boolean): Promise<OverlaidError> {
  if (!isArchive) {
    const hint = 'an archive is loaded by its own path; a folder must be an OCI image layout'
    return new OverlaidError('ERR_BAD_MANIFEST', `${parts.name} has no oci-layout file`, { hint })
  }
  if ((await parts.find('repositories')) !== undefined) {
    const what = `${parts.name} was saved by Docker before 1.10: it has repositories, but no manifest.json`
    return new OverlaidError('ERR_BAD_MANIFEST', what, {
      hint: 'load it into a later Docker and save it again',
    })
  }
  const what = `${parts.name} holds no image: it has neither manifest.json nor oci-layout`
  return new OverlaidError('ERR_BAD_MANIFEST', what, { hint: 'the tar of a root file system is for import' })
}
