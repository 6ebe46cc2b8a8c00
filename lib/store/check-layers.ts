/** Layers: does each folder of layerdb say what moby needs, and is what it says true and there? */
import { open, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { hasCode } from '../errors.ts'
import { fsyncDir, writeFileAtomic } from '../fs/atomic.ts'
import { chainID } from '../oci/chain-id.ts'
import type { ChainID } from '../oci/digest.ts'
import type { Finding } from './check-finding.ts'
import type { StoreContext } from './context.ts'
import { markDamaged } from './damaged.ts'
import { findFolder } from './find-folder.ts'
import type { Inventory, LayerState } from './inventory.ts'
import { TAR_SPLIT } from './layer-db.ts'
import { MODES } from './paths.ts'
import { isSound, type Reach } from './reach.ts'
import { removeLayers } from './release.ts'
import { type Identity, toldIdentities } from './told.ts'

export async function checkLayers(
  store: StoreContext,
  inventory: Inventory,
  reach: Reach,
): Promise<Finding[]> {
  const told = toldIdentities(inventory)
  const findings: Finding[] = []
  for (const layer of inventory.layers.values()) {
    if (!isNeeded(reach, layer)) continue
    findings.push(...checkIdentity(store, inventory, layer, told))
    findings.push(...checkParent(inventory, layer))
    findings.push(...checkSize(store, inventory, layer))
    findings.push(...checkFolder(store, inventory, layer))
    findings.push(...(await checkTarSplit(store, layer)))
  }
  return [...findings, ...unreferenced(store, inventory, reach)]
}

/** What nothing needs is rubbish, whatever else may be wrong with it. */
function isNeeded({ layers, anyLayer }: Reach, { chainID }: LayerState): boolean {
  return anyLayer || layers.has(chainID)
}

function checkIdentity(
  store: StoreContext,
  { layers }: Inventory,
  layer: LayerState,
  told: ReadonlyMap<ChainID, Identity>,
): Finding[] {
  if (isSound(layer)) return []
  const identity = told.get(layer.chainID) ?? searchIdentity(layer, layers.keys())
  const mend = identity === undefined ? {} : { mend: () => writeIdentity(store, layer, identity) }
  if (layer.diffID === undefined) {
    const detail = `the diffID of ${layer.chainID} cannot be read`
    return [{ kind: 'bad-layer-diff', path: join(layer.dir, 'diff'), detail, ...mend }]
  }
  const says = layer.hasParent ? (layer.parent ?? 'a parent that cannot be read') : 'no parent'
  const detail = `${layer.chainID} has ${layer.diffID} on ${says}, which is another layer's name`
  return [{ kind: 'bad-layer-parent', path: join(layer.dir, 'parent'), detail, ...mend }]
}

/** With a diffID that is right, one of the store's layers is the parent, or none is: hashing tells which. */
function searchIdentity(
  { chainID: id, diffID }: LayerState,
  candidates: Iterable<ChainID>,
): Identity | undefined {
  if (diffID === undefined) return undefined
  for (const parent of [undefined, ...candidates])
    if (chainID(parent, diffID) === id) return { diffID, parent }
  return undefined
}

async function writeIdentity(
  store: StoreContext,
  { dir }: LayerState,
  { diffID, parent }: Identity,
): Promise<void> {
  await writeField(store, join(dir, 'diff'), diffID)
  if (parent !== undefined) return writeField(store, join(dir, 'parent'), parent)
  await rm(join(dir, 'parent'), { recursive: true, force: true })
  await fsyncDir(dir, store)
}

/** Replaces one of layerdb's small files. */
export function writeField({ durability }: StoreContext, path: string, text: string): Promise<void> {
  return writeFileAtomic(path, text, { mode: MODES.openFile, durability })
}

function checkParent({ layers }: Inventory, { chainID, dir, parent }: LayerState): Finding[] {
  if (parent === undefined || layers.has(parent)) return []
  const detail = `${chainID} stands on ${parent}, which is not in the store: load an image that has it`
  return [{ kind: 'missing-parent-layer', path: join(dir, 'parent'), detail }]
}

/** moby parses the raw bytes: a newline at the end breaks the layer. */
const SIZE = /^\d{1,15}$/

function checkSize(store: StoreContext, inventory: Inventory, layer: LayerState): Finding[] {
  const { chainID, dir, size } = layer
  if (size !== undefined && SIZE.test(size)) return []
  const path = join(dir, 'size')
  const what = size === undefined ? 'is missing' : `is ${JSON.stringify(size.slice(0, 40))}`
  const mend = async () => writeField(store, path, await rightSize(store, inventory, layer))
  const canMend = isSound(layer) && layer.cacheID !== undefined && inventory.folders.has(layer.cacheID)
  return [
    { kind: 'bad-layer-size', path, detail: `the size of ${chainID} ${what}`, ...(canMend && { mend }) },
  ]
}

async function rightSize(
  { driver }: StoreContext,
  { layers }: Inventory,
  layer: LayerState,
): Promise<string> {
  const trimmed = layer.size?.trim() ?? ''
  if (SIZE.test(trimmed)) return trimmed
  const parent = layer.parent === undefined ? undefined : layers.get(layer.parent)?.cacheID
  return String(await driver.diffSize(layer.cacheID ?? '', parent))
}

function checkFolder(store: StoreContext, inventory: Inventory, layer: LayerState): Finding[] {
  const { chainID, dir, cacheID } = layer
  const path = join(dir, 'cache-id')
  if (cacheID === undefined) {
    const mend = async () => {
      const found = await findFolder(store, inventory, layer)
      if (found !== undefined) await writeField(store, path, found)
    }
    return [{ kind: 'bad-layer-cache-id', path, detail: `the folder of ${chainID} cannot be told`, mend }]
  }
  if (inventory.folders.has(cacheID)) return []
  const detail = `${chainID} is in ${cacheID}, which is gone: load an image that has the layer`
  return [{ kind: 'missing-layer-folder', path, detail }]
}

async function checkTarSplit(store: StoreContext, { chainID, dir }: LayerState): Promise<Finding[]> {
  const path = join(dir, TAR_SPLIT)
  if (await startsAsGzip(path)) return []
  const detail = `the tar-split data of ${chainID} is missing or is not gzip`
  return [{ kind: 'bad-tar-split', path, detail, mark: () => markDamaged(store, chainID, detail) }]
}

const GZIP_MAGIC = Buffer.from([0x1f, 0x8b])

async function startsAsGzip(path: string): Promise<boolean> {
  try {
    const file = await open(path)
    const { buffer } = await file.read(Buffer.alloc(2), 0, 2, 0).finally(() => file.close())
    return buffer.equals(GZIP_MAGIC)
  } catch (error) {
    if (hasCode(error, 'ENOENT', 'EISDIR')) return false
    throw error
  }
}

/** Children come first, so that each is removed before what it stands on. */
function unreferenced(store: StoreContext, { layers }: Inventory, reach: Reach): Finding[] {
  const free = [...layers.values()].filter((layer) => !isNeeded(reach, layer))
  const height = new Map(free.map((layer) => [layer, heightOf(layers, layer)]))
  free.sort((a, b) => (height.get(b) ?? 0) - (height.get(a) ?? 0))
  return free.map(({ chainID, dir, cacheID }) => ({
    kind: 'unused-layer',
    path: dir,
    detail: `nothing needs ${chainID}`,
    ...(cacheID !== undefined && { folder: cacheID }),
    // Without a cacheID the folder is an orphan when the record is gone.
    mend: () => removeLayers(store, [{ chainID, cacheID }]),
  }))
}

/** Layers below it. Damaged records may go in a circle. */
function heightOf(layers: ReadonlyMap<ChainID, LayerState>, layer: LayerState): number {
  const seen = new Set<LayerState>()
  for (let at: LayerState | undefined = layer; at !== undefined && !seen.has(at);) {
    seen.add(at)
    at = at.parent === undefined ? undefined : layers.get(at.parent)
  }
  return seen.size
}
