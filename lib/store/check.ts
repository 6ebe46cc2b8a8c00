/**
 * Verifying the store: check-kinds.ts lists what can be wrong. Reading, it takes no part in anything; with `repair` it
 * mends damage under the store lock, each time on a fresh look, and leaves rubbish to gc.
 */
import { OverlaidError } from '../errors.ts'
import { checkDeep, type CheckProgress } from './check-deep.ts'
import { type Finding, isSame } from './check-finding.ts'
import { type ProblemKind, type Severity, severityOf } from './check-kinds.ts'
import type { StoreContext } from './context.ts'
import { scan, scanQuietly } from './scan.ts'

export interface CheckOptions {
  /** Reads every layer again and compares it with its diffID. */
  readonly deep?: boolean
  /** Mends what can be mended without loss, and notes what a load is to replace. */
  readonly repair?: boolean
  /** Told of each layer that `deep` reads. */
  readonly onProgress?: (event: CheckProgress) => void
  readonly signal?: AbortSignal
}

export interface CheckProblem {
  readonly kind: ProblemKind
  readonly severity: Severity
  readonly path: string
  readonly detail: string
  /** It is mended: it was there before this check and is not any more. */
  readonly repaired: boolean
}

export interface CheckReport {
  /** No damage is left. Clean is: no problems. */
  readonly ok: boolean
  readonly problems: readonly CheckProblem[]
}

/**
 * Checks the store.
 * @throws ERR_STORE_LOCKED with `repair` beside a running dockerd
 */
export async function check(store: StoreContext, options: CheckOptions = {}): Promise<CheckReport> {
  const { signal } = options
  const { findings, inventory } = await scanQuietly(store, signal)
  const deep = options.deep === true ? await checkDeep(store, inventory, options) : []
  const found = [...findings, ...deep]
  if (options.repair !== true) return report(found, found)
  const left = await repair(store, found, deep, signal)
  return report(found, left)
}

/** A mended problem may have hidden another: each round looks again. */
const MAX_ROUNDS = 8

/** Mends what was found and what comes to light by that; returns what is left. */
async function repair(
  store: StoreContext,
  found: Finding[],
  deep: readonly Finding[],
  signal: AbortSignal | undefined,
): Promise<Finding[]> {
  const tried: Finding[] = []
  for (let round = 0; round < MAX_ROUNDS; round++) {
    signal?.throwIfAborted()
    const { left, mended } = await store.locked(
      () => repairRound(store, tried),
      signal === undefined ? {} : { signal },
    )
    for (const finding of left) if (!found.some((seen) => isSame(seen, finding))) found.push(finding)
    if (mended > 0) continue
    await store.locked(() => markAll([...left, ...deep]))
    return [...left, ...deep]
  }
  return found
}

/** Each problem is tried once: what is found again after it was mended cannot be. */
async function repairRound(
  store: StoreContext,
  tried: Finding[],
): Promise<{ left: Finding[]; mended: number }> {
  const { findings } = await scan(store)
  let mended = 0
  for (const finding of findings) {
    if (severityOf(finding.kind) !== 'damage' || finding.mend === undefined) continue
    if (tried.some((seen) => isSame(seen, finding))) continue
    tried.push(finding)
    await unlessUnable(finding.mend)
    mended++
  }
  return { left: [...findings], mended }
}

/** What another damage prevents stays reported; a failing disk or a full one is an error. */
async function unlessUnable(mend: () => void | Promise<void>): Promise<void> {
  try {
    await mend()
  } catch (error) {
    if (!(error instanceof OverlaidError)) throw error
  }
}

async function markAll(findings: readonly Finding[]): Promise<void> {
  for (const { mark } of findings) await mark?.()
}

function report(found: readonly Finding[], left: readonly Finding[]): CheckReport {
  const problems = found.map(({ kind, path, detail, ...finding }) => {
    const repaired = !left.some((other) => isSame(other, { kind, path, detail, ...finding }))
    return { kind, severity: severityOf(kind), path, detail, repaired }
  })
  const ok = problems.every(({ severity, repaired }) => severity === 'rubbish' || repaired)
  return { ok, problems }
}
