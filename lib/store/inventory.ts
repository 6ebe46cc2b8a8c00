/**
 * Everything that a store's files say, read as it is: what has not its form is `undefined` or told apart, and nothing
 * throws for it. check and gc judge by this alone, so that both see the same store.
 *
 * The order of reading matters where no lock is held (a read-only store, a running dockerd). Folders come first, then
 * what running processes claim, then records: whoever makes something claims it before there is a folder, and lets go
 * of the claim after there is a record.
 */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { hasCode } from '../errors.ts'
import {
  type CacheID,
  type ChainID,
  type DiffID,
  type Digest,
  digestOf,
  isDigest,
  parseCacheID,
} from '../oci/digest.ts'
import { type ImageConfig, parseConfig } from '../oci/config.ts'
import type { Repositories } from '../oci/repositories.ts'
import { type FoundClaim, listFolder } from './claim.ts'
import { type ContainerRecord, readContainerRecord } from './container-db.ts'
import type { StoreContext } from './context.ts'
import {
  buildkitReferences,
  type DamagedContainer,
  type DockerContainer,
  scanDockerContainers,
} from './docker.ts'
import { type Hold, listSubjects, readHolds } from './hold.ts'
import { listImageIDs } from './image-db.ts'
import { listChainIDs, listTombstones } from './layer-db.ts'
import { type LeaseContent, readLeases } from './lease.ts'
import { imageFile, layerDir } from './paths.ts'
import { readReferences } from './references.ts'

/** A folder of layerdb, field by field; a field is undefined when its file is missing or has not its form. */
export interface LayerState {
  readonly chainID: ChainID
  readonly dir: string
  readonly diffID: DiffID | undefined
  readonly parent: ChainID | undefined
  /** There is a `parent` file, whatever it holds: a base layer has none. */
  readonly hasParent: boolean
  readonly cacheID: CacheID | undefined
  /** The bytes of `size`. */
  readonly size: string | undefined
}

/** An image's config file. */
export interface ImageState {
  readonly id: Digest
  readonly path: string
  readonly hasDigest: boolean
  readonly config: ImageConfig | undefined
  /** The layers, base first, as far as even a damaged config tells; undefined when it does not. */
  readonly diffIDs: readonly DiffID[] | undefined
  /** What is wrong with the config's form. */
  readonly fault: string | undefined
}

/** An entry of layerdb/mounts, field by field as in {@link LayerState}. */
export interface MountState {
  /** The container's id, or whatever another user of the store calls it. */
  readonly name: string
  readonly dir: string
  /** It says nothing, and nobody else tells of such a container. */
  readonly isEmpty: boolean
  readonly mountID: string | undefined
  readonly initID: string | undefined
  readonly hasInit: boolean
  readonly parent: ChainID | undefined
  readonly hasParent: boolean
}

/** A removal that was cut off. */
export interface Tombstone {
  readonly path: string
  readonly cacheID: CacheID | undefined
}

export interface Inventory {
  /** Ids in the driver's home. */
  readonly folders: ReadonlySet<string>
  readonly tombstones: readonly Tombstone[]
  readonly leases: readonly FoundClaim<LeaseContent>[]
  readonly holds: ReadonlyMap<string, readonly Hold[]>
  readonly isUsedByBuildkit: (id: string) => boolean
  readonly docker: {
    readonly containers: readonly DockerContainer[]
    readonly damaged: readonly DamagedContainer[]
  }
  readonly mounts: ReadonlyMap<string, MountState>
  /** Our own records by container id; undefined is one that has not its form. */
  readonly records: ReadonlyMap<string, ContainerRecord | undefined>
  readonly images: readonly ImageState[]
  readonly layers: ReadonlyMap<ChainID, LayerState>
  /** Undefined when repositories.json has not its form. */
  readonly names: Repositories | undefined
}

export async function takeInventory(store: StoreContext): Promise<Inventory> {
  const { paths, root, driver } = store
  const folders = new Set(await driver.list())
  const tombstones = await readTombstones(store)
  const leases = await readLeases(paths)
  const holds = new Map<string, readonly Hold[]>()
  for (const subject of await listSubjects(paths)) holds.set(subject, await readHolds(paths, subject))
  const isUsedByBuildkit = await buildkitReferences(root)
  const docker = await scanDockerContainers(root)
  const records = await readRecords(store)
  const isKnown = (id: string) =>
    records.has(id) || docker.containers.some((container) => container.id === id)
  const mounts = await readMountStates(store, isKnown)
  const images = await readImageStates(store)
  const layers = await readLayerStates(store)
  const names = await ifFormed(readReferences(paths))
  return {
    folders,
    tombstones,
    leases,
    holds,
    isUsedByBuildkit,
    docker,
    mounts,
    records,
    images,
    layers,
    names,
  }
}

async function readTombstones({ paths }: StoreContext): Promise<Tombstone[]> {
  const tombstones: Tombstone[] = []
  for (const path of await listTombstones(paths)) {
    tombstones.push({ path, cacheID: asCacheID(await readField(join(path, 'cache-id'))) })
  }
  return tombstones
}

