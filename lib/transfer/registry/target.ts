/** A repository that images are sent to. */
import { type Digest, digestOf } from '../../oci/digest.ts'
import { type Descriptor, formatDockerSchema2, formatManifest } from '../../oci/manifest.ts'
import {
  DOCKER_CONFIG,
  DOCKER_LAYER,
  DOCKER_MANIFEST,
  OCI_CONFIG,
  OCI_LAYER,
  OCI_MANIFEST,
} from '../../oci/media-types.ts'
import type { Reference } from '../../oci/reference.ts'
import { compressed } from '../compress.ts'
import { type Compression, sniff, SNIFF_BYTES } from '../compression.ts'
import { RegistryClient } from './client.ts'
import { Connections } from './connections.ts'
import { credentialsFrom } from './credentials.ts'
import type { RegistryOptions } from './options.ts'
import { blobName, Repository } from './repository.ts'
import { policyOf, retrying } from './retry.ts'
import { findBlob, mountBlob, sendBlob, sendBytes, sendManifest, type SentBlob } from './upload.ts'

/** A layer as the repository has it. */
export interface SentLayer extends SentBlob {
  readonly compression: Compression
}

export class RegistryTarget implements Disposable {
  readonly #connections: Connections
  readonly #repository: Repository

  constructor({ domain, path }: Reference, options: RegistryOptions) {
    const connections = new Connections(options)
    const parts = { connections, credentials: credentialsFrom(options, domain), policy: policyOf(options) }
    this.#connections = connections
    this.#repository = new Repository(new RegistryClient(domain, parts), path, 'pull,push')
  }

  /** The layer, when the repository has it as this blob. */
  async find(digest: Digest, signal?: AbortSignal): Promise<SentLayer | undefined> {
    const blob = await findBlob(this.#repository, digest, signal)
    return blob === undefined
      ? undefined
      : { ...blob, compression: await this.#compressionOf(digest, signal) }
  }

  /** The layer, when the registry gave it from another of its repositories. */
  async mount(digest: Digest, from: string, signal?: AbortSignal): Promise<SentLayer | undefined> {
    const isMounted = await mountBlob(this.#repository, digest, from, signal)
    return isMounted ? this.find(digest, signal) : undefined
  }

  /** What a blob is that came from elsewhere: nobody keeps its media type. */
  async #compressionOf(digest: Digest, signal?: AbortSignal): Promise<Compression> {
    const { client } = this.#repository
    const { response } = await this.#repository.openBlob(digest, 0, signal)
    return sniff(await client.receiveStart(response, SNIFF_BYTES, blobName(digest), signal), blobName(digest))
  }

  /** Sends a layer's tar, compressed on the way, from its beginning each time that it has to be tried. */
  async send(open: () => AsyncIterable<Buffer>, what: string, signal?: AbortSignal): Promise<SentLayer> {
    const { policy } = this.#repository.client
    const once = () => sendBlob(this.#repository, compressed(open(), { type: 'gzip' }), what, signal)
    return { ...(await retrying(policy, once, signal)), compression: 'gzip' }
  }

  /** Sends config and manifest of layers that are there; the manifest's digest. */
  async finish(
    configBytes: Buffer,
    layers: readonly SentLayer[],
    tag: string,
    signal?: AbortSignal,
  ): Promise<Digest> {
    const config = { digest: digestOf(configBytes), size: configBytes.length }
    await sendBytes(this.#repository, configBytes, config.digest, signal)
    const manifest = manifestOf(config, layers)
    const digest = digestOf(manifest.bytes)
    await sendManifest(this.#repository, { ...manifest, digest }, tag, signal)
    return digest
  }

  [Symbol.dispose](): void {
    this.#connections[Symbol.dispose]()
  }
}

/** docker's form, as docker push writes it; OCI's for layers that docker's has no name for. */
function manifestOf(
  config: SentBlob,
  layers: readonly SentLayer[],
): { readonly bytes: Buffer; readonly mediaType: string } {
  if (layers.every(({ compression }) => compression === 'gzip')) {
    const rows = layers.map((layer): Descriptor => ({ ...layer, mediaType: `${DOCKER_LAYER}.gzip` }))
    const bytes = formatDockerSchema2({ ...config, mediaType: DOCKER_CONFIG }, rows)
    return { bytes, mediaType: DOCKER_MANIFEST }
  }
  const rows = layers.map(({ digest, size, compression }): Descriptor => {
    const mediaType = compression === 'none' ? OCI_LAYER : `${OCI_LAYER}+${compression}`
    return { mediaType, digest, size }
  })
  return { bytes: formatManifest({ mediaType: OCI_CONFIG, ...config }, rows), mediaType: OCI_MANIFEST }
}
