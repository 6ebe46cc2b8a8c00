/** The public names of `overlaid/driver-suite`. No code lives here. */
export { driverSuite } from './suite.ts'
export type { DriverFixture, DriverSuiteOptions, DriverSupport, SuiteRunner } from './options.ts'
export { layerTar } from './archive.ts'
export type { LayerMember } from './archive.ts'
export { mountsBelow, openFiles } from './leaks.ts'
export {
  blockAt,
  charAt,
  DEFAULT_MTIME,
  dirAt,
  dumpTree,
  fifoAt,
  fileAt,
  hardlinkAt,
  isKernelXattr,
  opaqueAt,
  symlinkAt,
  tree,
  whiteoutAt,
} from './tree.ts'
export type { DumpOptions, Meta, TreeNode } from './tree.ts'
