/** The public names of `overlaid/driver-suite`. No code lives here. */
export { driverSuite } from './suite.ts'
export type { DriverFixture, DriverSuiteOptions, DriverSupport, SuiteRunner } from './options.ts'
