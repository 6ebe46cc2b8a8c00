/** What the driver suite's cases share: a fresh driver for each, and the little trees that moby's tests use. */
import { chmodSync, chownSync, lstatSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, expect } from 'vitest'
import type { Change, Driver } from '../../lib/driver/driver.ts'
import { watchLeaks } from '../helpers/mounts.ts'
import { fileAt } from '../helpers/tree.ts'

/** A driver with a home of its own. */
export interface DriverFixture {
  readonly driver: Driver
  /** Opens the same home again, as another process would. */
  reopen(): Driver
  /** Removes the home; everything is unmounted by then. */
  dispose(): void | Promise<void>
}

/** What a driver may lack; a case that needs it is skipped and says so. */
export interface DriverSupport {
  /** get() mounts, so that a base written through it stays what it was below a child. Default true. */
  readonly mounts?: boolean
  /** A layer with a child is read-only at get(). Default true. */
  readonly readOnlyParents?: boolean
  /** Layers in a chain that must work. Default 128, moby's limit. */
  readonly maxDepth?: number
  /** metadata() names the folders of the layers below. Default true; a whole tree has none. */
  readonly lowerdirs?: boolean
  /** Hard links survive diff and apply. Default true. */
  readonly hardLinks?: boolean
}

export interface DriverSuiteOptions {
  readonly name: string
  readonly factory: () => DriverFixture | Promise<DriverFixture>
  readonly supports?: DriverSupport
}

/** An id of the store's form. */
export const ID = (digit: string): string => digit.repeat(64)

/** Changes as `docker diff` prints them. */
export async function listed(changes: AsyncIterable<Change>): Promise<string[]> {
  const lines: string[] = []
  for await (const { kind, path } of changes) lines.push(`${kind} ${path.toString()}`)
  return lines
}

/** `count` files of `size` bytes, each its own. */
export function manyFiles(count: number, size: number): ReturnType<typeof fileAt>[] {
  return Array.from({ length: count }, (_, index) =>
    fileAt(`file-${index.toString()}`, `${index.toString()} `.repeat(size).slice(0, size)),
  )
}

/** The fixture of the case that runs. */
export class DriverSuite {
  readonly supports: Required<DriverSupport>
  #fixture: DriverFixture | undefined

  constructor({ factory, supports }: DriverSuiteOptions) {
    this.supports = {
      mounts: true,
      readOnlyParents: true,
      maxDepth: 128,
      lowerdirs: true,
      hardLinks: true,
      ...supports,
    }
    beforeEach(async () => {
      this.#fixture = await factory()
    })
    afterEach(async () => {
      await this.fixture.dispose()
    })
    watchLeaks(() => [this.driver.home])
  }

  get fixture(): DriverFixture {
    if (this.#fixture === undefined) throw new Error('there is a driver inside a case only')
    return this.#fixture
  }

  get driver(): Driver {
    return this.fixture.driver
  }

  /** Runs `work` on the merged tree of `id`. */
  async inside<T>(id: string, work: (root: string) => T | Promise<T>): Promise<T> {
    const root = await this.driver.get(id)
    try {
      return await work(root)
    } finally {
      await this.driver.put(id)
    }
  }

  /** graphtest's createBase: a sticky folder of 1:2 and a setuid file. */
  async createBase(id: string): Promise<void> {
    await this.driver.createReadWrite(id, undefined)
    await this.inside(id, (root) => {
      mkdirSync(join(root, 'a subdir'))
      chmodSync(join(root, 'a subdir'), 0o1705)
      chownSync(join(root, 'a subdir'), 1, 2)
      writeFileSync(join(root, 'a file'), 'Some data')
      chownSync(join(root, 'a file'), 0, 0)
      chmodSync(join(root, 'a file'), 0o4222)
    })
  }
}

/** graphtest's verifyBase: exactly the two entries, as they were made. */
export function expectBase(root: string): void {
  expect(readdirSync(root).sort()).toEqual(['a file', 'a subdir'])
  const dir = lstatSync(join(root, 'a subdir'))
  expect([dir.isDirectory(), dir.mode & 0o7777, dir.uid, dir.gid]).toEqual([true, 0o1705, 1, 2])
  const file = lstatSync(join(root, 'a file'))
  expect([file.isFile(), file.mode & 0o7777, file.uid, file.gid]).toEqual([true, 0o4222, 0, 0])
  expect(readFileSync(join(root, 'a file'), 'utf8')).toBe('Some data')
}
