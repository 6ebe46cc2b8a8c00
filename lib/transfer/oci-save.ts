/**
 * OCI archives, written: an OCI image layout in a tar. A layer that is not compressed has its diffID as digest.
 * Names go in two annotations, as docker, containerd and buildkit write and read them: the whole reference, and
 * its tag, which is what skopeo and umoci go by.
 */
import { type Digest, digestOf } from '../oci/digest.ts'
import { LAYOUT_FILE } from '../oci/layout.ts'
import { type Descriptor, formatIndex, formatManifest } from '../oci/manifest.ts'
import { OCI_CONFIG, OCI_LAYER, OCI_MANIFEST } from '../oci/media-types.ts'
import { formatReference, parseReference } from '../oci/reference.ts'
import { IMAGE_NAME, REF_NAME } from '../oci/annotations.ts'
import { blobPath } from './parts.ts'
import type { ExportBlob, ExportImage, ExportLayer } from './source.ts'
import type { ArchivePart } from './write.ts'

/** The files of an OCI archive. */
export function ociParts(images: readonly ExportImage[]): ArchivePart[] {
  const manifests = images.map((image) => ({ image, bytes: manifestOf(image) }))
  const index = formatIndex(manifests.flatMap(({ image, bytes }) => entriesOf(image, bytes)))
  return [
    { path: 'oci-layout', bytes: LAYOUT_FILE },
    { path: 'index.json', bytes: index },
    ...manifests.map(({ bytes }) => ({ path: blobPath(digestOf(bytes)), bytes })),
    ...images.map(({ id, configBytes }) => ({ path: blobPath(id), bytes: configBytes })),
    ...images
      .flatMap((image) => image.layers.map(blobOf))
      .map((blob) => ({ path: blobPath(blob.digest), body: blob })),
  ]
}

function manifestOf({ id, configBytes, layers }: ExportImage): Buffer {
  return formatManifest(
    { mediaType: OCI_CONFIG, digest: id, size: configBytes.length },
    layers.map(blobOf).map(({ mediaType, digest, size }) => ({ mediaType, digest, size })),
  )
}

function blobOf(layer: ExportLayer): ExportBlob {
  if (layer.blob !== undefined) return layer.blob
  return {
    mediaType: OCI_LAYER,
    digest: layer.diffID as string as Digest,
    size: layer.size,
    open: () => layer.open(),
  }
}

/** An entry of the index for each tag; one without a name when there is none. */
function entriesOf({ config, names }: ExportImage, manifest: Buffer): Descriptor[] {
  const { os, architecture, variant } = config
  const platform = { architecture, os, ...(variant !== undefined && { variant }) }
  const entry = {
    mediaType: OCI_MANIFEST,
    digest: digestOf(manifest),
    size: manifest.length,
    ...(architecture !== '' && { platform }),
  }
  const tags = names.map(parseReference).filter(({ tag }) => tag !== undefined)
  if (tags.length === 0) return [entry]
  return tags.map((reference) => ({
    ...entry,
    annotations: { [IMAGE_NAME]: formatReference(reference), [REF_NAME]: reference.tag ?? '' },
  }))
}
