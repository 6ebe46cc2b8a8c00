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
import { IMAGE_NAME, REFERENCE_TYPE, REF_NAME } from '../oci/annotations.ts'
import { type Digest, verified } from '../oci/digest.ts'
import {
  type Descriptor,
  type Index,
  type Manifest,
  parseLayoutIndex,
  parseManifest,
} from '../oci/manifest.ts'
import {
  CONFIG_TYPES,
  INDEX_TYPES,
  MANIFEST_TYPES,
  checkLayerType,
  unsupportedMediaType,
} from '../oci/media-types.ts'
import { type Platform, hostPlatform, suitability } from '../oci/platform.ts'
import { formatReference, parseReference } from '../oci/reference.ts'
import { type ReadConfig, checkLayerCount, readConfig, sourceLayer, unsupportedPlatform } from './image.ts'
import { type Part, type Parts, blobPath, findPart, readDocument } from './parts.ts'
import type { SourceImage, SourceLayer } from './source.ts'

export interface LayoutOptions {
  /** Repository of the images whose annotation is a tag alone; without it they have no names. */
  readonly name?: string | undefined
  /** Default: this machine's. */
  readonly platform?: Platform | undefined
  readonly signal?: AbortSignal | undefined
}

/** Indexes in indexes: buildx makes two levels, nobody more. */
const MAX_DEPTH = 4
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
  const layout = new Layout(parts, options)
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

class Layout {
  readonly #parts: Parts
  readonly #platform: Platform
  readonly #signal: AbortSignal | undefined
  /**
   * By digest: what an index of indexes leads to many times is read once, so that the work is bounded by what the
   * layout holds; and a config that many manifests have is kept once.
   */
  readonly #images = new Map<Digest, Promise<SourceImage>>()
  readonly #configs = new Map<Digest, Promise<ReadConfig>>()

  constructor(parts: Parts, { platform = hostPlatform(), signal }: LayoutOptions) {
    this.#parts = parts
    this.#platform = platform
    this.#signal = signal
  }

  /**
   * The descriptors of `list` that may be images for this machine: of one kind only, whatever its platform.
   * What has an unknown media type is not for us, and by the specification no error when there is something else.
   */
  candidates(list: readonly Descriptor[]): Descriptor[] {
    const images = list.filter(isImage)
    const [first] = list
    if (images.length === 0)
      throw unsupportedMediaType(this.#parts.name, first?.artifactType ?? first?.mediaType ?? '')
    if (new Set(images.map(({ digest }) => digest)).size === 1) return images
    const suitable = images.filter(
      ({ platform }) => platform === undefined || this.#rank(platform) !== undefined,
    )
    if (suitable.length > 0) return suitable
    throw unsupportedPlatform(
      this.#parts.name,
      images.flatMap(({ platform }) => platform ?? []),
    )
  }

  #rank(platform: Platform): number | undefined {
    return suitability(platform, this.#platform)
  }

  /** The image that `descriptor` leads to. Names are not known here. */
  resolve(descriptor: Descriptor, depth: number): Promise<SourceImage> {
    const image = this.#images.get(descriptor.digest) ?? this.#resolve(descriptor, depth)
    this.#images.set(descriptor.digest, image)
    return image
  }

  async #resolve(descriptor: Descriptor, depth: number): Promise<SourceImage> {
    const document = await this.#document(descriptor)
    if (document.kind === 'manifest') return this.#image(document, descriptor)
    if (depth === MAX_DEPTH) {
      throw new OverlaidError('ERR_LIMIT_EXCEEDED', `${this.#parts.name}: indexes are nested too deeply`)
    }
    return this.#choose(document, descriptor, depth)
  }

