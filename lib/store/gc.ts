/**
 * Garbage collection: what crashes left, and layers that nothing refers to. What goes is decided under the store lock
 * on a look of its own; looking for it beforehand, measuring and deleting happen outside.
 */
import { lstat } from 'node:fs/promises'
import { hasCode } from '../errors.ts'
import { diskUsageOf } from '../fs/usage.ts'
import { type Finding, isSame } from './check-finding.ts'
import { type ProblemKind, severityOf } from './check-kinds.ts'
import type { StoreContext } from './context.ts'
import { scan, scanQuietly } from './scan.ts'

export interface GcOptions {
  /** Only says what would go; works on a store opened read-only. */
  readonly dryRun?: boolean
  readonly signal?: AbortSignal
}

export interface GcReport {
  /** `bytes` on disk. */
  readonly removed: readonly Removed[]
  readonly bytes: number
}

export interface Removed {
  readonly kind: ProblemKind
  readonly path: string
  readonly bytes: number
}

/** Rubbish, with what it takes of the disk. */
interface Measured {
  readonly finding: Finding
  readonly bytes: number
}

/** What goes may have kept other things, as a dead mount its layers: each round looks again. */
const MAX_ROUNDS = 16

/**
 * Removes rubbish until there is none that can be removed: what is in use stays.
 * @throws ERR_STORE_LOCKED beside a running dockerd, unless `dryRun`
 */
export async function gc(store: StoreContext, options: GcOptions = {}): Promise<GcReport> {
  const { dryRun = false, signal } = options
  if (dryRun) return report(await look(store, [], signal))
  await store.locked(() => Promise.resolve(), signal === undefined ? {} : { signal })
  const removed: Measured[] = []
  for (let round = 0; round < MAX_ROUNDS; round++) {
    const seen = await look(store, removed, signal)
    const gone = await sweep(store, seen, signal)
    if (gone.length === 0) break
    await store.driver.emptyTrash()
    removed.push(...gone)
  }
  return report(removed)
}

/** The rubbish there is now. What was removed and is there again is somebody else's work: it may go on for ever. */
async function look(
  store: StoreContext,
  removed: readonly Measured[],
  signal: AbortSignal | undefined,
): Promise<Measured[]> {
  const { findings } = await scanQuietly(store, signal)
  const measured: Measured[] = []
  for (const finding of findings.filter(isRemovable)) {
    signal?.throwIfAborted()
    if (removed.some((other) => isSame(other.finding, finding))) continue
    measured.push({ finding, bytes: await measure(store, finding) })
  }
  return measured
}

function isRemovable({ kind, mend }: Finding): boolean {
  return severityOf(kind) === 'rubbish' && mend !== undefined
}

async function measure({ driver }: StoreContext, { path, folder }: Finding): Promise<number> {
  const bytes = await usageOf(path)
  return folder === undefined ? bytes : bytes + (await driver.diskUsage(folder).catch(ifGone))
}

async function usageOf(path: string): Promise<number> {
  try {
    const stat = await lstat(path)
    return stat.isDirectory() ? await diskUsageOf(path) : stat.blocks * 512
  } catch (error) {
    return ifGone(error)
  }
}

function ifGone(error: unknown): number {
  if (hasCode(error, 'ENOENT', 'ERR_LAYER_NOT_FOUND')) return 0
  throw error
}

/** Removes what was seen and is still there; returns what went. */
async function sweep(
  store: StoreContext,
  seen: readonly Measured[],
  signal: AbortSignal | undefined,
): Promise<Measured[]> {
  const gone: Measured[] = []
  const remove = async (item: Measured, mend: Finding['mend']) => {
    signal?.throwIfAborted()
    if (await unlessInUse(mend)) gone.push(item)
  }
  for (const item of seen) if (item.finding.ownLock === true) await remove(item, item.finding.mend)
  const locked = async () => {
    const { findings } = await scan(store)
    for (const item of seen) {
      const now = findings.find((found) => found.ownLock !== true && isSame(found, item.finding))
      if (now !== undefined) await remove(item, now.mend)
    }
  }
  if (seen.every(({ finding }) => finding.ownLock === true)) return gone
  await store.locked(locked, signal === undefined ? {} : { signal })
  return gone
}

/** False when somebody came to use it meanwhile. */
async function unlessInUse(mend: Finding['mend']): Promise<boolean> {
  try {
    await mend?.()
    return true
  } catch (error) {
    if (hasCode(error, 'ERR_IN_USE', 'EBUSY')) return false
    throw error
  }
}

function report(removed: readonly Measured[]): GcReport {
  return {
    removed: removed.map(({ finding: { kind, path }, bytes }) => ({ kind, path, bytes })),
    bytes: removed.reduce((total, { bytes }) => total + bytes, 0),
  }
}
