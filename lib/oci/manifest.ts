/**
 * Manifests, indexes and descriptors, OCI's and docker's of the same form.
 * @see OCI image-spec, manifest.md, image-index.md, descriptor.md
 */
import * as v from 'valibot'
import { OverlaidError } from '../errors.ts'
import type { Digest } from './digest.ts'
import { decode, digestField, maybe, parseJSON } from './json.ts'
import {
  DOCKER_MANIFEST,
  INDEX_TYPES,
  MANIFEST_TYPES,
  OCI_INDEX,
  OCI_MANIFEST,
  SCHEMA1_TYPES,
  unsupportedMediaType,
} from './media-types.ts'
import type { Platform } from './platform.ts'

/** Points to a blob and says what it must be. */
export interface Descriptor {
  readonly mediaType: string
  readonly digest: Digest
  /** Bytes. */
  readonly size: number
  readonly annotations?: Readonly<Record<string, string>> | undefined
  readonly platform?: Platform | undefined
  readonly artifactType?: string | undefined
}

/** An image: its config and layers, base first. */
export interface Manifest {
  readonly kind: 'manifest'
  readonly config: Descriptor
  readonly layers: readonly Descriptor[]
  readonly artifactType?: string | undefined
  readonly annotations?: Readonly<Record<string, string>> | undefined
}

/** A list of images, or of other lists. */
export interface Index {
  readonly kind: 'index'
  readonly manifests: readonly Descriptor[]
  readonly annotations?: Readonly<Record<string, string>> | undefined
}

const annotations = maybe(v.record(v.string(), v.string()))

const descriptor = v.object({
  mediaType: v.string(),
  digest: digestField<Digest>(),
  size: v.pipe(v.number(), v.safeInteger(), v.minValue(0)),
  annotations,
  platform: maybe(v.object({ os: v.string(), architecture: v.string(), variant: maybe(v.string()) })),
  artifactType: maybe(v.string()),
})

/** Fields that decide what a document is; none may be there that makes it two things at once. */
const envelope: v.GenericSchema<unknown, Envelope> = v.looseObject({
  schemaVersion: v.number(),
  mediaType: maybe(v.string()),
})
interface Envelope {
  readonly schemaVersion: number
  readonly mediaType?: string | undefined
  readonly [key: string]: unknown
}

const manifest: v.GenericSchema<unknown, Omit<Manifest, 'kind'>> = v.object({
  config: descriptor,
  layers: v.nullish(v.array(descriptor), []),
  artifactType: maybe(v.string()),
  annotations,
})
const index: v.GenericSchema<unknown, Omit<Index, 'kind'>> = v.object({
  manifests: v.nullish(v.array(descriptor), []),
  annotations,
})

/**
 * Reads a manifest or an index, whichever `mediaType` says it is.
 * @param mediaType of the descriptor that led here
 * @throws ERR_UNSUPPORTED_MEDIA_TYPE, ERR_BAD_MANIFEST
 */
export function parseManifest(bytes: Buffer, mediaType: string, what: string): Manifest | Index {
  if (!INDEX_TYPES.has(mediaType) && !MANIFEST_TYPES.has(mediaType))
    throw unsupportedMediaType(what, mediaType)
  const value = parseJSON(bytes, what)
  checkEnvelope(decode(envelope, value, what), mediaType, what)
  if (INDEX_TYPES.has(mediaType)) return { kind: 'index', ...decode(index, value, what) }
  return { kind: 'manifest', ...decode(manifest, value, what) }
}

/** Reads the index.json of an OCI layout. */
export function parseLayoutIndex(bytes: Buffer): Index {
  return parseManifest(bytes, OCI_INDEX, 'index.json') as Index
}

/**
 * CVE-2021-41190: a document with the fields of both kinds, or of another kind than it is described as, is one
 * image to one reader and another to the next.
 */
function checkEnvelope(document: Envelope, mediaType: string, what: string): void {
  if (document.schemaVersion === 1 || SCHEMA1_TYPES.has(document.mediaType ?? '')) {
    throw unsupportedMediaType(what, document.mediaType ?? 'docker schema 1')
  }
  if (document.schemaVersion !== 2) {
    throw new OverlaidError('ERR_BAD_MANIFEST', `${what}: schemaVersion should be 2`)
  }
  if (document.mediaType !== undefined && document.mediaType !== mediaType) {
    const said = JSON.stringify(document.mediaType)
    throw new OverlaidError(
      'ERR_BAD_MANIFEST',
      `${what} is described as ${mediaType}, but says it is ${said}`,
    )
  }
  if ('manifests' in document && ('layers' in document || 'config' in document)) {
    throw new OverlaidError('ERR_BAD_MANIFEST', `${what} has the fields of an index and of a manifest`)
  }
}

/** The bytes of a manifest for an OCI layout. */
export function formatManifest(config: Descriptor, layers: readonly Descriptor[]): Buffer {
  return Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: OCI_MANIFEST, config, layers }))
}

/**
 * The bytes of a manifest as docker writes it for registries: the same for the same blobs.
 * @see distribution/distribution, manifest/schema2
 */
export function formatDockerSchema2(config: Descriptor, layers: readonly Descriptor[]): Buffer {
  const shown = ({ mediaType, size, digest }: Descriptor): object => ({ mediaType, size, digest })
  const fields = { config: shown(config), layers: layers.map(shown) }
  return Buffer.from(
    JSON.stringify({ schemaVersion: 2, mediaType: DOCKER_MANIFEST, ...fields }, undefined, 3),
  )
}

/** The bytes of an index for an OCI layout. */
export function formatIndex(manifests: readonly Descriptor[]): Buffer {
  return Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: OCI_INDEX, manifests }))
}
