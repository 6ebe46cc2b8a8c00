/** Blobs and manifests, written. @see OCI distribution-spec, "Push" */
import type { IncomingMessage } from 'node:http'
import { OverlaidError } from '../../errors.ts'
import { checkDigest, type Digest, Measured } from '../../oci/digest.ts'
import { blobName, type Repository } from './repository.ts'

/** A blob as a registry has it. */
export interface SentBlob {
  readonly digest: Digest
  readonly size: number
}

const BYTES = { 'content-type': 'application/octet-stream' }

/** The blob's size, when the repository has it. */
export async function findBlob(
  repository: Repository,
  digest: Digest,
  signal?: AbortSignal,
): Promise<SentBlob | undefined> {
  const { client, scopes } = repository
  const what = blobName(digest)
  const path = repository.at(`blobs/${digest}`)
  const response = await client.send({ method: 'HEAD', path, scopes, expect: [200, 404], what }, signal)
  await client.discard(response, signal)
  const size = Number(response.headers['content-length'])
  return response.statusCode === 200 && Number.isSafeInteger(size) ? { digest, size } : undefined
}

/** Makes a blob of another repository of the registry one of this, without sending it. Whether the registry did. */
export async function mountBlob(
  repository: Repository,
  digest: Digest,
  from: string,
  signal?: AbortSignal,
): Promise<boolean> {
  const { client } = repository
  const query = new URLSearchParams({ mount: digest, from })
  const request = {
    method: 'POST',
    path: repository.at(`blobs/uploads/?${query.toString()}`),
    scopes: [...repository.scopes, `repository:${from}:pull`],
    expect: [201, 202],
    what: `${blobName(digest)} of ${from}`,
  } as const
  const response = await client.send(request, signal)
  await client.discard(response, signal)
  return response.statusCode === 201
}

/**
 * Sends a blob whose digest is not known before its end: a session, all of it in one request, and its digest. Not
 * tried again.
 */
export async function sendBlob(
  repository: Repository,
  body: AsyncIterable<Buffer>,
  what: string,
  signal?: AbortSignal,
): Promise<SentBlob> {
  const { client, scopes } = repository
  const session = await startUpload(repository, what, signal)
  const measured = new Measured(body)
  const patch = {
    method: 'PATCH',
    path: session,
    headers: BYTES,
    body: measured,
    scopes,
    expect: [202],
    what,
  } as const
  const response = await client.sendOnce(patch, signal)
  const next = locationOf(response, session, what)
  await client.discard(response, signal)
  await finishUpload(repository, next, measured.digest, undefined, what, signal)
  return { digest: measured.digest, size: measured.size }
}

/** Sends a small blob in one piece, unless it is there. */
export async function sendBytes(
  repository: Repository,
  bytes: Buffer,
  digest: Digest,
  signal?: AbortSignal,
): Promise<void> {
  if ((await findBlob(repository, digest, signal)) !== undefined) return
  const what = blobName(digest)
  const session = await startUpload(repository, what, signal)
  await finishUpload(repository, session, digest, bytes, what, signal)
}

async function startUpload(repository: Repository, what: string, signal?: AbortSignal): Promise<URL> {
  const { client, scopes } = repository
  const path = repository.at('blobs/uploads/')
  const response = await client.send({ method: 'POST', path, scopes, expect: [202], what }, signal)
  await client.discard(response, signal)
  return locationOf(response, await client.address(path, signal), what)
}

async function finishUpload(
  repository: Repository,
  session: URL,
  digest: Digest,
  body: Buffer | undefined,
  what: string,
  signal?: AbortSignal,
): Promise<void> {
  const { client, scopes } = repository
  const url = new URL(session)
  url.searchParams.set('digest', digest)
  const request = { method: 'PUT', path: url, headers: BYTES, body, scopes, expect: [201], what } as const
  // Once: the registry has forgotten the session when the answer was lost.
  await client.discard(await client.sendOnce(request, signal), signal)
}

/** Where the registry wants what comes next. */
function locationOf({ headers: { location = '' } }: IncomingMessage, from: URL, what: string): URL {
  if (location !== '' && URL.canParse(location, from.href)) return new URL(location, from)
  throw new OverlaidError('ERR_REGISTRY', `${from.host}: ${what}: the registry does not say where to send it`)
}

/** Gives a manifest a tag. Its blobs are there. @throws ERR_DIGEST_MISMATCH when the registry took something else */
export async function sendManifest(
  repository: Repository,
  manifest: { readonly bytes: Buffer; readonly mediaType: string; readonly digest: Digest },
  tag: string,
  signal?: AbortSignal,
): Promise<void> {
  const { client, scopes } = repository
  const { bytes: body, mediaType, digest } = manifest
  const what = `manifest of ${repository.path}:${tag}`
  const headers = { 'content-type': mediaType }
  const path = repository.at(`manifests/${tag}`)
  const request = { method: 'PUT', path, headers, body, scopes, expect: [201], what } as const
  const response = await client.send(request, signal)
  await client.discard(response, signal)
  const taken = response.headers['docker-content-digest']
  if (typeof taken === 'string') checkDigest(taken as Digest, digest, `${client.host}: ${what}`)
}
