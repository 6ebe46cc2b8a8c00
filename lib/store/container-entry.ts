/** Containers as they are found: ours from our own records, dockerd's from its files, both in layerdb/mounts. */
import { statSync } from 'node:fs'
import { join } from 'node:path'
import type { IDMap } from '../driver/id-map.ts'
import { hasCode, OverlaidError } from '../errors.ts'
import { isKernelsMountPoint, isMountPoint } from '../fs/mount-point.ts'
import { type ContainerConfig, type ImageConfig, parseConfig } from '../oci/config.ts'
import type { Digest } from '../oci/digest.ts'
import {
  type ContainerRecord,
  findMount,
  isContainerID,
  type MountRecord,
  readContainerRecord,
  readMounts,
} from './container-db.ts'
import type { StoreContext } from './context.ts'
import { type DockerContainer, dockerContainers } from './docker.ts'
import { here, readHolds } from './hold.ts'
import { readImage } from './image-db.ts'
import { mergedPath } from './mounting.ts'
import type { StorageOptions } from './storage-options.ts'

/** A container. */
export interface ContainerEntry {
  readonly id: string
  readonly name: string
  /** The image as it was named at creation, else its id. */
  readonly image: string
  readonly imageID: Digest
  readonly created?: string
  readonly owner: 'overlaid' | 'docker'
  readonly mount: MountRecord & { readonly mountID: string }
  /** As they were given at creation. */
  readonly storageOptions: StorageOptions
  readonly idMap?: IDMap
  /** What a commit begins with. */
  readConfig(): Promise<ImageConfig>
}

/** All containers, ours and dockerd's of this driver, by name. Entries of someone else are left out. */
export async function listContainers(store: StoreContext): Promise<ContainerEntry[]> {
  const docker = await dockerByID(store)
  const entries: ContainerEntry[] = []
  for (const mount of (await readMounts(store.paths)).values()) {
    const entry = await entryOf(store, mount, docker)
    if (entry !== undefined) entries.push(entry)
  }
  return entries.sort((a, b) => (a.name < b.name ? -1 : 1))
}

async function dockerByID(store: StoreContext): Promise<Map<string, DockerContainer>> {
  const containers = await dockerContainers(store.root)
  return new Map(
    containers.filter(({ driver }) => driver === store.driver.name).map((found) => [found.id, found]),
  )
}

async function entryOf(
  store: StoreContext,
  mount: MountRecord,
  docker: ReadonlyMap<string, DockerContainer>,
): Promise<ContainerEntry | undefined> {
  const { name: id, mountID } = mount
  if (!isContainerID(id) || mountID === undefined) return undefined
  try {
    return (
      (await ownEntry(store, { ...mount, mountID })) ??
      dockerEntry(store, { ...mount, mountID }, docker.get(id))
    )
  } catch (error) {
    if (!hasCode(error, 'ERR_DAMAGED')) throw error
    store.warn(`container ${id} is left out: ${(error as OverlaidError).message}`)
    return undefined
  }
}

/** One of ours; a damaged one is warned of by whoever lists all. */
async function ownWithID(store: StoreContext, id: string): Promise<ContainerEntry | undefined> {
  const mount = await findMount(store.paths, id)
  if (mount?.mountID === undefined) return undefined
  try {
    return await ownEntry(store, { ...mount, mountID: mount.mountID })
  } catch (error) {
    if (hasCode(error, 'ERR_DAMAGED')) return undefined
    throw error
  }
}

async function ownEntry(
  { paths }: StoreContext,
  mount: ContainerEntry['mount'],
): Promise<ContainerEntry | undefined> {
  const record = await readContainerRecord(paths, mount.name)
  return record === undefined ? undefined : entryOfRecord(record, mount)
}