const RECORD_FILE = /^([0-9a-f]{64})\.json$/

async function readRecords({ paths }: StoreContext): Promise<Map<string, ContainerRecord | undefined>> {
  const records = new Map<string, ContainerRecord | undefined>()
  for (const name of await listFolder(paths.containers)) {
    const id = RECORD_FILE.exec(name)?.[1]
    if (id !== undefined) records.set(id, await ifFormed(readContainerRecord(paths, id)))
  }
  return records
}

/** Undefined when what is read has not its form. */
async function ifFormed<T>(read: Promise<T>): Promise<T | undefined> {
  try {
    return await read
  } catch (error) {
    if (hasCode(error, 'ERR_DAMAGED')) return undefined
    throw error
  }
}

async function readLayerStates({ paths }: StoreContext): Promise<Map<ChainID, LayerState>> {
  const layers = new Map<ChainID, LayerState>()
  for (const chainID of await listChainIDs(paths))
    layers.set(chainID, await readLayerState(layerDir(paths, chainID), chainID))
  return layers
}

async function readLayerState(dir: string, chainID: ChainID): Promise<LayerState> {
  const [diff, size, cacheID, parent] = await Promise.all(
    ['diff', 'size', 'cache-id', 'parent'].map((name) => readField(join(dir, name))),
  )
  return {
    chainID,
    dir,
    diffID: asDigest(diff) as DiffID | undefined,
    parent: asDigest(parent) as ChainID | undefined,
    hasParent: parent !== undefined,
    cacheID: asCacheID(cacheID),
    size,
  }
}

/** What moby accepts. */
const MOUNT_ID = /^[0-9a-f]{64}(-init)?$/

async function readMountStates(
  { paths }: StoreContext,
  isKnown: (id: string) => boolean,
): Promise<Map<string, MountState>> {
  const mounts = new Map<string, MountState>()
  for (const name of await listFolder(paths.mounts))
    mounts.set(name, await readMountState(join(paths.mounts, name), name, isKnown(name)))
  return mounts
}

async function readMountState(dir: string, name: string, isKnown: boolean): Promise<MountState> {
  const [mountID, initID, parent] = await Promise.all(
    ['mount-id', 'init-id', 'parent'].map((field) => readField(join(dir, field))),
  )
  const asMountID = (text: string | undefined) =>
    MOUNT_ID.test(text?.trim() ?? '') ? text?.trim() : undefined
  return {
    name,
    dir,
    isEmpty: !isKnown && mountID === undefined && initID === undefined && parent === undefined,
    mountID: asMountID(mountID),
    initID: asMountID(initID),
    hasInit: initID !== undefined,
    parent: asDigest(parent) as ChainID | undefined,
    hasParent: parent !== undefined,
  }
}

async function readField(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8')
  } catch (error) {
    // EISDIR, ENOTDIR: something that is not a field at all.
    if (hasCode(error, 'ENOENT', 'EISDIR', 'ENOTDIR')) return undefined
    throw error
  }
}

function asDigest(text: string | undefined): string | undefined {
  const trimmed = text?.trim()
  return isDigest(trimmed) ? trimmed : undefined
}

function asCacheID(text: string | undefined): CacheID | undefined {
  try {
    return text === undefined ? undefined : parseCacheID(text.trim())
  } catch {
    // ERR_DAMAGED, the only thing it throws.
    return undefined
  }
}

async function readImageStates({ paths }: StoreContext): Promise<ImageState[]> {
  const images: ImageState[] = []
  for (const id of await listImageIDs(paths)) {
    const path = imageFile(paths, id)
    const bytes = await readBytes(path)
    if (bytes !== undefined) images.push(imageState(id, path, bytes))
  }
  return images
}

async function readBytes(path: string): Promise<Buffer | undefined> {
  try {
    return await readFile(path)
  } catch (error) {
    // Removed since the folder was listed.
    if (hasCode(error, 'ENOENT')) return undefined
    throw error
  }
}

function imageState(id: Digest, path: string, bytes: Buffer): ImageState {
  const hasDigest = digestOf(bytes) === id
  try {
    const config = parseConfig(bytes, 'the config')
    return { id, path, hasDigest, config, diffIDs: config.rootfs.diff_ids, fault: undefined }
  } catch (error) {
    return {
      id,
      path,
      hasDigest,
      config: undefined,
      diffIDs: guessDiffIDs(bytes),
      fault: (error as Error).message,
    }
  }
}

/** A config that has not its form may still tell which layers it is about: those are kept for whoever mends it. */
function guessDiffIDs(bytes: Buffer): DiffID[] | undefined {
  try {
    const document = JSON.parse(bytes.toString()) as { rootfs?: { diff_ids?: unknown } } | null
    const ids = document?.rootfs?.diff_ids
    return Array.isArray(ids) && ids.every(isDigest) ? (ids as DiffID[]) : undefined
  } catch {
    // SyntaxError.
    return undefined
  }
}
