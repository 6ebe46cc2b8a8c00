/**
 * Every failpoint, reached by the workload in a child that fails or dies there: the store is sound after, and the
 * next pass of the same workload goes through.
 */
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startChild } from '../helpers/child.ts'
import { missing } from '../helpers/gates.ts'
import { watchLeaks } from '../helpers/mounts.ts'
import { type Base, copyStore, expectSound, makeBase, openSound } from './sound.ts'
import { calls, failpoints } from './names.ts'
import { tidy, workload } from './workload.mjs'

it('are named by a literal of their own', () => {
  const names = failpoints()
  expect(names.length).toBeGreaterThan(20)
  expect(new Set(names).size).toBe(names.length)
  expect(names.length).toBe(calls())
})

describe.skipIf(missing('canMount', 'canMknod', 'canTrustedXattr', 'canFuse'))('a failpoint', () => {
  const scratch = mkdtempSync(join(tmpdir(), 'overlaid-failpoints-'))
  watchLeaks(() => [scratch])
  const bases = new Map<string, Base>()
  beforeAll(async () => {
    for (const driver of ['overlay2', 'fuse-overlayfs', 'vfs'])
      bases.set(driver, await makeBase(scratch, driver))
  })
  const baseOf = (driver: string): Base => bases.get(driver) ?? { base: '', archive: '' }
  afterAll(() => rmSync(scratch, { recursive: true, force: true }))

  /** Runs the workload on a copy in a child with `setting`; returns the copy and how the child ended. */
  async function interrupt(
    driver: string,
    setting: string,
    prepare: (root: string) => Promise<void> = () => Promise.resolve(),
  ): Promise<{ root: string; end: number | string; error: string }> {
    const { base, archive } = baseOf(driver)
    const root = copyStore(base, join(mkdtempSync(join(scratch, 'store-')), 'root'))
    await prepare(root)
    await using child = startChild(
      `const { workload } = await import(file)
       const store = await Store.open(root, { driver, onWarning: () => undefined })
       await workload(store, archive)
       say('done')`,
      { root, driver, archive, file: join(import.meta.dirname, 'workload.mjs') },
      { OVERLAID_FAILPOINT: setting },
    )
    const error = await child.heard().then(
      (value) => `not reached: ${String(value)}`,
      (reason: Error) => reason.message,
    )
    return { root, end: await child.ended(), error }
  }

  async function expectRecovered(driver: string, root: string): Promise<void> {
    await expectSound(root, driver)
    await using store = await openSound(root, driver)
    await tidy(store)
    await workload(store, baseOf(driver).archive)
    await store.close()
    await expectSound(root, driver)
    rmSync(root, { recursive: true })
  }

  // Those of btrfs are in btrfs.test.ts, those of zfs in ../zfs/crash.test.ts.
  const names = failpoints().filter((name) => !/^driver\.(btrfs|zfs|zfs-probe)\./.test(name))
  const replacing = names.filter((name) => name.startsWith('layer.replace.') || name === TREE_EXCHANGE)
  const others = names
    .filter((name) => !replacing.includes(name))
    .flatMap((name) => driversOf(name).map((driver) => ({ driver, name })))

  it.each(others)('$name, killed at on $driver, leaves the store sound', async ({ driver, name }) => {
    const { root, end, error } = await interrupt(driver, `${name}=kill`)
    expect(end, error).toBe('SIGKILL')
    await expectRecovered(driver, root)
  })

  it.each(others)('$name, failed at on $driver, leaves the store sound', async ({ driver, name }) => {
    const { root, end, error } = await interrupt(driver, `${name}=throw`)
    expect(error).toContain(`failpoint ${name}`)
    expect(end).not.toBe(0)
    await expectRecovered(driver, root)
  })

  const replacements = replacing.flatMap((name) =>
    (name === TREE_EXCHANGE ? ['vfs'] : ['overlay2', 'vfs']).flatMap((driver) =>
      Object.keys(DAMAGE)
        // What else is damaged gets a new place.
        .filter((damage) => name !== TREE_EXCHANGE || damage === 'file was changed')
        .flatMap((damage) => [
          { driver, setting: `${name}=kill`, damage },
          { driver, setting: `${name}=throw`, damage },
        ]),
    ),
  )

  it.each(replacements)(
    '$setting on $driver: a load that was replacing a layer whose $damage is done by the next',
    async ({ driver, setting, damage }) => {
      const { root, end } = await interrupt(driver, setting, (copy) =>
        damageBase(driver, copy, DAMAGE[damage]),
      )
      expect(end).not.toBe(0)
      await using store = await openSound(root, driver)
      // Nothing of what is left is rubbish: what stands on the layer still needs it.
      await store.gc()
      await store.images.loadAll(baseOf(driver).archive)
      await store.close()
      await expectSound(root, driver)
      rmSync(root, { recursive: true })
    },
  )
})

/** Where a whole tree takes the place of one that is there. */
const TREE_EXCHANGE = 'driver.tree.before-exchange'

/** Those with which the workload gets there: what is of one driver alone has its own steps. */
function driversOf(name: string): string[] {
  if (/^driver\.tree(-remove)?\./.test(name)) return ['vfs']
  if (name.startsWith('driver.fuse-')) return ['fuse-overlayfs']
  return name.startsWith('driver.') ? ['overlay2'] : ['overlay2', 'vfs']
}

/** A layer's content, the folder of it, and its record. */
type Damage = (layer: { readonly content: string; readonly folder: string; readonly record: string }) => void

/** What is done to the layer below everything. */
const DAMAGE: Readonly<Record<string, Damage>> = {
  'file was changed': ({ content }) => writeFileSync(join(content, 'etc/motd'), 'changed'),
  'folder is gone': ({ folder }) => rmSync(folder, { recursive: true }),
  'record is gone': ({ record }) => rmSync(record, { recursive: true }),
  'cache-id is empty': ({ record }) => truncateSync(join(record, 'cache-id')),
}

/** Damages the layer and lets check mark it, if it is to be marked: the next load of the archive is to replace it. */
async function damageBase(driver: string, root: string, damage: Damage | undefined): Promise<void> {
  await using store = await openSound(root, driver)
  const base = (await store.layers.list()).find(({ parent }) => parent === undefined)
  const hex = base?.chainID.slice('sha256:'.length) ?? ''
  const { upperdir } = await store.driver.metadata(base?.cacheID ?? '')
  damage?.({
    content: upperdir,
    folder: driver === 'overlay2' ? dirname(upperdir) : upperdir,
    record: join(root, 'image', driver, 'layerdb/sha256', hex),
  })
  const { problems } = await store.check({ deep: true })
  expect(problems.length).toBeGreaterThan(0)
  const marked = problems.filter(({ kind }) => kind === 'changed-layer')
  if (marked.length > 0) await store.check({ deep: true, repair: true })
}
