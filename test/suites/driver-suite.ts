/**
 * What every storage driver must do, as one function: a driver's test file calls it with a way to make a driver, and
 * with what the driver cannot do. moby's graphtest cases, then those of the contract in lib/driver/driver.ts.
 *
 *     driverSuite({ name: 'overlay2 on ext4', factory: () => ({ driver, reopen, dispose }), supports: {} })
 */
import { describe } from 'vitest'
import { DriverSuite, type DriverSuiteOptions } from './driver-case.ts'
import { diffingCases } from './driver-diffing.ts'
import { graphtestCases } from './driver-graphtest.ts'
import { keepingCases } from './driver-keeping.ts'
import { mountingCases } from './driver-mounting.ts'
import { namingCases } from './driver-naming.ts'
import { stagingCases } from './driver-staging.ts'

/** Registers the cases. */
export function driverSuite(options: DriverSuiteOptions): void {
  describe(`driver suite: ${options.name}`, () => {
    const suite = new DriverSuite(options)
    graphtestCases(suite)
    namingCases(suite)
    mountingCases(suite)
    stagingCases(suite)
    diffingCases(suite)
    keepingCases(suite)
  })
}
