/**
 * Removing images, by docker's rules (daemon/images/image_delete.go): a name is taken away, and with an image's last
 * name goes the image; by id an image goes with all its names if they are of one repository. An image that a
 * container was made from, or another image, stays.
 */
import { OverlaidError } from '../errors.ts'
import { failpoint } from '../fs/failpoint.ts'
import type { ChainID, Digest } from '../oci/digest.ts'
import { parseReference } from '../oci/reference.ts'
import { deleteReference, namesOf, type Repositories } from '../oci/repositories.ts'
import { listContainers } from './container-entry.ts'
import type { StoreContext } from './context.ts'
import { imageSubject, readHolds } from './hold.ts'
import { childImages, deleteImage, listImageIDs, readImage, readNote, topChainID } from './image-db.ts'
import { findCurrentID, findImageID } from './image-find.ts'
import type { RemoveReport } from './image-store.ts'
import { readReferences, writeReferences } from './references.ts'
import { releaseChain } from './release.ts'

interface Removal {
  readonly repositories: Repositories
  readonly force: boolean
  readonly untagged: string[]
  readonly deleted: string[]
}

/**
 * Removes each of `refs`, in order; one that fails ends it, and what was done before stays done.
 * @throws ERR_IN_USE, ERR_IMAGE_NOT_FOUND, ERR_AMBIGUOUS_ID
 */
export async function removeImages(
  store: StoreContext,
  refs: readonly string[],
  force: boolean,
): Promise<RemoveReport> {
  const report = { untagged: [] as string[], deleted: [] as string[] }
  try {
    for (const ref of refs) {
      // First without the lock, for which a root that is missing would be made.
      await findCurrentID(store.paths, ref)
      await store.locked(async () => {
        const repositories = await readReferences(store.paths)
        await removeOne(store, ref, { ...report, repositories, force })
      })
    }
  } finally {
    if (report.deleted.length > 0) store.driver.emptyTrashSoon()
  }
  return report
}

async function removeOne(store: StoreContext, ref: string, removal: Removal): Promise<void> {
  const { repositories, force } = removal
  const { id, reference } = await findImageID(store.paths, repositories, ref)
  const names = namesOf(repositories, id)
  if (reference === undefined) {
    if (!isOneRepository(names) && !force) throw severalRepositories(id, names)
    const use = await useOf(store, id, force)
    if (use !== undefined) throw inUse(id, use)
    return deleteWithNames(store, id, names, removal)
  }
  const lastUse = isOneRepository(names) && !force ? await openUseOf(store, id) : undefined
  if (lastUse !== undefined) throw inUse(id, lastUse)
  const going = namesGoingWith(reference, names)
  await untag(store, going, removal)
  if (going.length < names.length) return
  // The name is gone either way, as with docker: what still needs the image keeps it, nameless.
  if ((await useOf(store, id, force)) === undefined) await deleteWithNames(store, id, [], removal)
}

/** With a repository's last tag go its digests: nobody can name them otherwise. */
function namesGoingWith(reference: string, names: readonly string[]): string[] {
  const repository = repositoryOf(reference)
  const rest = names.filter((name) => name !== reference)
  const ofRepository = rest.filter((name) => repositoryOf(name) === repository)
  const isLastTag = !reference.includes('@') && ofRepository.every((name) => name.includes('@'))
  return isLastTag ? [reference, ...ofRepository] : [reference]
}

function repositoryOf(reference: string): string {
  const { domain, path } = parseReference(reference)
  return `${domain}/${path}`
}

function isOneRepository(names: readonly string[]): boolean {
  if (names.length <= 1) return true
  const tags = names.filter((name) => !name.includes('@'))
  return tags.length <= 1 && new Set(names.map(repositoryOf)).size === 1
}

function severalRepositories(id: Digest, names: readonly string[]): OverlaidError {
  return new OverlaidError('ERR_IN_USE', `image ${id} has several names: ${names.join(', ')}`, {
    hint: 'remove it by its names, or with force',
  })
}

async function untag(
  { paths, durability }: StoreContext,
  names: readonly string[],
  { repositories, untagged }: Removal,
): Promise<void> {
  for (const name of names) deleteReference(repositories, parseReference(name))
  await writeReferences(paths, repositories, durability)
  untagged.push(...names)
}

/** Takes an image away: names, then config, then the layers that nothing else needs, then a nameless parent. */
async function deleteWithNames(
  store: StoreContext,
  id: Digest,
  names: readonly string[],
  removal: Removal,
): Promise<void> {
  const { paths, durability } = store
  const top = await topOf(store, id)
  const parent = (await readNote(paths, id, 'parent')) as Digest | undefined
  if (names.length > 0) await untag(store, names, removal)
  failpoint('image.remove.before-config')
  await deleteImage(paths, id, durability)
  removal.deleted.push(id)
  failpoint('image.remove.before-layers')
  const released = top === undefined ? [] : await releaseChain(store, top)
  removal.deleted.push(...released.map(({ chainID }) => chainID))
  if (parent !== undefined) await deleteNamelessParent(store, parent, removal)
}

async function topOf({ paths }: StoreContext, id: Digest): Promise<ChainID | undefined> {
  try {
    return topChainID((await readImage(paths, id)).config)
  } catch (error) {
    // A damaged config can be removed like another; its layers are left to gc.
    if (error instanceof OverlaidError && error.code !== 'ERR_IMAGE_NOT_FOUND') return undefined
    throw error
  }
}

async function deleteNamelessParent(store: StoreContext, id: Digest, removal: Removal): Promise<void> {
  const isThere = (await listImageIDs(store.paths)).includes(id)
  if (!isThere || namesOf(removal.repositories, id).length > 0) return
  if ((await useOf(store, id, false)) === undefined) await deleteWithNames(store, id, [], removal)
}

function inUse(id: Digest, use: string): OverlaidError {
  return new OverlaidError('ERR_IN_USE', `image ${id} is in use by ${use}`)
}

/** What needs the image, in words; undefined when nothing does. Containers that are not mounted yield to force. */
async function useOf(store: StoreContext, id: Digest, force: boolean): Promise<string | undefined> {
  const children = await childImages(store.paths, id)
  if (children.length > 0) return `image ${children.join(', ')}, made from it`
  return openUseOf(store, id, force)
}

/** As {@link useOf}, without the images made from it. */
async function openUseOf(store: StoreContext, id: Digest, force = false): Promise<string | undefined> {
  const top = await topOf(store, id)
  const holds = top === undefined ? [] : await readHolds(store.paths, imageSubject(top))
  if (holds.some((hold) => hold.live)) return 'a mount of it'
  const containers = await containersOf(store, id, force)
  return containers.length > 0 ? `container ${containers.join(', ')}` : undefined
}

/** Names of the containers made from the image, stopped ones and dockerd's too. */
async function containersOf(store: StoreContext, id: Digest, onlyMounted: boolean): Promise<string[]> {
  const names: string[] = []
  for (const { id: container, name, imageID } of await listContainers(store)) {
    if (imageID !== id) continue
    const isMounted = (await readHolds(store.paths, container)).some((hold) => hold.live)
    if (isMounted || !onlyMounted) names.push(name)
  }
  return names
}
