/** Every failpoint of the btrfs driver, as failpoints.test.ts does it with the others. */
import { mkdtempSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startChild } from '../helpers/child.ts'
import { missing } from '../helpers/gates.ts'
import { type LoopFileSystem, loopFileSystem } from '../helpers/loopfs.ts'
import { watchLeaks } from '../helpers/mounts.ts'
import { failpoints } from './names.ts'
import { type Base, expectSound, makeBase, openSound } from './sound.ts'
import { tidy, workload } from './workload.mjs'

describe.skipIf(missing('canMount', 'canMknod', 'canLoop', 'hasBtrfs'))('a failpoint on btrfs', () => {
  let fs: LoopFileSystem
  beforeAll(() => {
    fs = loopFileSystem('btrfs')
  })
  afterAll(() => {
    fs.dispose()
  })
  watchLeaks(() => [fs.dir])

  /** Runs the workload on a new store in a child with `setting`. */
  async function interrupt(setting: string): Promise<Base & { end: number | string; error: string }> {
    // A store that is copied has folders where it had subvolumes.
    const { base, archive } = await makeBase(mkdtempSync(join(fs.dir, 'store-')), 'btrfs')
    await using child = startChild(
      `const { workload } = await import(file)
       const store = await Store.open(root, { driver: 'btrfs' })
       await workload(store, archive)
       say('done')`,
      { root: base, archive, file: join(import.meta.dirname, 'workload.mjs') },
      { OVERLAID_FAILPOINT: setting },
    )
    const error = await child.heard().then(
      (value) => `not reached: ${String(value)}`,
      (reason: Error) => reason.message,
    )
    return { base, archive, end: await child.ended(), error }
  }

  async function expectRecovered({ base, archive }: Base): Promise<void> {
    await expectSound(base, 'btrfs')
    await using store = await openSound(base, 'btrfs')
    await tidy(store)
    await workload(store, archive)
    await store.close()
    await expectSound(base, 'btrfs')
  }

  // A layer that is replaced is the same on vfs.
  const names = failpoints().filter(
    (name) => /^driver\.(btrfs|tree|tree-remove)\./.test(name) && name !== 'driver.tree.before-exchange',
  )

  it.each(names)('%s, killed at, leaves the store sound', async (name) => {
    const { end, error, ...made } = await interrupt(`${name}=kill`)
    expect(end, error).toBe('SIGKILL')
    await expectRecovered(made)
  })

  it.each(names)('%s, failed at, leaves the store sound', async (name) => {
    const { end, error, ...made } = await interrupt(`${name}=throw`)
    expect(error).toContain(`failpoint ${name}`)
    expect(end).not.toBe(0)
    await expectRecovered(made)
  })
})
