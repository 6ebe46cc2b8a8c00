/**
 * From a descriptor to the image that it leads to: through indexes for many platforms, and indexes of those, to a
 * manifest, its config and its layers, whatever keeps the blobs.
 * @see OCI image-spec, image-index.md
 */
import { OverlaidError } from '../errors.ts'
import { REFERENCE_TYPE } from '../oci/annotations.ts'
import { type Digest, verified } from '../oci/digest.ts'
import { type Descriptor, type Index, type Manifest, parseManifest } from '../oci/manifest.ts'
import {
  CONFIG_TYPES,
  INDEX_TYPES,
  MANIFEST_TYPES,
  checkLayerType,
  unsupportedMediaType,
} from '../oci/media-types.ts'
import { type Platform, hostPlatform, suitability } from '../oci/platform.ts'
import { type ReadConfig, checkLayerCount, readConfig, sourceLayer, unsupportedPlatform } from './image.ts'
import { type Part, readDocument } from './parts.ts'
import type { SourceImage, SourceLayer } from './source.ts'

/** Blobs by their descriptors: of a layout, or of a registry. */
export interface Blobs {
  /** What it is, for messages. */
  readonly name: string
  /**
   * The blob, with the size that it has there.
   * @throws ERR_BAD_MANIFEST when there is none
   */
  find(descriptor: Descriptor, what: string): Promise<Part>
}

export interface ResolveOptions {
  /** Default: this machine's. */
  readonly platform?: Platform | undefined
  readonly signal?: AbortSignal | undefined
}

/** Indexes in indexes: buildx makes two levels, nobody more. */
const MAX_DEPTH = 4

/** Finds images from their descriptors on, and reads each document once. */
export class ImageResolver {
  readonly #blobs: Blobs
  readonly #platform: Platform
  readonly #signal: AbortSignal | undefined
  /**
   * By digest: what an index of indexes leads to many times is read once, so that the work is bounded by what the
   * source holds; and a config that many manifests have is kept once.
   */
  readonly #images = new Map<Digest, Promise<SourceImage>>()
  readonly #configs = new Map<Digest, Promise<ReadConfig>>()

  constructor(blobs: Blobs, { platform = hostPlatform(), signal }: ResolveOptions) {
    this.#blobs = blobs
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
      throw unsupportedMediaType(this.#blobs.name, first?.artifactType ?? first?.mediaType ?? '')
    if (new Set(images.map(({ digest }) => digest)).size === 1) return images
    const suitable = images.filter(
      ({ platform }) => platform === undefined || this.#rank(platform) !== undefined,
    )
    if (suitable.length > 0) return suitable
    throw unsupportedPlatform(
      this.#blobs.name,
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
      throw new OverlaidError('ERR_LIMIT_EXCEEDED', `${this.#blobs.name}: indexes are nested too deeply`)
    }
    return this.#choose(document, descriptor, depth)
  }

  /** Of an index for many platforms the best for this machine; of equals the first, as specified. */
  async #choose(index: Index, { digest }: Descriptor, depth: number): Promise<SourceImage> {
    if (index.manifests.length === 0) {
      throw new OverlaidError('ERR_BAD_MANIFEST', `${this.#blobs.name}: the index ${digest} is empty`)
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
    if (best === undefined) throw unsupportedPlatform(`${this.#blobs.name}: the index ${digest}`, seen)
    return best.image
  }

  async #image(manifest: Manifest, { digest }: Descriptor): Promise<SourceImage> {
    const what = `${this.#blobs.name}: manifest ${digest}`
    if (!CONFIG_TYPES.has(manifest.config.mediaType)) {
      throw unsupportedMediaType(`${what}: its config`, manifest.artifactType ?? manifest.config.mediaType)
    }
    const { configBytes, config } = await this.#config(manifest.config)
    checkLayerCount(manifest.layers.length, config, what)
    const layers = config.rootfs.diff_ids.map((diffID, i): SourceLayer => {
      const layer = manifest.layers[i] as Descriptor
      const layerWhat = `${this.#blobs.name}: layer ${layer.digest}`
      checkLayerType(layer.mediaType, layerWhat)
      const read = (signal?: AbortSignal): AsyncIterable<Buffer> => this.#read(layer, layerWhat, signal)
      return sourceLayer({ diffID, digest: layer.digest, size: layer.size, what: layerWhat, read })
    })
    return { names: [], configBytes, config, layers }
  }

  #config(descriptor: Descriptor): Promise<ReadConfig> {
    const what = `${this.#blobs.name}: config ${descriptor.digest}`
    const read = async (): Promise<ReadConfig> => readConfig(await this.#blob(descriptor, what), what)
    const config = this.#configs.get(descriptor.digest) ?? read()
    this.#configs.set(descriptor.digest, config)
    return config
  }

  async #document(descriptor: Descriptor): Promise<Manifest | Index> {
    const what = `${this.#blobs.name}: ${descriptor.digest}`
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
    const part = await this.#blobs.find(descriptor, what)
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
