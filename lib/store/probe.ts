/** `overlaid probe`: which drivers a folder's file system can carry, before anything is put there. */
import { statSync } from 'node:fs'
import { resolve } from 'node:path'
import type { DriverAnswer } from '../driver/answer.ts'
import { describeBacking, deviceOf, nearestExisting } from '../driver/backing.ts'
import { openDriver } from '../driver/drivers.ts'
import { driverOrder } from '../driver/order.ts'
import { driversWithState } from '../driver/state.ts'
import { OverlaidError } from '../errors.ts'
import { askDrivers, firstThatWorks } from './ask-drivers.ts'
import { expectAccess } from './open-root.ts'

export interface ProbeOptions {
  /** As for {@link Store.open}: asks whether that one is usable. */
  readonly driver?: string
  /** As for {@link Store.open}. */
  readonly driverOrder?: string
}

/** What {@link probeDrivers} finds. */
export interface ProbeReport {
  readonly dir: string
  readonly backingFs: {
    /** moby's name for it. */
    readonly name: string
    readonly magic: string
    /** Whether directories keep the types of their entries; absent where nothing tells. */
    readonly dType?: boolean
    readonly device?: string
    readonly mountPoint?: string
  }
  /** In the order in which they are tried. */
  readonly drivers: readonly DriverAnswer[]
  /** Drivers whose state is in the folder. */
  readonly state: readonly string[]
  /** The driver that a store in the folder uses; absent where it can use none. */
  readonly chosen?: string
  /** Why that one, or why none. */
  readonly because: string
}

/**
 * Tries each of Docker's drivers on the file system of `dir`, which need not exist. What that takes is made in a
 * temporary folder of `dir`, or of the nearest folder above it that exists, and removed again.
 * @throws ERR_INVALID_ARGUMENT (no folder; an unknown driver or order), ERR_DRIVER_MISMATCH (`driver` is
 *   one that this version does not have), ERR_NO_PRIVILEGE (may not be looked into)
 */
export async function probeDrivers(dir: string, options: ProbeOptions = {}): Promise<ProbeReport> {
  const path = resolve(dir)
  expectAccess(path)
  if (!statSync(nearestExisting(path)).isDirectory()) throw notAFolder(path)
  const order = driverOrder(options.driverOrder)
  const { driver: named } = options
  // Says what Store.open would, of a name that is no driver's.
  if (named !== undefined) await openDriver(named, path, { durability: 'none' })
  const state = driversWithState(path)
  const drivers = await askDrivers(path, [...new Set([...order, ...state])])
  return {
    dir: path,
    backingFs: await backingOf(path, drivers),
    drivers,
    state,
    ...choice({ drivers, state, named, isOrderGiven: options.driverOrder !== undefined }),
  }
}

async function backingOf(path: string, drivers: readonly DriverAnswer[]): Promise<ProbeReport['backingFs']> {
  const { name, magic, dType: seen } = await describeBacking(path)
  // An empty folder does not tell; that overlay2 works does.
  const dType = seen ?? (drivers.some(({ name, usable }) => name === 'overlay2' && usable) || undefined)
  return { name, magic, ...(dType !== undefined && { dType }), ...(await deviceOf(path)) }
}

interface Found {
  readonly drivers: readonly DriverAnswer[]
  readonly state: readonly string[]
  readonly named: string | undefined
  readonly isOrderGiven: boolean
}

/** Docker's rules, as select.ts and choose.ts have them. */
function choice({ drivers, state, named, isOrderGiven }: Found): Pick<ProbeReport, 'chosen' | 'because'> {
  const only = (name: string, why: string): Pick<ProbeReport, 'chosen' | 'because'> =>
    drivers.some((answer) => answer.name === name && answer.usable)
      ? { chosen: name, because: why }
      : { because: `${why}, and it is not usable` }
  if (named !== undefined) return only(named, `${named} was named`)
  const [first] = state
  if (state.length > 1)
    return { because: `it holds the state of several drivers: ${state.join(', ')}; name one` }
  if (first !== undefined) return only(first, `it holds the state of ${first}`)
  const chosen = firstThatWorks(drivers)
  if (chosen === undefined) return { because: 'nothing works here' }
  return { chosen, because: `the first of ${isOrderGiven ? 'that' : "Docker's"} order that works here` }
}

function notAFolder(path: string): OverlaidError {
  return new OverlaidError('ERR_INVALID_ARGUMENT', `${path} is not a folder, nor below one`, { path })
}
