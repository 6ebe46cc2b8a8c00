/**
 * Which driver serves a data root. Docker's rules: a named one is taken or refused, never replaced; else the one
 * whose state is in the root, and an error when there are several; else the first of Docker's order that works there.
 *
 * The last takes trials that write: a root that holds nothing yet is opened without them, since there is nothing to
 * read for which the driver would matter, and its first change asks for the choice (choose.ts).
 */
import type { Choice } from './choose.ts'
import type { Driver } from './driver.ts'
import { type DriverOptions, isDriverName, openDriver } from './drivers.ts'
import { driverOrder } from './order.ts'
import { driverOfState } from './state.ts'

export interface SelectOptions extends DriverOptions {
  /** A driver's name; without it what is in the root decides. */
  readonly name?: string | undefined
  /** The Docker release in whose order drivers are tried; default: today's. */
  readonly orderOf?: string | undefined
  readonly onWarning: (message: string) => void
}

export interface DriverSelection {
  readonly driver: Driver
  /** Present where nothing decides: chooses by trial, before the first write. Until then {@link driver} stands in. */
  readonly choose?: () => Promise<Choice>
}

/**
 * Selects the driver for the data root `root`. Reads only: whether the driver can work there is found out by
 * {@link Driver.prepare}, or by `choose`.
 * @throws ERR_INVALID_ARGUMENT (a name that is no driver, an order of no release), ERR_DRIVER_MISMATCH (the root
 *   holds the state of several drivers, or of one that this version does not have)
 */
export async function selectDriver(root: string, options: SelectOptions): Promise<DriverSelection> {
  const order = driverOrder(options.orderOf)
  const name = options.name ?? driverOfState(root)
  if (name !== undefined) return { driver: await openDriver(name, root, options) }
  return {
    driver: await openDriver(order.find(isDriverName) ?? 'overlay2', root, options),
    choose: async () => (await import('./choose.ts')).chooseDriver(root, { ...options, order }),
  }
}