/** One of ours. */
export function entryOfRecord(record: ContainerRecord, mount: ContainerEntry['mount']): ContainerEntry {
  const { id, name, image: imageID, imageName: image, created, config, storageOptions = {}, idMap } = record
  const mapping = idMap === undefined ? {} : { idMap }
  const readConfig = () =>
    Promise.resolve(parseConfig(Buffer.from(config), `the config of container ${name}`))
  const own = { id, name, image, imageID, created, mount, storageOptions, ...mapping }
  return { ...own, owner: 'overlaid', readConfig }
}

function dockerEntry(
  { paths }: StoreContext,
  mount: ContainerEntry['mount'],
  container: DockerContainer | undefined,
): ContainerEntry | undefined {
  if (container === undefined) return undefined
  const { id, name, imageName: image, imageID, created, config, storageOptions } = container
  // docker commits a container's own config, which began as the image's.
  const readConfig = async () => {
    const { config: ofImage } = await readImage(paths, imageID)
    return { ...ofImage, config: config as ContainerConfig }
  }
  const when = created === undefined ? {} : { created }
  return { id, name, image, imageID, ...when, owner: 'docker', mount, storageOptions, readConfig }
}

/** By id, name, or the id's first digits, in docker's order. @throws ERR_CONTAINER_NOT_FOUND, ERR_AMBIGUOUS_ID */
export async function findContainer(store: StoreContext, nameOrID: string): Promise<ContainerEntry> {
  // A whole id comes before all names: no need to read every container.
  const own = isContainerID(nameOrID) ? await ownWithID(store, nameOrID) : undefined
  if (own !== undefined) return own
  const entries = await listContainers(store)
  const exact = entries.find(({ id }) => id === nameOrID) ?? entries.find(({ name }) => name === nameOrID)
  if (exact !== undefined) return exact
  const matching = /^[0-9a-f]+$/.test(nameOrID) ? entries.filter(({ id }) => id.startsWith(nameOrID)) : []
  if (matching.length > 1) {
    const detail = matching.map(({ id, name }) => `${id} ${name}`)
    throw new OverlaidError('ERR_AMBIGUOUS_ID', `${nameOrID} is the start of several containers' ids`, {
      detail,
    })
  }
  const [only] = matching
  if (only === undefined) throw noContainer(nameOrID)
  return only
}

export function noContainer(nameOrID: string): OverlaidError {
  return new OverlaidError('ERR_CONTAINER_NOT_FOUND', `no such container: ${nameOrID}`)
}

/** @throws ERR_CONTAINER_NOT_FOUND when it was removed since it was found */
export function expectContainer(store: StoreContext, { id, name }: ContainerEntry): void {
  if (statSync(join(store.paths.mounts, id), { throwIfNoEntry: false }) === undefined) throw noContainer(name)
}

/** How a container is mounted. */
export interface MountState {
  readonly mounted: boolean
  /** Where, when it is mounted at a path that this process can see. */
  readonly path?: string
  /** The process that served the mount has died (fuse-overlayfs): nothing can be read there until it is unmounted. */
  readonly dead?: true
}

export async function mountStateOf(store: StoreContext, entry: ContainerEntry): Promise<MountState> {
  const state = await placeOf(store, entry)
  const { path } = state
  if (path === undefined || (await store.driver.isDead?.(entry.mount.mountID, path)) !== true) return state
  return { ...state, dead: true }
}

async function placeOf(store: StoreContext, { id, mount }: ContainerEntry): Promise<MountState> {
  const live = (await readHolds(store.paths, id)).filter((hold) => hold.live)
  const merged = mergedPath(store, mount.mountID)
  // Without a hold it may be a dockerd's that died, or that runs.
  const isMounted = store.driver.server === undefined ? isKernelsMountPoint : isMountPoint
  if (isMounted(merged)) return { mounted: true, path: merged }
  const { namespace } = here()
  const visible = live.find(({ content }) => content.kind === 'target' && content.namespace === namespace)
  const path = visible?.content.path
  return { mounted: live.length > 0, ...(path !== undefined && { path }) }
}
