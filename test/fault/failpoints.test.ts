/**
 * Every failpoint, reached by the workload in a child that fails or dies there: the store is sound after, and the
 * next pass of the same workload goes through.
 */
import { mkdtempSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Store } from '../../lib/store/store.ts'
import { startChild } from '../helpers/child.ts'
import { missing } from '../helpers/gates.ts'
import { watchLeaks } from '../helpers/mounts.ts'
import { copyStore, expectSound, makeBase } from './sound.ts'
import { tidy, workload } from './workload.mjs'

const lib = join(import.meta.dirname, '../../lib')

/** The names in the source: a failpoint that no workload reaches proves nothing. */
function failpoints(): string[] {
  const files = readdirSync(lib, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.ts'))
  const text = files.map((file) => readFileSync(join(lib, file), 'utf8')).join('\n')
  return [...text.matchAll(/\bfailpoint\('([^']+)'\)/g)].map(([, name = '']) => name).sort()
}

/** All failpoint calls, whatever their argument looks like. */
function calls(): number {
  const files = readdirSync(lib, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.ts'))
  const text = files.map((file) => readFileSync(join(lib, file), 'utf8')).join('\n')
  return [...text.matchAll(/(?<!function )\bfailpoint\(/g)].length
}

it('are named by a literal of their own', () => {
  const names = failpoints()
  expect(names.length).toBeGreaterThan(20)
  expect(new Set(names).size).toBe(names.length)
  expect(names.length).toBe(calls())
})

/** The driver whose way a failpoint is on; overlay2's those of all. */
function driverOf(failpoint: string): string {
  return failpoint.startsWith('driver.fuse-') ? 'fuse-overlayfs' : 'overlay2'
}

describe.skipIf(missing('canMount', 'canMknod', 'canTrustedXattr', 'canFuse'))('a failpoint', () => {
  const scratch = mkdtempSync(join(tmpdir(), 'overlaid-failpoints-'))
  watchLeaks(() => [scratch])
  const made = new Map<string, { readonly base: string; readonly archive: string }>()
  beforeAll(async () => {
    for (const driver of new Set(failpoints().map(driverOf)))
      made.set(driver, await makeBase(scratch, driver))
  })
  afterAll(() => rmSync(scratch, { recursive: true, force: true }))

  /** Runs the workload on a copy in a child with `setting`; returns the copy and how the child ended. */
  async function interrupt(
    setting: string,
    prepare: (root: string) => Promise<void> = () => Promise.resolve(),
  ): Promise<{ root: string; end: number | string; error: string }> {
    const { base = '', archive = '' } = made.get(driverOf(setting)) ?? {}
    const root = copyStore(base, join(mkdtempSync(join(scratch, 'store-')), 'root'))
    await prepare(root)
    await using child = startChild(
      `const { workload } = await import(file)
       const store = await Store.open(root)
       await workload(store, archive)
       say('done')`,
      { root, archive, file: join(import.meta.dirname, 'workload.mjs') },
      { OVERLAID_FAILPOINT: setting },
    )
    const error = await child.heard().then(
      (value) => `not reached: ${String(value)}`,
      (reason: Error) => reason.message,
    )
    return { root, end: await child.ended(), error }
  }

  async function expectRecovered(root: string): Promise<void> {
    await expectSound(root)
    await using store = await Store.open(root)
    await tidy(store)
    await workload(store, join(scratch, 'api.tar'))
    await store.close()
    await expectSound(root)
    rmSync(root, { recursive: true })
  }

  const names = failpoints()
  const replacing = names.filter((name) => name.startsWith('layer.replace.'))
  const others = names.filter((name) => !replacing.includes(name))

  it.each(others)('%s, killed at, leaves the store sound', async (name) => {
    const { root, end, error } = await interrupt(`${name}=kill`)
    expect(end, error).toBe('SIGKILL')
    await expectRecovered(root)
  })

  it.each(others)('%s, failed at, leaves the store sound', async (name) => {
    const { root, end, error } = await interrupt(`${name}=throw`)
    expect(error).toContain(`failpoint ${name}`)
    expect(end).not.toBe(0)
    await expectRecovered(root)
  })

  const replacements = replacing.flatMap((name) =>
    Object.keys(DAMAGE).flatMap((damage) => [
      { setting: `${name}=kill`, damage },
      { setting: `${name}=throw`, damage },
    ]),
  )

  it.each(replacements)(
    '$setting: a load that was replacing a layer whose $damage is done by the next',
    async ({ setting, damage }) => {
      const { root, end } = await interrupt(setting, (copy) => damageBase(copy, DAMAGE[damage]))
      expect(end).not.toBe(0)
      await using store = await Store.open(root)
      // Nothing of what is left is rubbish: what stands on the layer still needs it.
      await store.gc()
      await store.images.loadAll(join(scratch, 'api.tar'))
      await store.close()
      await expectSound(root)
      rmSync(root, { recursive: true })
    },
  )
})

/** What is done to the layer below everything. */
const DAMAGE: Readonly<Record<string, (folder: string, record: string) => void>> = {
  'file was changed': (folder) => writeFileSync(join(folder, 'diff/etc/motd'), 'changed'),
  'folder is gone': (folder) => rmSync(folder, { recursive: true }),
  'record is gone': (_, record) => rmSync(record, { recursive: true }),
  'cache-id is empty': (_, record) => truncateSync(join(record, 'cache-id')),
}

/** Damages the layer and lets check mark it, if it is to be marked: the next load of the archive is to replace it. */
async function damageBase(
  root: string,
  damage: ((folder: string, record: string) => void) | undefined,
): Promise<void> {
  await using store = await Store.open(root)
  const base = (await store.layers.list()).find(({ parent }) => parent === undefined)
  const hex = base?.chainID.slice('sha256:'.length) ?? ''
  damage?.(join(root, 'overlay2', base?.cacheID ?? ''), join(root, 'image/overlay2/layerdb/sha256', hex))
  const { problems } = await store.check({ deep: true })
  expect(problems.length).toBeGreaterThan(0)
  const marked = problems.filter(({ kind }) => kind === 'changed-layer')
  if (marked.length > 0) await store.check({ deep: true, repair: true })
}
