/**
 * Random work in random trees: what a driver says of it must be what two merged trees say, and the diff applied
 * elsewhere must give the same tree. fast-check prints the seed and the shortest list of steps that fails.
 */
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Driver, MountOptions } from '../../lib/driver/driver.ts'
import { compareTrees, furnished, step, type Step, takeAll } from '../fixtures/random-steps.ts'
import { type Gate, missing } from '../helpers/gates.ts'
import { collect, streamOf } from '../../lib/driver-suite/streams.ts'
import { type FileSystemKind, type LoopFileSystem, loopFileSystem } from '../helpers/loopfs.ts'
import { dumpTree, printable, readTree } from '../../lib/driver-suite/tree.ts'

export interface RandomTrees {
  /** The driver's, which its home is called by. */
  readonly name: string
  readonly open: (home: string) => Driver
  /** The file system to be on; default tmpfs. */
  readonly kind?: FileSystemKind
  /** See compareTrees. */
  readonly byContent: boolean
  /** Errors that steps may meet on this driver alone. */
  readonly met?: readonly string[]
  /** What the machine needs besides. */
  readonly needs?: readonly Gate[]
  /** Waits for what mounts below `dir` leave behind for a moment. */
  readonly settled?: (dir: string) => Promise<void>
  readonly variants: readonly (readonly [what: string, options: MountOptions])[]
}

/** Registers the cases. */
export function randomTrees(options: RandomTrees): void {
  const { name, open, kind = 'tmpfs', byContent, met, needs = [], settled, variants } = options
  describe.skipIf(missing('hasBinding', 'canMount', 'canMknod', 'canTrustedXattr', ...needs))(
    `random trees on ${name}`,
    () => {
      let fs: LoopFileSystem
      let count = 0
      beforeAll(() => {
        fs = loopFileSystem(kind)
      })
      afterAll(() => {
        fs.dispose()
      })

      /** The merged tree of `id`, read by `work`. */
      const view = async <T>(driver: Driver, id: string, work: (root: string) => Promise<T>): Promise<T> => {
        const mount = await driver.open(id, { readOnly: true })
        try {
          return await work(`/proc/self/fd/${mount.fd.fd.toString()}/.`)
        } finally {
          await mount[Symbol.asyncDispose]()
        }
      }

      const write = async (
        driver: Driver,
        id: string,
        steps: readonly Step[],
        options: MountOptions,
      ): Promise<void> => {
        const root = await driver.get(id, options)
        try {
          await takeAll(root, steps, met)
        } finally {
          await driver.put(id)
        }
      }

      const holds = async (
        base: readonly Step[],
        middle: readonly Step[],
        top: readonly Step[],
        options: MountOptions,
      ): Promise<void> => {
        const driver = open(join(fs.dir, `root-${(count++).toString()}`, name))
        await driver.createReadWrite('base', undefined)
        await write(driver, 'base', base, {})
        await driver.createReadWrite('middle', 'base')
        await write(driver, 'middle', middle, options)
        await copyLayer(driver, 'middle', 'base', 'parent')
        await driver.createReadWrite('top', 'parent')
        await write(driver, 'top', top, options)

        const [before, after] = [await view(driver, 'parent', readTree), await view(driver, 'top', readTree)]
        const changes: string[] = []
        for await (const { kind, path } of driver.changes('top', 'parent'))
          changes.push(`${kind} ${printable(path)}`)
        expect([...changes].sort()).toEqual(compareTrees(before, after, byContent).sort())

        await copyLayer(driver, 'top', 'parent', 'copy')
        // A folder that was moved is copied into the diff; links from it to files that stayed are broken, as by cp.
        const nlink = options.redirectDir !== true && options.metacopy !== true
        const dump = (root: string): Promise<string[]> =>
          dumpTree(root, { nanoseconds: false, root: false, nlink })
        expect(await view(driver, 'copy', dump)).toEqual(await view(driver, 'top', dump))
        const [copied, made] = [
          await driver.diffSize('copy', 'parent'),
          await driver.diffSize('top', 'parent'),
        ]
        // Whole trees: what has its nanoseconds no more, and the content that it had, is changed no more.
        if (byContent) expect(copied).toBeLessThanOrEqual(made)
        else expect(copied).toBe(made)
        for (const id of ['copy', 'top', 'parent', 'middle', 'base']) await driver.remove(id)
        await driver.emptyTrash()
      }

      /** `id`'s diff as a layer `copy` over the same parent, the way that a commit makes it. */
      const copyLayer = async (driver: Driver, id: string, parent: string, copy: string): Promise<void> => {
        const tar = await collect(driver.diff(id, parent))
        await using staged = await driver.stage()
        await staged.apply(streamOf(tar))
        await staged.commit(copy, parent)
        expect((await collect(driver.diff(id, parent))).equals(tar)).toBe(true)
      }

      const steps = fc.array(step, { maxLength: 15 })
      const runs = Number(process.env['FUZZ_RUNS'] ?? 15)

      it.each(variants)(
        'are the same by changes, by diff and by eye, %s',
        { timeout: 600_000 },
        async (_, options: MountOptions) => {
          await fc.assert(
            fc.asyncProperty(steps, steps, steps, (base, middle, top) =>
              // With userxattr the opaque directories of a layer made by apply() are not seen, so the parent has none.
              holds([...furnished, ...base], options.userxattr === true ? [] : middle, top, options),
            ),
            { numRuns: runs },
          )
          await settled?.(fs.dir)
        },
      )
    },
  )
}
