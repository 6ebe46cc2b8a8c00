/** Garbage collection: what crashes left, and layers that nothing refers to. */
import type { StoreContext } from './context.ts'

export interface GcOptions {
  /** Only says what would go; works on a store opened read-only. */
  readonly dryRun?: boolean
  readonly signal?: AbortSignal
}

export interface GcReport {
  /** `bytes` on disk. */
  readonly removed: readonly { readonly kind: string; readonly path: string; readonly bytes: number }[]
  readonly bytes: number
}

export function gc(_store: StoreContext, _options: GcOptions = {}): Promise<GcReport> {
  throw new Error('not built yet')
}
