/** Media types of the documents and blobs that overlaid reads. @see OCI image-spec, media-types.md */
import { OverlaidError } from '../errors.ts'

export const OCI_INDEX = 'application/vnd.oci.image.index.v1+json'
export const OCI_MANIFEST = 'application/vnd.oci.image.manifest.v1+json'
export const OCI_CONFIG = 'application/vnd.oci.image.config.v1+json'
export const OCI_LAYER = 'application/vnd.oci.image.layer.v1.tar'
export const DOCKER_INDEX = 'application/vnd.docker.distribution.manifest.list.v2+json'
export const DOCKER_MANIFEST = 'application/vnd.docker.distribution.manifest.v2+json'
export const DOCKER_CONFIG = 'application/vnd.docker.container.image.v1+json'
export const DOCKER_LAYER = 'application/vnd.docker.image.rootfs.diff.tar'

export const INDEX_TYPES: ReadonlySet<string> = new Set([OCI_INDEX, DOCKER_INDEX])
export const MANIFEST_TYPES: ReadonlySet<string> = new Set([OCI_MANIFEST, DOCKER_MANIFEST])
export const CONFIG_TYPES: ReadonlySet<string> = new Set([OCI_CONFIG, DOCKER_CONFIG])
export const SCHEMA1_TYPES: ReadonlySet<string> = new Set([
  'application/vnd.docker.distribution.manifest.v1+json',
  'application/vnd.docker.distribution.manifest.v1+prettyjws',
])

/** How a layer is compressed is seen from its first bytes: writers get the suffix wrong. */
const LAYER = new Set([OCI_LAYER, DOCKER_LAYER].flatMap((type) => [type, ...suffixed(type)]))
const FOREIGN = /^application\/vnd\.(oci\.image\.layer\.nondistributable|docker\.image\.rootfs\.foreign)\./

/** OCI writes `tar+gzip`, docker `tar.gzip`; both are met with either. */
function suffixed(type: string): string[] {
  return ['+gzip', '.gzip', '+zstd', '.zstd'].map((suffix) => type + suffix)
}

/**
 * Refuses what is not a layer that can be unpacked.
 * @throws ERR_UNSUPPORTED_MEDIA_TYPE
 */
export function checkLayerType(mediaType: string, what: string): void {
  if (LAYER.has(mediaType)) return
  if (FOREIGN.test(mediaType)) {
    throw new OverlaidError(
      'ERR_UNSUPPORTED_MEDIA_TYPE',
      `${what} is a foreign layer, that is not distributed with its image (${mediaType})`,
    )
  }
  throw unsupportedMediaType(what, mediaType)
}

export function unsupportedMediaType(what: string, mediaType: string): OverlaidError {
  const type = JSON.stringify(mediaType.slice(0, 200))
  return new OverlaidError(
    'ERR_UNSUPPORTED_MEDIA_TYPE',
    `${what} has the media type ${type}, which is not read`,
  )
}
