import type { ApplyNotes } from './apply.ts'

export interface SettleOptions {
  readonly xattrPrefix: 'trusted.overlay.' | 'user.overlay.'
  readonly signal?: AbortSignal
}

/**
 * Settles in the unpacked layer `diffFd` what needed its parent. Once for each unpacking.
 *
 * @param parentRootFd - the parent's merged content, read-only; undefined for a base layer. Always call it: a
 *   base layer has things to settle too.
 * @returns the bytes this added to {@link ApplyNotes.size}
 */
export async function settleLayer(
  diffFd: number,
  parentRootFd: number | undefined,
  notes: ApplyNotes,
  options: SettleOptions,
): Promise<number> {
  throw new Error(`not yet: ${String([diffFd, parentRootFd, notes, options])}`)
}
