/** The driver suite with vitest’s functions. */
import { describe, it } from 'vitest'
import { driverSuite as register, type DriverSuiteOptions } from '../../lib/driver-suite/index.ts'

/** Registers the cases. */
export function driverSuite(options: DriverSuiteOptions): void {
  register({ describe, it }, options)
}
