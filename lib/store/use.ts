/**
 * Who needs a layer. Moby keeps reference counts in memory; several processes share this store, so they are counted
 * from the files, under the store lock, each time something is to go.
 */
import { OverlaidError } from '../errors.ts'
import { chainIDs } from '../oci/chain-id.ts'
import { type ChainID, type DiffID, type Digest, isDigest } from '../oci/digest.ts'
import { readFile } from 'node:fs/promises'
import { readMounts } from './container-db.ts'
import type { StoreContext } from './context.ts'
import { buildkitReferences } from './docker.ts'
import { liveImageHolds } from './hold.ts'
import { readImages, topChainID } from './image-db.ts'
import { type LayerRecord, readLayers } from './layer-db.ts'
import { liveLeases } from './lease.ts'
import { imageFile } from './paths.ts'

/** Counts by chainID. A layer that no map and no set names is not needed. */
export interface LayerUse {
  readonly layers: ReadonlyMap<ChainID, LayerRecord>
  /** Images with the layer on top. */
  readonly images: Map<ChainID, number>
  readonly children: Map<ChainID, number>
  /** Entries of layerdb/mounts on it: ours, dockerd's, and those of whoever else. */
  readonly containers: Map<ChainID, number>
  /** Needed by a running operation, a read-only mount or BuildKit. */
  readonly pinned: Set<ChainID>
}

/** Counts. The caller holds the store lock if it is going to remove something. */
export async function layerUse(store: StoreContext): Promise<LayerUse> {
  const { paths } = store
  const use: LayerUse = {
    layers: await readLayers(paths),
    images: new Map(),
    children: new Map(),
    containers: new Map(),
    pinned: new Set(),
  }
  for (const { parent } of use.layers.values()) count(use.children, parent)
  for (const { parent } of (await readMounts(paths)).values()) count(use.containers, parent)
  await countImages(store, use)
  for (const { chainIDs } of await liveLeases(paths)) for (const id of chainIDs) use.pinned.add(id)
  for (const id of await liveImageHolds(paths)) use.pinned.add(id)
  const isNamed = await buildkitReferences(store.root)
  for (const { chainID, cacheID } of use.layers.values()) {
    if (isNamed(chainID) || isNamed(cacheID)) use.pinned.add(chainID)
  }
  return use
}

async function countImages({ paths }: StoreContext, use: LayerUse): Promise<void> {
  const damaged: Digest[] = []
  for (const { config } of await readImages(paths, (id) => damaged.push(id)))
    count(use.images, topChainID(config))
  // A config that lost a bit still tells which layers it is about: they are kept for whoever mends it.
  for (const id of damaged) count(use.images, await guessTop(imageFile(paths, id)))
}

async function guessTop(path: string): Promise<ChainID | undefined> {
  try {
    const document = JSON.parse(await readFile(path, 'utf8')) as { rootfs?: { diff_ids?: unknown } } | null
    const ids = document?.rootfs?.diff_ids
    return Array.isArray(ids) && ids.every(isDigest)
      ? chainIDs(ids as string[] as DiffID[]).at(-1)
      : undefined
  } catch {
    // SyntaxError, or an errno that readImages has told of: no layer can be named.
    return undefined
  }
}

function count(counts: Map<ChainID, number>, id: ChainID | undefined): void {
  if (id !== undefined) counts.set(id, (counts.get(id) ?? 0) + 1)
}

/** Whether anything needs the layer. */
export function isNeeded(use: LayerUse, id: ChainID): boolean {
  return use.images.has(id) || use.children.has(id) || use.containers.has(id) || use.pinned.has(id)
}

/** Takes a layer out of the counts: its parent has a child less. */
export function forgetLayer(use: LayerUse, { parent }: LayerRecord): void {
  if (parent === undefined) return
  const children = (use.children.get(parent) ?? 0) - 1
  if (children > 0) use.children.set(parent, children)
  else use.children.delete(parent)
}

/** The layers of a chain, base first. @throws ERR_DAMAGED when one is missing */
export function chainOf(layers: ReadonlyMap<ChainID, LayerRecord>, top: ChainID | undefined): LayerRecord[] {
  const chain: LayerRecord[] = []
  for (let id = top; id !== undefined;) {
    const record = layers.get(id)
    if (record === undefined) throw new OverlaidError('ERR_DAMAGED', `layer ${id} is missing`)
    chain.push(record)
    id = record.parent
  }
  return chain.reverse()
}
