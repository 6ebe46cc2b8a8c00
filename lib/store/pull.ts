/** Pulling: an image of a registry becomes an image of the store, or nothing changes but for layers that are whole. */
import { OverlaidError } from '../errors.ts'
import { type Digest, parseDigest } from '../oci/digest.ts'
import { parsePlatform } from '../oci/platform.ts'
import { nameOf, parseReference } from '../oci/reference.ts'
import { openRegistrySource } from '../transfer/registry/source.ts'
import type { StoreContext } from './context.ts'
import type { LoadReport, PullOptions } from './image-store.ts'
import { loadImages } from './load.ts'

export interface PullReport {
  readonly id: Digest
  readonly digest: Digest
  readonly layers: LoadReport['layers']
}

/** Pulls. @throws see Images.pull */
export async function pullImage(
  store: StoreContext,
  ref: string,
  { platform, ...options }: PullOptions,
): Promise<PullReport> {
  const reference = parseReference(ref)
  const wanted = platform === undefined ? {} : { platform: parsePlatform(platform) }
  await using source = await openRegistrySource(reference, { ...options, ...wanted })
  const { images, layers } = await loadImages(store, source, { ...options, repository: nameOf(reference) })
  const [image] = images
  // Both are there: the source has one image, and its digest is among its names.
  const named = image?.names.find((name) => name.includes('@'))
  if (image === undefined || named === undefined)
    throw new OverlaidError('ERR_BAD_MANIFEST', `${ref}: no image`)
  return { id: image.id, digest: parseDigest(named.slice(named.indexOf('@') + 1)), layers }
}
