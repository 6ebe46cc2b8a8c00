/** Verifies the store. */
import type { StoreContext } from './context.ts'

export interface CheckOptions {
  /** Reads every layer again and compares it with its diffID. */
  readonly deep?: boolean
  /** Mends what can be mended. */
  readonly repair?: boolean
  readonly signal?: AbortSignal
}

export interface CheckProblem {
  readonly kind: string
  readonly severity: 'damage' | 'rubbish'
  readonly path: string
  readonly detail: string
  readonly repaired: boolean
}

export interface CheckReport {
  /** No damage. Clean is: no problems. */
  readonly ok: boolean
  readonly problems: readonly CheckProblem[]
}

export function check(_store: StoreContext, _options: CheckOptions = {}): Promise<CheckReport> {
  throw new Error('not built yet')
}
