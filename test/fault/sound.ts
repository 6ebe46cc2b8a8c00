/** The store that the fault tests start from, and what must hold of it whatever was interrupted. */
import { execFileSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'vitest'
import { Store } from '../../lib/store/store.ts'
import { dockerArchive } from '../helpers/image.ts'
import { mountsBelow } from '../../lib/driver-suite/leaks.ts'
import { archiveOf, nginxImage, pythonImage } from '../helpers/store.ts'

export interface Base {
  readonly base: string
  readonly archive: string
}

/** Opens a store by whichever driver. What vfs costs is told and is no fault. */
export function openSound(root: string, driver?: string): Promise<Store> {
  return Store.open(root, driver === undefined ? {} : { driver, onWarning: () => undefined })
}

/** Makes `dir/base`, a store with an image, a container that was written to, and an image made of that. */
export async function makeBase(dir: string, driver?: string): Promise<Base> {
  const base = join(dir, driver ?? 'base')
  const archive = join(dir, 'api.tar')
  // Shares two of its three layers with what is there.
  writeFileSync(archive, dockerArchive([pythonImage({ names: ['api:1'] })]))
  await using store = await openSound(base, driver)
  const image = await store.images.load(archiveOf(nginxImage({ names: ['web:1'] })))
  const container = await store.containers.create(image, { name: 'kept' })
  await using mount = await container.mount()
  writeFileSync(join(mount.path ?? '', 'mine'), 'kept')
  await container.commit('kept:1')
  return { base, archive }
}

/** A copy of a store that nothing has open. */
export function copyStore(from: string, to: string): string {
  execFileSync('cp', ['-a', '--', from, to])
  return to
}

/**
 * After a crash: the store opens without damage, what makeBase made is there, gc removes the rubbish until check is
 * clean, and no mount is left that nothing holds.
 */
export async function expectSound(root: string, driver?: string): Promise<void> {
  await using store = await openSound(root, driver)
  const found = await store.check({ deep: true })
  expect(found.problems.filter(({ severity }) => severity === 'damage')).toEqual([])
  expect(found.ok).toBe(true)
  await store.gc()
  expect(await store.check({ deep: true })).toEqual({ ok: true, problems: [] })
  expect(mountsBelow(root)).toEqual([])
  const names = (await store.images.list()).flatMap((image) => image.names)
  expect(names).toEqual(expect.arrayContaining(['web:1', 'kept:1']))
  const kept = await store.containers.get('kept')
  await using mount = await kept.mount()
  expect(readFileSync(join(mount.path ?? '', 'mine'), 'utf8')).toBe('kept')
}
