/** A blob as a stream that goes on where it was cut off, and in another place when one fails. */
import type { Digest } from '../../oci/digest.ts'
import { TransientError } from './failure.ts'
import { blobName, type Repository } from './repository.ts'
import { beforeNextTry } from './retry.ts'

/** Bytes after which a connection that was cut off counts as one that worked. */
const PROGRESS_BYTES = 64 * 1024

interface Blob {
  readonly digest: Digest
  /** Bytes that it should have. */
  readonly size: number
}

/**
 * The bytes of a blob, unverified. A connection that breaks off is made anew by Range.
 * @param places that have it, in the order in which they are asked; a place that fails is left for the next one
 * @throws ERR_UNREACHABLE, ERR_UNAUTHORIZED, ERR_IMAGE_NOT_FOUND, ERR_REGISTRY: the last place's; the signal's reason
 */
export async function* readBlob(
  places: readonly Repository[],
  blob: Blob,
  signal?: AbortSignal,
): AsyncGenerator<Buffer> {
  let offset = 0
  for (const [i, place] of places.entries()) {
    try {
      for await (const chunk of readFrom(place, blob, offset, signal)) {
        offset += chunk.length
        yield chunk
      }
      return
    } catch (error) {
      signal?.throwIfAborted()
      if (i === places.length - 1) throw error
    }
  }
}

async function* readFrom(
  place: Repository,
  { digest, size }: Blob,
  start: number,
  signal?: AbortSignal,
): AsyncGenerator<Buffer> {
  const { policy } = place.client
  let offset = start
  let failures = 0
  let lastFailure = start
  for (;;) {
    try {
      for await (const chunk of readOn(place, { digest, size }, offset, signal)) {
        offset += chunk.length
        yield chunk
      }
      return
    } catch (error) {
      failures = offset - lastFailure >= PROGRESS_BYTES ? 1 : failures + 1
      lastFailure = offset
      await beforeNextTry(policy, failures, error, signal)
    }
  }
}

/** One answer's worth of it. */
async function* readOn(
  place: Repository,
  { digest, size }: Blob,
  offset: number,
  signal?: AbortSignal,
): AsyncGenerator<Buffer> {
  const { response, skip } = await place.openBlob(digest, offset, signal)
  const { 'content-length': length, 'transfer-encoding': encoding } = response.headers
  let left = skip
  let end = offset
  for await (const chunk of place.client.receive(response, blobName(digest), signal)) {
    const rest = chunk.subarray(Math.min(left, chunk.length))
    left -= chunk.length - rest.length
    end += rest.length
    if (rest.length > 0) yield rest
  }
  // The end of a body that says nothing of its length may be a connection that was cut off.
  if (end < size && length === undefined && encoding === undefined) {
    throw new TransientError('ERR_UNREACHABLE', `${place.client.host}: ${blobName(digest)}: cut off`)
  }
}
