/**
 * Which driver serves a data root. Docker's rules: a named one is taken or refused, never replaced; else the one
 * whose state is in the root, and an error when there are several; else the best that works. This version has
 * overlay2 alone, so "the best that works" is that one or nothing.
 */
import { type Dir, lstatSync, opendirSync } from 'node:fs'
import { join } from 'node:path'
import { hasCode, OverlaidError } from '../errors.ts'
import type { Durability } from '../fs/atomic.ts'
import type { Driver } from './driver.ts'
import { DRIVER_NAMES, isDriverName, openDriver } from './drivers.ts'

/** Docker's, that this version has not. */
const MISSING_NAMES: readonly string[] = ['btrfs', 'zfs']

/** Drivers that Docker once had; a root may still hold their state. */
const REMOVED_NAMES: readonly string[] = ['aufs', 'devicemapper', 'overlay']

/** Why a driver does not serve this root. */
export interface DriverRefusal {
  readonly driver: string
  readonly reason: string
}

export interface DriverSelection {
  readonly driver: Driver
  /** Every driver that comes before the selected one, or that was passed over for it, with the reason. */
  readonly refused: readonly DriverRefusal[]
}

export interface SelectOptions {
  /** A driver's name; without it what is in the root decides. */
  readonly name?: string
  readonly durability: Durability
  readonly onWarning?: (message: string) => void
}

/**
 * Selects the driver for the data root `root`. Reads only: whether the driver can work there is found out by
 * {@link Driver.prepare}, before the first write.
 * @throws ERR_INVALID_ARGUMENT (a name that is no driver), ERR_DRIVER_MISMATCH (the root holds another one's state,
 *   or several drivers')
 */
export async function selectDriver(root: string, options: SelectOptions): Promise<DriverSelection> {
  const prior = priorDrivers(root)
  const name = options.name ?? nameFromState(root, prior)
  if (!isDriverName(name)) throw refuse(name)
  const refused = MISSING_NAMES.map((driver) => ({ driver, reason: 'this version does not have it' }))
  return { driver: await openDriver(name, root, options), refused }
}

/** The drivers whose folder in the root is not empty. vfs never counts, as in moby: it leaves its folder behind. */
function priorDrivers(root: string): string[] {
  const names = [...DRIVER_NAMES, ...MISSING_NAMES, ...REMOVED_NAMES].filter((name) => name !== 'vfs')
  return names.filter((name) => isNonEmpty(join(root, name)))
}

function isNonEmpty(dir: string): boolean {
  // An error costs more than a look, and all but one are missing as a rule.
  if (lstatSync(dir, { throwIfNoEntry: false }) === undefined) return false
  try {
    return hasEntry(opendirSync(dir))
  } catch (error) {
    if (hasCode(error, 'ENOENT', 'ENOTDIR')) return false
    // Someone else's private folder (0710 root): that it is there is enough to know whose root this is.
    if (hasCode(error, 'EACCES', 'EPERM')) return true
    throw error
  }
}

function hasEntry(dir: Dir): boolean {
  try {
    return dir.readSync() !== null
  } finally {
    dir.closeSync()
  }
}

function nameFromState(root: string, prior: readonly string[]): string {
  if (prior.length <= 1) return prior[0] ?? 'overlay2'
  throw new OverlaidError(
    'ERR_DRIVER_MISMATCH',
    `${root} holds the state of several drivers: ${prior.join(', ')}`,
    {
      path: root,
      hint: 'name the one to use with --driver (the library: the `driver` option)',
    },
  )
}

function refuse(name: string): OverlaidError {
  if (REMOVED_NAMES.includes(name)) {
    return new OverlaidError(
      'ERR_DRIVER_MISMATCH',
      `Docker's driver ${name} is gone, and this version does not have it`,
      {
        hint: 'pull or load the images again into a new data root',
      },
    )
  }
  if (MISSING_NAMES.includes(name)) {
    return new OverlaidError('ERR_DRIVER_MISMATCH', `this version does not have the driver ${name}`)
  }
  const known = DRIVER_NAMES.join(', ')
  return new OverlaidError(
    'ERR_INVALID_ARGUMENT',
    `no driver is called ${JSON.stringify(name)}; there are ${known}`,
  )
}
