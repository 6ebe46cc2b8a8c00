/** A repository of a registry: its manifests and blobs, read. @see OCI distribution-spec, "Pull" */
import type { IncomingMessage } from 'node:http'
import { OverlaidError } from '../../errors.ts'
import { checkDigest, type Digest, digestOf, isDigest } from '../../oci/digest.ts'
import { checkSize, MAX_JSON_BYTES } from '../../oci/json.ts'
import type { Descriptor } from '../../oci/manifest.ts'
import { INDEX_TYPES, MANIFEST_TYPES } from '../../oci/media-types.ts'
import type { RegistryClient } from './client.ts'
import { retrying } from './retry.ts'

/** A document of the registry, with what it is. */
export interface RemoteManifest {
  readonly descriptor: Descriptor
  readonly bytes: Buffer
}

const ACCEPT = [...INDEX_TYPES, ...MANIFEST_TYPES].join(', ')

export class Repository {
  readonly client: RegistryClient
  /** `library/alpine`. */
  readonly path: string
  readonly scopes: readonly string[]

  constructor(client: RegistryClient, path: string, actions: 'pull' | 'pull,push') {
    this.client = client
    this.path = path
    this.scopes = [`repository:${path}:${actions}`]
  }

  /** `/v2/library/alpine/<rest>`. */
  at(rest: string): string {
    return `/v2/${this.path}/${rest}`
  }

  /**
   * The manifest or index that a tag or digest names.
   * @throws ERR_IMAGE_NOT_FOUND, ERR_LIMIT_EXCEEDED, ERR_DIGEST_MISMATCH
   */
  manifest(name: string, signal?: AbortSignal): Promise<RemoteManifest> {
    return retrying(this.client.policy, () => this.#manifest(name, signal), signal)
  }

  async #manifest(name: string, signal?: AbortSignal): Promise<RemoteManifest> {
    const what = `manifest of ${this.path}${isDigest(name) ? '@' : ':'}${name}`
    const path = this.at(`manifests/${name}`)
    const request = {
      method: 'GET',
      path,
      headers: { accept: ACCEPT },
      scopes: this.scopes,
      expect: [200],
      what,
    } as const
    const response = await this.client.sendOnce(request, signal)
    const bytes = await this.client.receiveStart(response, MAX_JSON_BYTES, what, signal)
    checkSize(bytes.length, `${this.client.host}: ${what}`)
    const digest = digestOf(bytes)
    const said = isDigest(name) ? name : response.headers['docker-content-digest']
    if (typeof said === 'string') checkDigest(digest, said as Digest, `${this.client.host}: ${what}`)
    const mediaType = mediaTypeOf(response, bytes)
    return { bytes, descriptor: { mediaType, digest, size: bytes.length } }
  }

  /**
   * A blob from its byte `offset` on. Without a second try: see blob-reader.ts.
   * @returns undefined for `skip` when the registry gives the rest alone, else what comes before it
   */
  async openBlob(
    digest: Digest,
    offset: number,
    signal?: AbortSignal,
  ): Promise<{ readonly response: IncomingMessage; readonly skip: number }> {
    const what = blobName(digest)
    const range = offset === 0 ? {} : { range: `bytes=${String(offset)}-` }
    const response = await this.client.sendOnce(
      {
        method: 'GET',
        path: this.at(`blobs/${digest}`),
        // What is verified is what is stored, so none that is made for the way.
        headers: { ...range, 'accept-encoding': 'identity' },
        scopes: this.scopes,
        expect: offset === 0 ? [200] : [200, 206],
        what,
      },
      signal,
    )
    if (response.statusCode === 200) return { response, skip: offset }
    const from = /^bytes (\d+)-/.exec(response.headers['content-range'] ?? '')?.[1]
    if (Number(from) === offset) return { response, skip: 0 }
    response.destroy()
    throw new OverlaidError('ERR_REGISTRY', `${this.client.host}: ${what}: the registry gave another range`)
  }
}

/** For messages. */
export function blobName(digest: Digest): string {
  return `blob ${digest}`
}

/** What the header says, or the document itself where that is no manifest's type. */
function mediaTypeOf(response: IncomingMessage, bytes: Buffer): string {
  const [said = ''] = (response.headers['content-type'] ?? '').split(';')
  const type = said.trim()
  if (type.startsWith('application/vnd.')) return type
  const { mediaType } = tryParse(bytes) ?? {}
  return typeof mediaType === 'string' ? mediaType : type
}

function tryParse(bytes: Buffer): { readonly mediaType?: unknown } | undefined {
  try {
    return JSON.parse(bytes.toString()) as { mediaType?: unknown }
  } catch {
    // SyntaxError: parseManifest has the words for it.
    return undefined
  }
}
