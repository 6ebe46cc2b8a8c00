import type { ProblemKind } from './check-kinds.ts'

/** A problem as the checkers find it. */
export interface Finding {
  readonly kind: ProblemKind
  readonly path: string
  readonly detail: string
  /** A folder of the driver's home that goes with it. */
  readonly folder?: string
  /** Rubbish: removes it. Damage: mends it, absent where that cannot be done. */
  readonly mend?: () => void | Promise<void>
  /** Damage that only a load mends: notes it, so that the load does. */
  readonly mark?: () => Promise<void>
  /** It has a lock of its own and may take long: not to be mended under the store lock, as all else is. */
  readonly ownLock?: boolean
}

/** Whether two scans found the same. */
export function isSame(a: Finding, b: Finding): boolean {
  return a.kind === b.kind && a.path === b.path
}
