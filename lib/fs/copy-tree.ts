/** Copies of trees, to the last attribute. */
import { binding } from '../native/binding.ts'

export interface CopyOptions {
  /**
   * What to copy, each with all that is below it: paths relative to the source's root, whose parents are in the target
   * already. Without it everything, and the metadata of the root itself.
   */
  readonly only?: readonly Uint8Array[]
  readonly signal?: AbortSignal
}

export function copyTree(fromFd: number, toFd: number, options: CopyOptions = {}): Promise<void> {
  throw new Error('to be written')
}
