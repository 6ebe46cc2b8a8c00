/**
 * What is needed: marking from images, containers, mounts, running operations and the build cache down to layers and
 * folders. gc sweeps the rest, so whatever cannot be read here counts as needing everything.
 */
import type { Driver } from '../driver/driver.ts'
import { hasCode } from '../errors.ts'
import { chainID, chainIDs } from '../oci/chain-id.ts'
import type { ChainID } from '../oci/digest.ts'
import { layerOfSubject } from './hold.ts'
import type { Inventory, LayerState, MountState } from './inventory.ts'
import { toldParent } from './told.ts'

export interface Reach {
  /** ChainIDs that something needs, whether there is such a layer or not. */
  readonly layers: ReadonlySet<ChainID>
  /** An image or a container does not tell its layers: any layer may be needed. */
  readonly anyLayer: boolean
  /** Folders of the driver's home that something needs, each with all that it stands on. */
  readonly folders: ReadonlySet<string>
  /** A record does not tell its folder: any folder may be needed. */
  readonly anyFolder: boolean
  /** Folders with the one they must stand on; undefined for a base layer. Only whole chains are in it. */
  readonly parents: ReadonlyMap<string, string | undefined>
}

export async function reach(inventory: Inventory, driver: Driver): Promise<Reach> {
  const layers = neededLayers(inventory)
  const anyLayer = hidesLayers(inventory, layers)
  const parents = knownParents(inventory)
  const folders = await neededFolders(inventory, driver, parents)
  return { layers, anyLayer, folders, anyFolder: hidesFolders(inventory, layers), parents }
}

function neededLayers(inventory: Inventory): Set<ChainID> {
  const needed = new Set<ChainID>()
  for (const { diffIDs = [] } of inventory.images) for (const id of chainIDs(diffIDs)) needed.add(id)
  for (const { parent } of inventory.mounts.values()) if (parent !== undefined) needed.add(parent)
  for (const { alive, content } of inventory.leases) {
    if (alive) for (const id of content?.chainIDs ?? []) needed.add(id)
  }
  // A dead hold too: its mount may be busy. What is left when it has been ended is for the next round.
  for (const [subject, holds] of inventory.holds) {
    const layer = layerOfSubject(subject)
    if (layer !== undefined && holds.length > 0) needed.add(layer)
  }
  for (const { chainID, cacheID } of inventory.layers.values()) {
    const isUsed =
      inventory.isUsedByBuildkit(chainID) || (cacheID !== undefined && inventory.isUsedByBuildkit(cacheID))
    if (isUsed) needed.add(chainID)
  }
  return withParents(needed, inventory)
}

/** A set is walked in the order in which it grows, so parents' parents come too. */
function withParents(needed: Set<ChainID>, { layers }: Inventory): Set<ChainID> {
  for (const id of needed) {
    const parent = layers.get(id)?.parent
    if (parent !== undefined) needed.add(parent)
  }
  return needed
}

function hidesLayers({ images, mounts, layers, leases }: Inventory, needed: ReadonlySet<ChainID>): boolean {
  return (
    images.some(({ diffIDs }) => diffIDs === undefined) ||
    [...mounts.values()].some(({ hasParent, parent }) => hasParent && parent === undefined) ||
    [...layers.values()].some((layer) => needed.has(layer.chainID) && !isSound(layer)) ||
    leases.some(({ alive, content }) => alive && content === undefined)
  )
}

function hidesFolders({ mounts, layers, leases }: Inventory, needed: ReadonlySet<ChainID>): boolean {
  return (
    [...layers.values()].some(({ chainID, cacheID }) => needed.has(chainID) && cacheID === undefined) ||
    [...mounts.values()].some(hidesFolder) ||
    leases.some(({ alive, content }) => alive && content === undefined)
  )
}

function hidesFolder({ isEmpty, mountID, hasInit, initID }: MountState): boolean {
  return !isEmpty && (mountID === undefined || (hasInit && initID === undefined))
}

/** Whether the layer's name is the digest of what it says of itself: then its parent is its parent. */
export function isSound({ chainID: id, diffID, hasParent, parent }: LayerState): boolean {
  return diffID !== undefined && hasParent === (parent !== undefined) && chainID(parent, diffID) === id
}

/** Each folder that a record names, where the records tell all that it stands on, down to the base. */
function knownParents(inventory: Inventory): Map<string, string | undefined> {
  const told = new Map<string, string | undefined>()
  for (const layer of inventory.layers.values()) {
    const below = folderOf(inventory, layer.parent)
    const isKnown = isSound(layer) && layer.hasParent === (below !== undefined)
    if (layer.cacheID !== undefined && isKnown) told.set(layer.cacheID, below)
  }
  for (const mount of inventory.mounts.values()) tellContainer(inventory, mount, told)
  return new Map([...told].filter(([id]) => reachesBase(told, id)))
}

function folderOf({ layers }: Inventory, id: ChainID | undefined): string | undefined {
  return id === undefined ? undefined : layers.get(id)?.cacheID
}

function tellContainer(inventory: Inventory, mount: MountState, told: Map<string, string | undefined>): void {
  const { name, mountID, initID, hasInit, hasParent, parent } = mount
  const below = folderOf(inventory, parent)
  const isLost = !hasParent && toldParent(inventory, name) !== undefined
  const isKnown = !isLost && hasParent === (below !== undefined)
  if (initID !== undefined && isKnown) told.set(initID, below)
  if (mountID === undefined) return
  if (hasInit) return void (initID !== undefined && told.set(mountID, initID))
  // One that is there and not named is an entry that lost its `init-id`.
  if (isKnown && !inventory.folders.has(`${mountID}-init`)) told.set(mountID, below)
}

function reachesBase(told: ReadonlyMap<string, string | undefined>, id: string): boolean {
  const seen = new Set<string>()
  for (let at: string | undefined = id; at !== undefined; at = told.get(at)) {
    if (!told.has(at) || seen.has(at)) return false
    seen.add(at)
  }
  return true
}

/**
 * Folders that records and claims name, and those that these stand on by the driver's own account: a folder whose
 * record is lost still carries whatever was made on it.
 */
async function neededFolders(
  inventory: Inventory,
  driver: Driver,
  parents: ReadonlyMap<string, string | undefined>,
): Promise<Set<string>> {
  const needed = new Set(parents.keys())
  const add = (id: string | undefined) => id !== undefined && needed.add(id)
  for (const { cacheID } of inventory.layers.values()) add(cacheID)
  for (const { mountID, initID } of inventory.mounts.values()) [mountID, initID].forEach(add)
  for (const { alive, content } of inventory.leases) if (alive) content?.driverIDs.forEach(add)
  for (const { content } of [...inventory.holds.values()].flat()) add(content.driverID)
  for (const id of inventory.folders) if (inventory.isUsedByBuildkit(id)) needed.add(id)
  for (const id of needed) add(await parentOf(driver, id))
  return needed
}

async function parentOf(driver: Driver, id: string): Promise<string | undefined> {
  try {
    return await driver.parent(id)
  } catch (error) {
    // Reported by the checkers: no such folder, or one that does not tell.
    if (hasCode(error, 'ERR_LAYER_NOT_FOUND', 'ERR_DAMAGED', 'ERR_INVALID_ARGUMENT')) return undefined
    throw error
  }
}
