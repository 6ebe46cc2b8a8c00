/** Giving images names. */
import { OverlaidError } from '../errors.ts'
import type { Digest } from '../oci/digest.ts'
import { parseReference, type Reference } from '../oci/reference.ts'
import { setReference } from '../oci/repositories.ts'
import type { StoreContext } from './context.ts'
import { writeNote } from './image-db.ts'
import { readReferences, writeReferences } from './references.ts'

/** A reference that an image can be given. @throws ERR_INVALID_REFERENCE; a digest is not given, it is earned */
export function parseTag(text: string): Reference {
  const reference = parseReference(text)
  if (reference.digest === undefined) return reference
  throw new OverlaidError('ERR_INVALID_REFERENCE', `${text} names an image by digest: a tag is needed here`)
}

/** Names the image. The caller holds the store lock, and the image is there. */
export async function nameImage(store: StoreContext, id: Digest, name: Reference): Promise<void> {
  const { paths, durability } = store
  const repositories = await readReferences(paths)
  setReference(repositories, name, id)
  await writeReferences(paths, repositories, durability)
  await writeNote(paths, id, 'lastUpdated', new Date().toISOString(), durability)
}
