/** The driver's home: what the driver finds there by itself, told what the store needs of it. */
import { basename, join, sep } from 'node:path'
import type { DriverProblem } from '../driver/driver.ts'
import type { Finding } from './check-finding.ts'
import { removeFile } from './claim.ts'
import { isProblemKind } from './check-kinds.ts'
import type { StoreContext } from './context.ts'
import type { CacheID } from '../oci/digest.ts'
import { mountIDAt } from '../native/mount.ts'
import { markDamaged } from './damaged.ts'
import { imageSubject } from './hold.ts'
import type { Inventory } from './inventory.ts'
import { tryWithLock } from './lock.ts'
import { mergedPath } from './mounting.ts'
import type { Reach } from './reach.ts'

/** Told by check-layers.ts and check-containers.ts, which know whose folder it was. */
const TOLD_ELSEWHERE: ReadonlySet<string> = new Set(['missing-layer'])
/** Judged by a folder's parents. */
const BY_PARENTS: ReadonlySet<string> = new Set(['missing-lower', 'wrong-lower', 'missing-work'])
/** Deletions that take as long as they take, each guarded by itself. */
const OWN_LOCK: ReadonlySet<string> = new Set(['stale-staging', 'trash', 'probe-folder'])
/** In a folder that may be mounted or unmounted this moment, which its subject's lock forbids. */
const BY_SUBJECT: ReadonlySet<string> = new Set(['dead-mount', 'stale-merged', 'temp-file'])

export async function checkDriver(
  store: StoreContext,
  inventory: Inventory,
  reach: Reach,
): Promise<Finding[]> {
  const referenced = new Map<string, string | undefined>()
  for (const id of reach.folders) referenced.set(id, reach.parents.get(id))
  const isOthers = passedOver(inventory, reach)
  const subjects = subjectsOf(inventory)
  const chainIDs = new Map([...inventory.layers.values()].map(({ chainID, cacheID }) => [cacheID, chainID]))
  const findings: Finding[] = []
  for (const problem of await store.driver.check(referenced)) {
    const id = folderIn(store, problem)
    if (isOthers(problem, id)) continue
    const finding = asFinding(store, problem, reach, subjects.get(id))
    const chainID = chainIDs.get(id as CacheID)
    const isLost = problem.kind === 'missing-diff' && chainID !== undefined
    findings.push(isLost ? { ...finding, mark: () => markDamaged(store, chainID, problem.detail) } : finding)
  }
  // What is mounted does not go.
  return [...(await staleMounts(store, inventory, reach)), ...findings]
}

/** Tells what of the driver's findings is told elsewhere, or is no problem as the store knows. */
function passedOver(inventory: Inventory, reach: Reach): (problem: DriverProblem, id: string) => boolean {
  const busy = busyFolders(inventory)
  const elsewhere = mountedElsewhere(inventory)
  const buried = new Set(inventory.tombstones.map(({ cacheID }) => String(cacheID)))
  return ({ kind }, id) => {
    if (TOLD_ELSEWHERE.has(kind) || busy.has(id)) return true
    // It goes with its tombstone.
    if (kind === 'orphan-layer') return buried.has(id)
    if (kind === 'stale-merged') return elsewhere.has(id)
    return BY_PARENTS.has(kind) && !reach.parents.has(id)
  }
}

/** What a running process is making has not its form yet. */
function busyFolders({ leases }: Inventory): Set<string> {
  return new Set(leases.flatMap(({ alive, content }) => (alive ? (content?.driverIDs ?? []) : [])))
}

/**
 * Folders that may be mounted in a mount namespace that is not ours: there rmdir(2) of the mount point takes the mount
 * away (3.18).
 */
function mountedElsewhere({ holds, docker, mounts }: Inventory): Set<string> {
  const held = [...holds.values()].flat().map(({ content }) => content.driverID)
  const running = docker.containers
    .filter(({ running }) => running)
    .map(({ id }) => mounts.get(id)?.mountID ?? '')
  return new Set([...held, ...running])
}

/** The lock under which each folder is mounted and unmounted. */
function subjectsOf({ layers, mounts }: Inventory): Map<string, string> {
  const subjects = new Map<string, string>()
  for (const { chainID, cacheID } of layers.values()) {
    if (cacheID !== undefined) subjects.set(cacheID, imageSubject(chainID))
  }
  for (const { name, mountID } of mounts.values()) if (mountID !== undefined) subjects.set(mountID, name)
  return subjects
}

/** The layer that a problem is about, by the name of its folder. */
function folderIn({ driver }: StoreContext, { id, path }: DriverProblem): string {
  if (id !== undefined) return id
  return path.slice(driver.home.length + 1).split(sep)[0] ?? ''
}

function asFinding(
  { paths }: StoreContext,
  problem: DriverProblem,
  { anyFolder }: Reach,
  subject: string | undefined,
): Finding {
  const { path, repair } = problem
  if (problem.kind === 'orphan-layer' && anyFolder) {
    return { kind: 'unclaimed-folder', path, detail: 'it may belong to a record that cannot be read' }
  }
  const finding = { ...named(problem), path, ownLock: OWN_LOCK.has(problem.kind) }
  if (repair === undefined) return finding
  if (subject === undefined || !BY_SUBJECT.has(problem.kind)) return { ...finding, mend: repair }
  return { ...finding, mend: () => underLock(join(paths.locks, subject), repair) }
}

/** What is being mounted or unmounted just now is passed over. */
async function underLock(path: string, repair: () => Promise<void>): Promise<void> {
  await tryWithLock(path, async () => {
    await repair()
    // A container's stays as long as the container does.
    if (basename(path).startsWith('ro-')) removeFile(path)
  })
}

function named({ kind, severity, detail }: DriverProblem): Pick<Finding, 'kind' | 'detail'> {
  if (isProblemKind(kind)) return { kind, detail }
  return { kind: `driver-${severity}`, detail: `${kind}: ${detail}` }
}

/** What the store's own folders are called: a folder of another name is another user's. */
const STORE_ID = /^[0-9a-f]{64}(-init)?$/

/**
 * Mounts at the driver's place that no hold tells of: what the driver mounted for a process that died. Those of
 * dockerd's containers and of entries that others made are theirs.
 */
async function staleMounts(store: StoreContext, inventory: Inventory, reach: Reach): Promise<Finding[]> {
  const findings: Finding[] = []
  for (const id of ourFolders(inventory, reach)) {
    const path = mergedPath(store, id)
    if ((await mountIDAt(path)) === undefined) continue
    const mend = () => store.driver.put(id)
    findings.push({ kind: 'stale-mount', path, detail: 'no process holds this mount', mend })
  }
  return findings
}

function ourFolders(inventory: Inventory, { folders: needed, anyFolder }: Reach): string[] {
  const { folders, records, mounts, holds } = inventory
  const held = new Set([...holds.values()].flat().map(({ content }) => content.driverID))
  const ours = [...mounts.values()].flatMap(({ name, mountID }) => (records.has(name) ? [mountID ?? ''] : []))
  const orphans = anyFolder ? [] : [...folders].filter((id) => STORE_ID.test(id) && !needed.has(id))
  return [...ours, ...orphans].filter((id) => folders.has(id) && !held.has(id))
}
