/** An image of a registry, as a source of a load. */
import type { Digest } from '../../oci/digest.ts'
import type { Descriptor } from '../../oci/manifest.ts'
import { INDEX_TYPES, MANIFEST_TYPES } from '../../oci/media-types.ts'
import { type Platform, suitability } from '../../oci/platform.ts'
import { formatReference, nameOf, parseReference, type Reference } from '../../oci/reference.ts'
import { ImageResolver } from '../image-resolver.ts'
import { unsupportedPlatform } from '../image.ts'
import type { Part } from '../parts.ts'
import type { ImageSource, SourceImage } from '../source.ts'
import { readBlob } from './blob-reader.ts'
import { RegistryClient } from './client.ts'
import { Connections } from './connections.ts'
import { credentialsFrom } from './credentials.ts'
import type { RegistryOptions } from './options.ts'
import { type RemoteManifest, Repository } from './repository.ts'
import { policyOf } from './retry.ts'

export interface RegistrySourceOptions extends RegistryOptions {
  readonly platform?: Platform | undefined
  readonly signal?: AbortSignal | undefined
}

/**
 * The image that a reference names, with that name and with the digest that it was found under. Manifests and config
 * are read and verified here, layers when they are asked for.
 * @throws ERR_UNREACHABLE, ERR_UNAUTHORIZED, ERR_IMAGE_NOT_FOUND, ERR_REGISTRY, ERR_DIGEST_MISMATCH, ERR_BAD_MANIFEST,
 *   ERR_LIMIT_EXCEEDED, ERR_UNSUPPORTED_MEDIA_TYPE, ERR_UNSUPPORTED_PLATFORM
 */
export async function openRegistrySource(
  reference: Reference,
  options: RegistrySourceOptions = {},
): Promise<ImageSource> {
  const connections = new Connections(options)
  try {
    const places = repositoriesOf(reference, options, connections)
    const image = await findImage(places, reference, options)
    return { images: [image], [Symbol.asyncDispose]: async () => connections[Symbol.dispose]() }
  } catch (error) {
    connections[Symbol.dispose]()
    throw error
  }
}

/** Where it may be: in mirrors first. */
function repositoriesOf(
  { domain, path }: Reference,
  options: RegistryOptions,
  connections: Connections,
): Repository[] {
  const parts = { connections, credentials: credentialsFrom(options, domain), policy: policyOf(options) }
  const addresses = [...(options.mirrors ?? []), domain]
  return addresses.map((address) => new Repository(new RegistryClient(address, parts), path, 'pull'))
}

async function findImage(
  places: readonly Repository[],
  reference: Reference,
  { platform, signal }: RegistrySourceOptions,
): Promise<SourceImage> {
  const { tag = '', digest } = reference
  const { found: root, at } = await firstOf(places, (place) => place.manifest(digest ?? tag, signal), signal)
  const blobs = new RemoteBlobs(formatReference(reference), places.slice(at), root, signal)
  const image = await new ImageResolver(blobs, { platform, signal }).resolve(root.descriptor, 0)
  if (platform !== undefined && suitability(image.config, platform) === undefined) {
    throw unsupportedPlatform(formatReference(reference), [image.config])
  }
  const byDigest = `${nameOf(reference)}@${root.descriptor.digest}`
  const names = new Set([formatReference(reference), formatReference(parseReference(byDigest))])
  return { ...image, names: [...names] }
}

/** What the first place has for which `find` does not fail, and which that was. @throws the last one's error */
async function firstOf<T>(
  places: readonly Repository[],
  find: (place: Repository) => Promise<T>,
  signal: AbortSignal | undefined,
): Promise<{ readonly found: T; readonly at: number }> {
  let last: unknown
  for (const [at, place] of places.entries()) {
    try {
      return { found: await find(place), at }
    } catch (error) {
      signal?.throwIfAborted()
      last = error
    }
  }
  throw last
}

/** Documents and layers by their descriptors. */
class RemoteBlobs {
  readonly name: string
  readonly #places: readonly Repository[]
  readonly #root: RemoteManifest
  readonly #signal: AbortSignal | undefined

  constructor(
    name: string,
    places: readonly Repository[],
    root: RemoteManifest,
    signal: AbortSignal | undefined,
  ) {
    this.name = name
    this.#places = places
    this.#root = root
    this.#signal = signal
  }

  find({ mediaType, digest, size }: Descriptor): Promise<Part> {
    if (digest === this.#root.descriptor.digest) return Promise.resolve(partOf(this.#root.bytes))
    if (!INDEX_TYPES.has(mediaType) && !MANIFEST_TYPES.has(mediaType)) {
      return Promise.resolve({ size, read: (signal) => readBlob(this.#places, { digest, size }, signal) })
    }
    return this.#manifest(digest)
  }

  async #manifest(digest: Digest): Promise<Part> {
    const signal = this.#signal
    const { found } = await firstOf(this.#places, (place) => place.manifest(digest, signal), signal)
    return partOf(found.bytes)
  }
}

function partOf(bytes: Buffer): Part {
  const read = async function* (): AsyncGenerator<Buffer> {
    yield bytes
  }
  return { size: bytes.length, read }
}
