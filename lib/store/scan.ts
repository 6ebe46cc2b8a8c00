/** One look at the whole store but for the layers' content: what check reports and gc removes. */
import { checkContainers } from './check-containers.ts'
import { checkDriver } from './check-driver.ts'
import { type Finding, isSame } from './check-finding.ts'
import type { ProblemKind } from './check-kinds.ts'
import { checkImages } from './check-images.ts'
import { checkLayers } from './check-layers.ts'
import { checkOwn } from './check-own.ts'
import type { StoreContext } from './context.ts'
import { type Inventory, takeInventory } from './inventory.ts'
import type { LayerRecord } from './layer-db.ts'
import { withReadLock } from './lock.ts'
import { layerDir } from './paths.ts'
import { reach } from './reach.ts'

export interface Scan {
  readonly inventory: Inventory
  readonly findings: readonly Finding[]
}

/**
 * Looks. What it finds can be acted on only when the caller holds the store lock.
 * @param planned - a layer whose folder is there and whose record is about to be: it is seen as if it were
 */
export async function scan(store: StoreContext, planned?: LayerRecord): Promise<Scan> {
  const inventory = withPlanned(store, await takeInventory(store), planned)
  const needed = await reach(inventory, store.driver)
  const findings = [
    ...(await checkLayers(store, inventory, needed)),
    ...(await checkImages(store, inventory)),
    ...checkContainers(store, inventory),
    ...(await checkDriver(store, inventory, needed)),
    ...(await checkOwn(store, inventory, needed)),
  ]
  return { inventory, findings }
}

function withPlanned(
  { paths }: StoreContext,
  inventory: Inventory,
  planned: LayerRecord | undefined,
): Inventory {
  if (planned === undefined) return inventory
  const { chainID, size, parent } = planned
  const state = {
    ...planned,
    dir: layerDir(paths, chainID),
    hasParent: parent !== undefined,
    size: String(size),
  }
  return { ...inventory, layers: new Map([...inventory.layers, [chainID, state]]) }
}

/**
 * Looks from outside: nothing is written, and whoever changes the store meanwhile is not taken for damage. A shared
 * lock keeps overlaid's own changes out; where there is none to be had, or a dockerd at work, only what two looks
 * find is believed.
 */
export async function scanQuietly(store: StoreContext, signal?: AbortSignal): Promise<Scan> {
  const locked = await withReadLock(store.paths.lock, () => scan(store), signal)
  const first = locked?.value ?? (await scan(store))
  signal?.throwIfAborted()
  if (first.findings.length === 0) return first
  const second = await withReadLock(store.paths.lock, () => scan(store), signal)
  const { inventory, findings } = second?.value ?? (await scan(store))
  return {
    inventory,
    findings: findings.filter((found) => first.findings.some((seen) => isSame(seen, found))),
  }
}

const LINKS: ReadonlySet<ProblemKind> = new Set([
  'missing-link',
  'missing-l-entry',
  'missing-lower',
  'wrong-lower',
])

/** Makes the driver's account of what stands on what that of the records. The caller holds the store lock. */
export async function mendLinks(store: StoreContext, planned?: LayerRecord): Promise<void> {
  const { findings } = await scan(store, planned)
  for (const { kind, mend } of findings) if (LINKS.has(kind)) await mend?.()
}
