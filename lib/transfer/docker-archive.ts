/**
 * Docker archives: what `docker save` writes, by manifest.json.
 *
 *     manifest.json                      [{Config, RepoTags, Layers}], since 1.10
 *     <image id>.json                    the image config; since 25 blobs/sha256/<image id>
 *     <id>/layer.tar                     a layer; ../<id>/layer.tar where another image has it already
 *     <id>/VERSION, <id>/json, repositories    for Docker before 1.10, not read
 *     <diffID>.tar                       a layer as skopeo names it
 *     blobs/sha256/<digest>              a layer since 25, beside index.json and oci-layout
 *
 * Layers may be compressed: the diffIDs in the config say what must come out.
 */
import { OverlaidError, hasCode } from '../errors.ts'
import {
  type DockerManifestEntry,
  DOCKER_MANIFEST_FILE,
  parseDockerManifest,
} from '../oci/docker-manifest.ts'
import { type Digest, isDigest, parseDigest } from '../oci/digest.ts'
import { formatReference, parseReference } from '../oci/reference.ts'
import { checkLayerCount, sourceLayer, readConfig } from './image.ts'
import { type Part, type Parts, findPart, readDocument } from './parts.ts'
import type { SourceImage } from './source.ts'

/**
 * The images of a docker archive.
 * @param manifest the part that is manifest.json
 * @throws ERR_BAD_MANIFEST, ERR_DIGEST_MISMATCH, ERR_LIMIT_EXCEEDED, ERR_UNSUPPORTED_PLATFORM
 */
export async function readDockerArchive(
  parts: Parts,
  manifest: Part,
  signal?: AbortSignal,
): Promise<SourceImage[]> {
  const images: SourceImage[] = []
  for (const entry of parseDockerManifest(await readDocument(manifest, DOCKER_MANIFEST_FILE, signal))) {
    images.push(await readImage(parts, entry, signal))
  }
  if (images.length > 0) return images
  throw new OverlaidError('ERR_BAD_MANIFEST', `${parts.name}: its manifest.json lists no image`)
}

async function readImage(
  parts: Parts,
  entry: DockerManifestEntry,
  signal?: AbortSignal,
): Promise<SourceImage> {
  const part = await findPart(parts, entry.Config)
  const bytes = await readDocument(part, entry.Config, signal)
  const { configBytes, config } = readConfig(bytes, entry.Config, configDigest(entry.Config))
  checkLayerCount(entry.Layers.length, config, `${parts.name}: image ${entry.Config}`)
  const layers = []
  for (const [i, diffID] of config.rootfs.diff_ids.entries()) {
    const path = entry.Layers[i] ?? ''
    const part = await findPart(parts, path)
    const what = `${parts.name}: ${path}`
    layers.push(sourceLayer({ diffID, digest: blobDigest(path), size: part.size, what, read: part.read }))
  }
  return { names: entry.RepoTags.map(normalized), configBytes, config, layers }
}

/** `<hex>.json` claims to be the digest of the file, and so does the path of a blob. */
function configDigest(path: string): Digest | undefined {
  const hex = /^([0-9a-f]{64})\.json$/.exec(path)?.[1]
  return hex === undefined ? blobDigest(path) : parseDigest(`sha256:${hex}`)
}

function blobDigest(path: string): Digest | undefined {
  const hex = /^blobs\/sha256\/([^/]+)$/.exec(path)?.[1]
  const digest = `sha256:${hex ?? ''}`
  return isDigest(digest) ? parseDigest(digest) : undefined
}

function normalized(tag: string): string {
  try {
    return formatReference(parseReference(tag))
  } catch (cause) {
    if (!hasCode(cause, 'ERR_INVALID_REFERENCE')) throw cause
    const { message } = cause as Error
    throw new OverlaidError('ERR_BAD_MANIFEST', `${DOCKER_MANIFEST_FILE}: RepoTags: ${message}`, { cause })
  }
}
