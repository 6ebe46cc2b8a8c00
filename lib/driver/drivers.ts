/**
 * The drivers that there are, by Docker's names. A root needs one: the others' code is not loaded.
 *
 * All that is asked of a driver to be chosen is its verify(): which error it throws says whether the next is tried
 * (answer.ts), its message and hint are what `overlaid probe` prints. Docker's order is in order.ts.
 */
import { join } from 'node:path'
import type { Durability } from '../fs/atomic.ts'
import type { Driver } from './driver.ts'
import { openOverlay2 } from './overlay2/driver.ts'

export interface DriverOptions {
  readonly durability: Durability
}

type Opener = (home: string, options: DriverOptions) => Driver | Promise<Driver>

/** In Docker's order of preference. */
export const DRIVER_NAMES = ['overlay2', 'fuse-overlayfs', 'btrfs', 'zfs', 'vfs'] as const

export type DriverName = (typeof DRIVER_NAMES)[number]

const OPENERS: Readonly<Record<DriverName, Opener>> = {
  overlay2: openOverlay2,
  'fuse-overlayfs': async (home, options) =>
    (await import('./fuse-overlayfs/driver.ts')).openFuseOverlayfs(home, options),
  btrfs: async (home, options) => (await import('./btrfs/driver.ts')).openBtrfs(home, options),
  zfs: async (home, options) => (await import('./zfs/driver.ts')).openZfs(home, options),
  vfs: async (home, options) => (await import('./vfs/driver.ts')).openVfs(home, options),
}

export function isDriverName(name: string): name is DriverName {
  return Object.hasOwn(OPENERS, name)
}

/**
 * Opens a driver of the data root `root` by its name. Reads and writes nothing yet.
 * @throws ERR_DRIVER_MISMATCH for one of Docker's that this version does not have, ERR_INVALID_ARGUMENT for no driver
 */
export async function openDriver(name: string, root: string, options: DriverOptions): Promise<Driver> {
  if (!isDriverName(name)) throw (await import('./unavailable.ts')).unavailable(name, root)
  return OPENERS[name](join(root, name), options)
}
