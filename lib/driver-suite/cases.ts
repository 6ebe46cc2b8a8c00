/** How cases are registered, and what each is given: a fresh driver, looked after until nothing of it is left. */
import assert from 'node:assert/strict'
import type { Driver } from '../driver/driver.ts'
import { expectNothingLeft, openFiles } from './leaks.ts'
import {
  type DriverFixture,
  type DriverSuiteOptions,
  type DriverSupport,
  type SuiteRunner,
  SUPPORTED,
} from './options.ts'
import { collect, listed, streamOf } from './streams.ts'
import { type DumpOptions, dumpTree, tree, type TreeNode } from './tree.ts'

/** An id of the store's form. */
export const ID = (digit: string): string => digit.repeat(64)

/** What can be had or not; the others are numbers. */
type Feature = Exclude<keyof DriverSupport, 'maxDepth' | 'maxName'>

type Body = (given: Given) => void | Promise<void>

/** A case's driver, and what is often done with one. */
export class Given {
  readonly driver: Driver
  readonly supports: Required<DriverSupport>
  readonly #fixture: DriverFixture
  readonly #reopened: Driver[] = []

  constructor(fixture: DriverFixture, supports: Required<DriverSupport>) {
    this.driver = fixture.driver
    this.supports = supports
    this.#fixture = fixture
  }

  /** The same home by another driver, as another process would have it. */
  async reopen(): Promise<Driver> {
    const other = await this.#fixture.reopen()
    this.#reopened.push(other)
    return other
  }

  /** Waits for what the drivers do in the background. */
  async idle(): Promise<void> {
    for (const driver of [this.driver, ...this.#reopened]) await driver.idle()
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

  /** A layer with these nodes in it, written through its mount. */
  async layer(id: string, parent: string | undefined, nodes: readonly TreeNode[]): Promise<void> {
    await this.driver.createReadWrite(id, parent)
    await this.inside(id, (root) => tree(root, nodes))
  }

  /** A layer unpacked from an archive, the way that an image's layers come in. Returns its size. */
  async unpack(id: string, parent: string | undefined, tar: Buffer): Promise<number> {
    await using staged = await this.driver.stage()
    await staged.apply(streamOf(tar))
    const size = await staged.settle(parent)
    await staged.commit(id, parent)
    return size
  }

  /** What differs between `id` and its parent, as an archive. */
  diff(id: string, parent: string | undefined): Promise<Buffer> {
    return collect(this.driver.diff(id, parent))
  }

  /**
   * A base `a` of these nodes, a layer `b` over it with a change, and `c`, which is the layer that a commit makes of
   * `b`. Asserts that `c` shows what `b` does, and `a` what it did before.
   */
  async commit(base: readonly TreeNode[], change: (root: string) => void | Promise<void>): Promise<void> {
    await this.layer(ID('a'), undefined, base)
    const before = await this.dump(ID('a'))
    await this.driver.createReadWrite(ID('b'), ID('a'))
    await this.inside(ID('b'), change)
    const size = await this.copy(ID('b'), ID('a'), ID('c'))
    assert.ok(size <= (await this.driver.diffSize(ID('b'), ID('a'))))
    assert.deepEqual(await this.dump(ID('c')), await this.dump(ID('b')), 'the committed layer')
    assert.deepEqual(await this.dump(ID('a')), before, 'the layer below')
  }

  /** `id`'s diff as a layer `copy` over the same parent, the way that a commit makes it. */
  async copy(id: string, parent: string | undefined, copy: string): Promise<number> {
    return this.unpack(copy, parent, await this.diff(id, parent))
  }

  /** The merged tree of `id` as lines; without what an archive does not keep. */
  async dump(id: string, options: DumpOptions = {}): Promise<string[]> {
    const nlink = this.supports.hardLinks
    return this.inside(id, (root) => dumpTree(root, { nanoseconds: false, root: false, nlink, ...options }))
  }

  /** Changes as `docker diff` prints them. */
  changes(id: string, parent: string | undefined): Promise<string[]> {
    return listed(this.driver.changes(id, parent))
  }
}

/** Where the cases register themselves. */
export class Cases {
  readonly supports: Required<DriverSupport>
  readonly #runner: SuiteRunner
  readonly #factory: DriverSuiteOptions['factory']

  constructor(runner: SuiteRunner, { factory, supports }: DriverSuiteOptions) {
    this.supports = { ...SUPPORTED, ...supports }
    this.#runner = runner
    this.#factory = factory
  }

  describe(title: string, register: () => void): void {
    this.#runner.describe(title, register)
  }

  it(title: string, body: Body): void {
    this.#runner.it(title, () => this.#run(body))
  }

  /** A case of drivers that have the feature; of others it is registered as skipped. */
  needs(feature: Feature, title: string, body: Body): void {
    if (this.supports[feature]) this.it(title, body)
    else this.#runner.it.skip(`${title} (skipped: no support of ${feature})`, () => this.#run(body))
  }

  async #run(body: Body): Promise<void> {
    const fixture = await this.#factory()
    const { driver } = fixture
    const before = openFiles([driver.home])
    const given = new Given(fixture, this.supports)
    // What fails first is told first, and does not keep the rest from being cleaned up.
    await runAll([
      () => body(given),
      () => given.idle(),
      () => expectNothingLeft(driver.home, before),
      () => driver.cleanup(),
      () => fixture.dispose(),
    ])
  }
}

async function runAll(steps: readonly (() => void | Promise<void>)[]): Promise<void> {
  const errors: Error[] = []
  for (const step of steps) {
    try {
      await step()
    } catch (error) {
      errors.push(error instanceof Error ? error : new Error(String(error)))
    }
  }
  const [first, second] = errors
  if (first === undefined) return
  if (second === undefined) throw first
  throw new AggregateError(errors, errors.map(({ message }) => message).join('\nand then: '))
}
