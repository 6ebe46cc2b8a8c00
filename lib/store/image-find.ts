/** Finding an image by what people call it. */
import { OverlaidError } from '../errors.ts'
import { chainIDs } from '../oci/chain-id.ts'
import { type Digest, hexOf } from '../oci/digest.ts'
import { familiar, idPrefixOf, imageIDOf, parseReference } from '../oci/reference.ts'
import { lookUp, namesOf, type Repositories } from '../oci/repositories.ts'
import type { StoreContext } from './context.ts'
import { type ImageRecord, listImageIDs, readImage } from './image-db.ts'
import type { Image } from './image-store.ts'
import type { StorePaths } from './paths.ts'
import { readReferences } from './references.ts'

/** What a text means, and how it was meant: rmi by id and by name differ. */
export interface FoundID {
  readonly id: Digest
  /** The familiar reference, when it was one; undefined for an id. */
  readonly reference?: string
}

/**
 * The image that `text` names: a whole id, else a name, else the start of an id, in docker's order.
 * @throws ERR_IMAGE_NOT_FOUND, ERR_AMBIGUOUS_ID, ERR_INVALID_REFERENCE
 */
export async function findImageID(
  paths: StorePaths,
  repositories: Repositories,
  text: string,
): Promise<FoundID> {
  const whole = imageIDOf(text)
  if (whole !== undefined) {
    if ((await listImageIDs(paths)).includes(whole)) return { id: whole }
    throw noImage(text)
  }
  const prefix = idPrefixOf(text)
  const named = nameLookUp(repositories, text, prefix !== undefined)
  if (named !== undefined) return named
  const matching =
    prefix === undefined ? [] : (await listImageIDs(paths)).filter((id) => hexOf(id).startsWith(prefix))
  if (matching.length > 1) {
    throw new OverlaidError('ERR_AMBIGUOUS_ID', `${text} is the start of several images' ids`, {
      detail: matching,
    })
  }
  if (matching[0] === undefined) throw noImage(text)
  return { id: matching[0] }
}

function nameLookUp(repositories: Repositories, text: string, mayBeID: boolean): FoundID | undefined {
  // `sha256:ab…` cut short is no reference, but still the start of an id.
  if (mayBeID && text.startsWith('sha256:')) return undefined
  const reference = parseReference(text)
  const id = lookUp(repositories, reference)
  return id === undefined ? undefined : { id, reference: familiar(reference) }
}

export function noImage(text: string): OverlaidError {
  return new OverlaidError('ERR_IMAGE_NOT_FOUND', `no such image: ${text}`)
}

/** As {@link findImageID}, by the names as they are now. */
export async function findCurrentID(paths: StorePaths, text: string): Promise<FoundID> {
  return findImageID(paths, await readReferences(paths), text)
}

/** As {@link findImageID}, and reads it. */
export async function findImage({ paths }: StoreContext, text: string): Promise<Image> {
  const repositories = await readReferences(paths)
  const { id } = await findImageID(paths, repositories, text)
  return imageOf(await readImage(paths, id), repositories)
}

export function imageOf({ id, configBytes, config }: ImageRecord, repositories: Repositories): Image {
  const diffIDs = config.rootfs.diff_ids
  return { id, names: namesOf(repositories, id), config, configBytes, diffIDs, chainIDs: chainIDs(diffIDs) }
}
