/** What the driver suite asks of whoever runs it. */
import type { Driver } from '../driver/driver.ts'

/**
 * The functions of a test runner, with those of its options that all have: node:test's, vitest's, mocha's and jest's
 * own fit. Cases run one after another; one makes {@link DriverSupport.maxDepth} layers, which takes seconds: mocha's
 * and jest's default timeouts are too short.
 */
export interface SuiteRunner {
  /** Groups the cases that `register` registers before it returns. */
  readonly describe: (title: string, register: () => void) => unknown
  readonly it: {
    (title: string, run: () => Promise<void>): unknown
    /** Registers a case that is not run. Its title says why. */
    readonly skip: (title: string, run: () => Promise<void>) => unknown
  }
}

/** A driver with a home of its own. */
export interface DriverFixture {
  readonly driver: Driver
  /** Opens the same home again, as another process would. */
  reopen(): Driver | Promise<Driver>
  /** Removes the home, or leaves that to who made the folder that it is in; everything is unmounted by then. */
  dispose(): void | Promise<void>
}

/** What a driver has; a case that needs what it lacks is skipped and says so. */
export interface DriverSupport {
  /** get() mounts, so that a base written through it stays what it was below a child. Default true. */
  readonly mounts?: boolean
  /** A layer with a child is read-only at get(). Default true. */
  readonly readOnlyParents?: boolean
  /** Layers in a chain that must work. Default 128, moby's limit. */
  readonly maxDepth?: number
  /** Bytes that a file's name may have. Default 255; what marks deletions by a prefix, as fuse-overlayfs, has fewer. */
  readonly maxName?: number
  /** metadata() names the folders of the layers below. Default true; a whole tree has none. */
  readonly lowerdirs?: boolean
  /** metadata() names a folder that is there, mounted or not. Default true. */
  readonly folders?: boolean
  /** Hard links survive diff and apply. Default true. */
  readonly hardLinks?: boolean
  /**
   * A file that has two names in the layer below is written to by the name that was used, and read by it. Default true;
   * fuse-overlayfs may take the other one.
   */
  readonly linksBelow?: boolean
  /**
   * createReadWrite() with a `size` limits the layer, on the file system that `factory` makes it on. Default false: it
   * must be refused then.
   */
  readonly quota?: boolean
  /** createReadWrite() with an `idMap` maps. Default false: it must be refused then. */
  readonly idMaps?: boolean
}

export interface DriverSuiteOptions {
  /** In the titles: the driver, and what it stands on. */
  readonly name: string
  /** Called for each case: a new home, which need not exist yet. Its path has no symlinks. */
  readonly factory: () => DriverFixture | Promise<DriverFixture>
  readonly supports?: DriverSupport
}

/** Everything decided. */
export const SUPPORTED: Required<DriverSupport> = {
  mounts: true,
  readOnlyParents: true,
  maxDepth: 128,
  maxName: 255,
  lowerdirs: true,
  folders: true,
  hardLinks: true,
  linksBelow: true,
  quota: false,
  idMaps: false,
}