  /** Of an index for many platforms the best for this machine; of equals the first, as specified. */
  async #choose(index: Index, { digest }: Descriptor, depth: number): Promise<SourceImage> {
    if (index.manifests.length === 0) {
      throw new OverlaidError('ERR_BAD_MANIFEST', `${this.#parts.name}: the index ${digest} is empty`)
    }
    const distinct = new Map(index.manifests.map((manifest) => [manifest.digest, manifest]))
    const candidates = this.candidates([...distinct.values()])
    const [only] = candidates
    if (only !== undefined && candidates.length === 1) return this.resolve(only, depth + 1)
    let best: { image: SourceImage; rank: number } | undefined
    const seen: Platform[] = []
    for (const candidate of candidates) {
      if (candidate.platform !== undefined && best !== undefined) {
        const rank = this.#rank(candidate.platform)
        if (rank === undefined || rank >= best.rank) continue
      }
      const image = await this.resolve(candidate, depth + 1)
      const platform = candidate.platform ?? image.config
      seen.push(platform)
      const rank = this.#rank(platform)
      if (rank !== undefined && (best === undefined || rank < best.rank)) best = { image, rank }
    }
    if (best === undefined) throw unsupportedPlatform(`${this.#parts.name}: the index ${digest}`, seen)
    return best.image
  }

  async #image(manifest: Manifest, { digest }: Descriptor): Promise<SourceImage> {
    const what = `${this.#parts.name}: manifest ${digest}`
    if (!CONFIG_TYPES.has(manifest.config.mediaType)) {
      throw unsupportedMediaType(`${what}: its config`, manifest.artifactType ?? manifest.config.mediaType)
    }
    const { configBytes, config } = await this.#config(manifest.config)
    checkLayerCount(manifest.layers.length, config, what)
    const layers = config.rootfs.diff_ids.map((diffID, i): SourceLayer => {
      const layer = manifest.layers[i] as Descriptor
      const layerWhat = `${this.#parts.name}: layer ${layer.digest}`
      checkLayerType(layer.mediaType, layerWhat)
      const read = (signal?: AbortSignal): AsyncIterable<Buffer> => this.#read(layer, layerWhat, signal)
      return sourceLayer({ diffID, digest: layer.digest, size: layer.size, what: layerWhat, read })
    })
    return { names: [], configBytes, config, layers }
  }

  #config(descriptor: Descriptor): Promise<ReadConfig> {
    const what = `${this.#parts.name}: config ${descriptor.digest}`
    const read = async (): Promise<ReadConfig> => readConfig(await this.#blob(descriptor, what), what)
    const config = this.#configs.get(descriptor.digest) ?? read()
    this.#configs.set(descriptor.digest, config)
    return config
  }

  async #document(descriptor: Descriptor): Promise<Manifest | Index> {
    const what = `${this.#parts.name}: ${descriptor.digest}`
    return parseManifest(await this.#blob(descriptor, what), descriptor.mediaType, what)
  }

  /** The bytes of a document's blob, verified. */
  async #blob(descriptor: Descriptor, what: string): Promise<Buffer> {
    const part = await this.#find(descriptor, what)
    const read = (): AsyncIterable<Buffer> => verified(part.read(this.#signal), { ...descriptor, what })
    return readDocument({ size: part.size, read }, what)
  }

  async *#read(descriptor: Descriptor, what: string, signal?: AbortSignal): AsyncGenerator<Buffer> {
    const part = await this.#find(descriptor, what)
    yield* part.read(signal)
  }

  async #find(descriptor: Descriptor, what: string): Promise<Part> {
    const part = await findPart(this.#parts, blobPath(descriptor.digest))
    if (part.size === descriptor.size) return part
    const sizes = `${String(descriptor.size)} bytes, but has ${String(part.size)}`
    throw new OverlaidError('ERR_SIZE_MISMATCH', `${what} should have ${sizes}`)
  }
}

/** Not so attestations, signatures and other artifacts, which lists of images have in them. */
function isImage({ mediaType, annotations, artifactType }: Descriptor): boolean {
  if (INDEX_TYPES.has(mediaType)) return true
  return (
    MANIFEST_TYPES.has(mediaType) && artifactType === undefined && annotations?.[REFERENCE_TYPE] === undefined
  )
}
