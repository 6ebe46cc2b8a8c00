/** The drivers that there are, by Docker's names. A root needs one: the others' code is not loaded. */
import { join } from 'node:path'
import type { Durability } from '../fs/atomic.ts'
import type { Driver } from './driver.ts'
import { openOverlay2 } from './overlay2/driver.ts'

export interface DriverOptions {
  readonly durability: Durability
}

type Opener = (home: string, options: DriverOptions) => Driver | Promise<Driver>

/** In Docker's order of preference. */
export const DRIVER_NAMES = ['overlay2', 'fuse-overlayfs', 'vfs'] as const

export type DriverName = (typeof DRIVER_NAMES)[number]

const OPENERS: Readonly<Record<DriverName, Opener>> = {
  overlay2: openOverlay2,
  'fuse-overlayfs': async (home, options) =>
    (await import('./fuse-overlayfs/driver.ts')).openFuseOverlayfs(home, options),
  vfs: async (home, options) => (await import('./vfs/driver.ts')).openVfs(home, options),
}

export function isDriverName(name: string): name is DriverName {
  return Object.hasOwn(OPENERS, name)
}

/** Opens the driver of the data root `root`. Reads and writes nothing yet. */
export async function openDriver(name: DriverName, root: string, options: DriverOptions): Promise<Driver> {
  return OPENERS[name](join(root, name), options)
}
