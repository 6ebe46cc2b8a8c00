/**
 * OCI image layouts, in a folder or packed in one tar.
 *
 *     oci-layout                 {"imageLayoutVersion":"1.0.0"}
 *     index.json                 an index: descriptors of manifests, or of indexes of one image for many platforms
 *     blobs/sha256/<hex>         every manifest, config and layer, named by its digest
 *
 * Writers name images in three ways: the annotation io.containerd.image.name with a whole reference (docker,
 * containerd, buildkit); org.opencontainers.image.ref.name with a whole reference (podman, buildah); the same
 * with a tag alone (umoci, skopeo), which names nothing but a place in this layout.
 * @see OCI image-spec, image-layout.md
 */
import { OverlaidError, hasCode } from '../errors.ts'
import { IMAGE_NAME, REF_NAME } from '../oci/annotations.ts'
import { type Descriptor, parseLayoutIndex } from '../oci/manifest.ts'
import { formatReference, parseReference } from '../oci/reference.ts'
import { ImageResolver, type ResolveOptions } from './image-resolver.ts'
import { type Part, type Parts, blobPath, findPart, readDocument } from './parts.ts'
import type { SourceImage } from './source.ts'

export interface LayoutOptions extends ResolveOptions {
  /** Repository of the images whose annotation is a tag alone; without it they have no names. */
  readonly name?: string | undefined
}
/**
 * The images of a layout: of each that comes for several platforms, the one for this machine.
 * @throws ERR_BAD_MANIFEST, ERR_DIGEST_MISMATCH, ERR_SIZE_MISMATCH, ERR_LIMIT_EXCEEDED,
 *   ERR_UNSUPPORTED_MEDIA_TYPE, ERR_UNSUPPORTED_PLATFORM
 */
export async function readOCILayout(parts: Parts, options: LayoutOptions = {}): Promise<SourceImage[]> {
  const bytes = await readDocument(await findPart(parts, 'index.json'), 'index.json', options.signal)
  const { manifests } = parseLayoutIndex(bytes)
  if (manifests.length === 0)
    throw new OverlaidError('ERR_BAD_MANIFEST', `${parts.name}: its index.json is empty`)
  const { name } = parts
  const find = (descriptor: Descriptor): Promise<Part> => findPart(parts, blobPath(descriptor.digest))
  const layout = new ImageResolver({ name, find }, options)
  const images: Found[] = []
  for (const descriptor of layout.candidates(manifests)) {
    const image = await layout.resolve(descriptor, 0)
    images.push({ image, digest: descriptor.digest, names: namesOf(descriptor, options.name) })
  }
  return merge(images)
}

interface Found {
  readonly image: SourceImage
  readonly digest: string
  readonly names: readonly string[]
}

/** One image for each digest, with all its names; a name that two images have is the first one's, as specified. */
function merge(found: readonly Found[]): SourceImage[] {
  const images = new Map<string, SourceImage & { names: string[] }>()
  const taken = new Set<string>()
  for (const { image, digest, names } of found) {
    const merged = images.get(digest) ?? { ...image, names: [] }
    images.set(digest, merged)
    for (const name of names) {
      if (!taken.has(name)) merged.names.push(name)
      taken.add(name)
    }
  }
  return [...images.values()]
}

/** The normalized name that an annotation gives. Annotations are free text: one that is no reference is no name. */
function namesOf({ annotations = {} }: Descriptor, repository: string | undefined): string[] {
  const refName = annotations[REF_NAME]
  const tagged = repository === undefined || refName === undefined ? undefined : `${repository}:${refName}`
  const text = annotations[IMAGE_NAME] ?? (/[/:@]/.test(refName ?? '') ? refName : tagged)
  if (text === undefined) return []
  try {
    return [formatReference(parseReference(text))]
  } catch (error) {
    if (hasCode(error, 'ERR_INVALID_REFERENCE')) return []
    throw error
  }
}
