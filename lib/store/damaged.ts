/**
 * Layers that are to be replaced by the next load that has them: those whose record cannot be read, whose folder is
 * gone, or that check found changed and marked. A mark is a file `overlaid/damaged/<chainID hex>` with the reason; it
 * changes nothing else, so that a damaged layer stays as usable as it is until a good one is there.
 */
import { statSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { hasCode, OverlaidError } from '../errors.ts'
import { mkdirDurable, writeFileAtomic } from '../fs/atomic.ts'
import { type ChainID, hexOf, isDigest } from '../oci/digest.ts'
import { listFolder, removeFile } from './claim.ts'
import { findMount } from './container-db.ts'
import type { StoreContext } from './context.ts'
import { layerOfSubject, listSubjects, readHolds } from './hold.ts'
import { findLayer, type LayerRecord } from './layer-db.ts'
import { MODES, type StorePaths } from './paths.ts'

/** Where the mark of a layer is, or would be. */
export function markFile(paths: StorePaths, chainID: ChainID): string {
  return join(paths.damaged, hexOf(chainID))
}

/** Marks a layer. The caller holds the store lock. */
export async function markDamaged(
  { paths, durability }: StoreContext,
  chainID: ChainID,
  reason: string,
): Promise<void> {
  await mkdirDurable(paths.damaged, { mode: MODES.privateDir, durability })
  const options = { mode: MODES.privateFile, durability }
  await writeFileAtomic(markFile(paths, chainID), `${reason}\n`, options)
}

/** ChainIDs that are marked, whether there is still such a layer or not. */
export async function listMarks(paths: StorePaths): Promise<ChainID[]> {
  const names = await listFolder(paths.damaged)
  return names.map((hex) => `sha256:${hex}`).filter((id): id is ChainID => isDigest(id))
}

export function removeMark(paths: StorePaths, chainID: ChainID): void {
  removeFile(markFile(paths, chainID))
}

function isMarked(paths: StorePaths, chainID: ChainID): boolean {
  return statSync(markFile(paths, chainID), { throwIfNoEntry: false }) !== undefined
}

/** The layer if it is there and good as far as is known; undefined when it is to be made, or made anew. */
export async function findGoodLayer(store: StoreContext, chainID: ChainID): Promise<LayerRecord | undefined> {
  const record = await findReadable(store, chainID)
  if (record === undefined || !(await store.driver.exists(record.cacheID))) return undefined
  return isMarked(store.paths, chainID) ? undefined : record
}

/** The layer if its record can be read. */
export async function findReadable(
  { paths }: StoreContext,
  chainID: ChainID,
): Promise<LayerRecord | undefined> {
  try {
    return await findLayer(paths, chainID)
  } catch (error) {
    if (hasCode(error, 'ERR_DAMAGED')) return undefined
    throw error
  }
}

/** ChainIDs that layers and containers stand on, whether there are such layers or not. */
export async function listParents(paths: StorePaths): Promise<Set<ChainID>> {
  const parents = new Set<ChainID>()
  for (const folder of [paths.layers, paths.mounts]) {
    for (const name of await listFolder(folder)) {
      const parent = await readParent(join(folder, name, 'parent'))
      if (isDigest(parent)) parents.add(parent as ChainID)
    }
  }
  return parents
}

async function readParent(path: string): Promise<string | undefined> {
  try {
    return (await readFile(path, 'utf8')).trim()
  } catch (error) {
    if (hasCode(error, 'ENOENT', 'ENOTDIR')) return undefined
    throw error
  }
}

/** @throws ERR_IN_USE while the layer is below something that is mounted */
export async function refuseWhileMounted(store: StoreContext, chainID: ChainID): Promise<void> {
  for (const subject of await listSubjects(store.paths)) {
    if (!(await readHolds(store.paths, subject)).some((hold) => hold.live)) continue
    const top = layerOfSubject(subject) ?? (await findMount(store.paths, subject))?.parent
    if (!(await standsOn(store, top, chainID))) continue
    const message = `layer ${chainID} is damaged and is to be replaced, but it is mounted below ${subject}`
    throw new OverlaidError('ERR_IN_USE', message, { hint: 'unmount that, then load the image again' })
  }
}

async function standsOn(store: StoreContext, top: ChainID | undefined, chainID: ChainID): Promise<boolean> {
  for (let id = top; id !== undefined; id = (await findReadable(store, id))?.parent) {
    if (id === chainID) return true
  }
  return false
}
