/** What the driver's parts share. */
import type { Durability } from '../../fs/atomic.ts'

export interface Home {
  /** `<root>/overlay2`. */
  readonly path: string
  readonly durability: Durability
}

/** Attributes and marks of layers as they are stored: trusted.*, since only root writes them. */
export const XATTR_PREFIX = 'trusted.overlay.'
