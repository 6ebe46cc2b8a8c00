/** Where the disk's bytes are. All numbers are bytes on disk (st_blocks), each inode once. */
import { hasCode } from '../errors.ts'
import type { ChainID, Digest } from '../oci/digest.ts'
import { namesOf } from '../oci/repositories.ts'
import { type ContainerEntry, listContainers, mountStateOf } from './container-entry.ts'
import type { StoreContext } from './context.ts'
import { type ImageRecord, readImages, topChainID } from './image-db.ts'
import { readReferences } from './references.ts'
import { type LayerUse, layerUse } from './use.ts'

export interface DiskUsage {
  /** Everything that the store keeps on disk: layers, containers and rubbish in the driver's home. */
  readonly total: number
  readonly layers: {
    readonly count: number
    readonly bytes: number
    /** Of layers that more than one image has. */
    readonly shared: number
    /** Of layers that no image and no container needs. */
    readonly reclaimable: number
  }
  readonly containers: { readonly count: number; readonly bytes: number; readonly reclaimable: number }
  readonly images: readonly {
    readonly id: Digest
    readonly names: readonly string[]
    readonly bytes: number
    /** Of layers that another image has too. */
    readonly shared: number
    /** Of layers that only this image has: what removing it would free when no container uses it. */
    readonly unique: number
    readonly containers: number
  }[]
  readonly perLayer: readonly { readonly chainID: ChainID; readonly bytes: number; readonly images: number }[]
  readonly perContainer: readonly { readonly id: string; readonly name: string; readonly bytes: number }[]
  /** What gc, rm of unmounted containers and rmi of unused images would free together. */
  readonly reclaimable: number
}

interface MeasuredContainer {
  readonly id: string
  readonly name: string
  readonly imageID: Digest
  readonly parent: ChainID | undefined
  readonly bytes: number
  /** `rm` would remove it. */
  readonly isFree: boolean
}

/** The store, measured. */
interface Measured {
  /** Bytes of every folder in the driver's home, by its name. */
  readonly folders: ReadonlyMap<string, number>
  readonly use: LayerUse
  readonly images: readonly (ImageRecord & { readonly names: readonly string[] })[]
  readonly containers: readonly MeasuredContainer[]
}

/** Walks every folder of the store once. */
export async function diskUsage(
  store: StoreContext,
  { signal }: { readonly signal?: AbortSignal } = {},
): Promise<DiskUsage> {
  const folders = new Map<string, number>()
  for (const id of await store.driver.list()) {
    signal?.throwIfAborted()
    folders.set(id, await measureFolder(store, id))
  }
  const repositories = await readReferences(store.paths)
  const images = (await readImages(store.paths)).map((image) => ({
    ...image,
    names: namesOf(repositories, image.id),
  }))
  const containers: MeasuredContainer[] = []
  for (const entry of await listContainers(store))
    containers.push(await measureContainer(store, entry, folders))
  return report({ folders, use: await layerUse(store), images, containers })
}

/** 0 for a folder that was removed since it was listed. */
async function measureFolder({ driver }: StoreContext, id: string): Promise<number> {
  try {
    return await driver.diskUsage(id)
  } catch (error) {
    if (hasCode(error, 'ERR_LAYER_NOT_FOUND', 'ENOENT')) return 0
    throw error
  }
}

async function measureContainer(
  store: StoreContext,
  entry: ContainerEntry,
  folders: ReadonlyMap<string, number>,
): Promise<MeasuredContainer> {
  const { id, name, imageID, owner, mount } = entry
  const bytes = (folders.get(mount.mountID) ?? 0) + (folders.get(mount.initID ?? '') ?? 0)
  const isFree = owner === 'overlaid' && !(await mountStateOf(store, entry)).mounted
  return { id, name, imageID, parent: mount.parent, bytes, isFree }
}

function report(measured: Measured): DiskUsage {
  const { folders, use, images, containers } = measured
  const chains = new Map(images.map(({ id, config }) => [id, chainFrom(use, [topChainID(config)])]))
  const imagesOf = new Map<ChainID, number>()
  for (const chain of chains.values()) for (const id of chain) imagesOf.set(id, (imagesOf.get(id) ?? 0) + 1)
  const bytesOf = (id: ChainID) => folders.get(use.layers.get(id)?.cacheID ?? '') ?? 0
  const weigh = (ids: Iterable<ChainID>) => [...ids].reduce((total, id) => total + bytesOf(id), 0)
  const isShared = (id: ChainID) => (imagesOf.get(id) ?? 0) > 1
  const total = [...folders.values()].reduce((sum, bytes) => sum + bytes, 0)
  return {
    total,
    layers: layerTotals(measured, imagesOf, weigh, isShared),
    containers: containerTotals(containers),
    images: images.map(({ id, names }) => {
      const chain = [...(chains.get(id) ?? [])]
      const [bytes, shared] = [weigh(chain), weigh(chain.filter(isShared))]
      const users = containers.filter(({ imageID }) => imageID === id).length
      return { id, names, bytes, shared, unique: bytes - shared, containers: users }
    }),
    perLayer: [...use.layers.keys()].map((id) => ({
      chainID: id,
      bytes: bytesOf(id),
      images: imagesOf.get(id) ?? 0,
    })),
    perContainer: containers.map(({ id, name, bytes }) => ({ id, name, bytes })),
    reclaimable: total - weigh(kept(measured)) - weighContainers(containers.filter(({ isFree }) => !isFree)),
  }
}

function layerTotals(
  { use, containers }: Measured,
  imagesOf: ReadonlyMap<ChainID, number>,
  weigh: (ids: Iterable<ChainID>) => number,
  isShared: (id: ChainID) => boolean,
): DiskUsage['layers'] {
  const ids = [...use.layers.keys()]
  const used = chainFrom(use, [
    ...use.containers.keys(),
    ...use.pinned,
    ...containers.map(({ parent }) => parent),
  ])
  const unused = ids.filter((id) => !imagesOf.has(id) && !used.has(id))
  return {
    count: ids.length,
    bytes: weigh(ids),
    shared: weigh(ids.filter(isShared)),
    reclaimable: weigh(unused),
  }
}

function containerTotals(containers: readonly MeasuredContainer[]): DiskUsage['containers'] {
  return {
    count: containers.length,
    bytes: weighContainers(containers),
    reclaimable: weighContainers(containers.filter(({ isFree }) => isFree)),
  }
}

function weighContainers(containers: readonly MeasuredContainer[]): number {
  return containers.reduce((total, { bytes }) => total + bytes, 0)
}

/** Layers that stay when all that can go is gone: those below mounted or foreign containers, and pinned ones. */
function kept({ use, containers }: Measured): Set<ChainID> {
  const free = new Map<ChainID, number>()
  for (const { parent, isFree } of containers) {
    if (isFree && parent !== undefined) free.set(parent, (free.get(parent) ?? 0) + 1)
  }
  const busy = [...use.containers].filter(([id, count]) => count > (free.get(id) ?? 0)).map(([id]) => id)
  return chainFrom(use, [...busy, ...use.pinned])
}

/** The layers named, and all below them. */
function chainFrom({ layers }: LayerUse, tops: Iterable<ChainID | undefined>): Set<ChainID> {
  const found = new Set<ChainID>()
  for (const top of tops) {
    for (let id = top; id !== undefined && !found.has(id); id = layers.get(id)?.parent) {
      if (layers.has(id)) found.add(id)
    }
  }
  return found
}
