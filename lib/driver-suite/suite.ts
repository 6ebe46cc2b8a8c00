import { applyingCases } from './applying.ts'
import { Cases } from './cases.ts'
import { checkingCases } from './checking.ts'
import { contentCases } from './content.ts'
import { diffingCases } from './diffing.ts'
import { graphtestCases } from './graphtest.ts'
import { limitCases } from './limits.ts'
import { mountingCases } from './mounting.ts'
import { namingCases } from './naming.ts'
import type { DriverSuiteOptions, SuiteRunner } from './options.ts'
import { readingCases } from './reading.ts'
import { removalCases } from './removal.ts'
import { snapshotCases } from './snapshots.ts'
import { stagingCases } from './staging.ts'

/** In this order: what a case leans on is tried before. */
const THEMES: readonly ((cases: Cases) => void)[] = [
  graphtestCases,
  namingCases,
  mountingCases,
  snapshotCases,
  contentCases,
  diffingCases,
  applyingCases,
  stagingCases,
  readingCases,
  removalCases,
  limitCases,
  checkingCases,
]

/**
 * Registers the cases with a test runner. What they ask is what the comments of `Driver` say: moby's graphtest,
 * containerd's snapshotter suite as far as a driver goes, and the rest of the contract.
 *
 *     import { describe, it } from 'node:test'
 *     import { driverSuite } from 'overlaid/driver-suite'
 *
 *     driverSuite({ describe, it }, {
 *       name: 'mine',
 *       factory: async () => {
 *         const root = mkdtempSync('/var/tmp/mine-')
 *         const open = () => openMine(root)
 *         return { driver: await open(), reopen: open, dispose: () => rmSync(root, { recursive: true }) }
 *       },
 *       supports: { lowerdirs: false },
 *     })
 *
 * As root, on the file system that the driver is meant for. Each case has a driver of its own, and fails also when it
 * leaves a mount below the driver's home or a file there open.
 */
export function driverSuite(runner: SuiteRunner, options: DriverSuiteOptions): void {
  const cases = new Cases(runner, options)
  cases.describe(`driver suite: ${options.name}`, () => {
    for (const register of THEMES) register(cases)
  })
}
