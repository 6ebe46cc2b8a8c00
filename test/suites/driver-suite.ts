/** The driver suite with vitest's functions, whole or by the groups of its cases. */
import { describe, it as test } from 'vitest'
import { driverSuite as register, type DriverSuiteOptions } from '../../lib/driver-suite/index.ts'

/** What a driver lacks by its nature, which its tests say, is no test of it: a skip is a failure with CI=true. */
const it = Object.assign(
  (title: string, body: () => Promise<void>) => {
    test(title, body)
  },
  { skip: () => undefined },
)

/** The groups that lean on the file system below; the rest is the driver's own work, and tried on another one. */
export const OF_FILE_SYSTEM = [
  'graphtest',
  'get and put',
  'a layer keeps',
  'remove',
  'a writable layer',
  'the home',
]

/** The groups that lean on how a layer is mounted. */
export const OF_MOUNTS = [
  'graphtest',
  'get and put',
  'open',
  'committed layers',
  'a layer keeps',
  'diff',
  'openFiles',
  'a writable layer',
]

/** Registers the cases, all or those of some groups. */
export function driverSuite(options: DriverSuiteOptions, groups?: readonly string[]): void {
  const isWanted = (title: string): boolean =>
    title.startsWith('driver suite: ') || (groups?.includes(title) ?? true)
  register(
    {
      describe: (title, cases) => {
        if (isWanted(title)) describe(title, cases)
      },
      it,
    },
    options,
  )
}
