/** What a store does on every driver of whole trees, in the steps of one test. */
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'vitest'
import { collect, listed } from '../../lib/driver-suite/streams.ts'
import type { Container } from '../../lib/store/container.ts'
import type { Image } from '../../lib/store/image-store.ts'
import type { Store } from '../../lib/store/store.ts'
import { sha256, type TestImage } from '../helpers/image.ts'
import { diffIDs } from '../helpers/store.ts'

/** The store has each image as it was loaded, and gives its layers back byte for byte. */
export async function expectImages(store: Store, ...images: readonly TestImage[]): Promise<void> {
  for (const image of images) {
    const [name = ''] = image.names
    const loaded = await store.images.get(name)
    expect([loaded.id, loaded.diffIDs]).toEqual([image.id, diffIDs(image)])
    // diffIDs are checked by reading the layers again.
    const saved = await collect(store.images.save([name]))
    for (const { tar } of image.layers) expect(saved.includes(tar)).toBe(true)
  }
}

/**
 * Changes a container of the nginx image, is told of that, commits it as `mine:1`, and finds it all in a container
 * `again` of that.
 */
export async function expectCommit(
  store: Store,
  container: Container,
): Promise<{ readonly image: Image; readonly again: Container }> {
  {
    await using mount = await container.mount()
    const at = (path: string): string => join(mount.path ?? '', path)
    writeFileSync(at('etc/motd'), 'changed\n')
    writeFileSync(at('srv/new'), 'new\n')
    rmSync(at('etc/os-release'))
    rmSync(at('certs'), { recursive: true })
  }
  const changes = ['D /certs', 'C /etc', 'C /etc/motd', 'D /etc/os-release', 'C /srv', 'A /srv/new']
  expect(await listed(container.changes())).toEqual(changes)
  const image = await container.commit('mine:1')
  expect(image.diffIDs[3]).toBe(sha256(await collect(container.diff())))
  const again = await store.containers.create('mine:1', { name: 'again' })
  expect(await listed(again.changes())).toEqual([])
  {
    await using mount = await again.mount()
    expect(readFileSync(join(mount.path ?? '', 'srv/new'), 'utf8')).toBe('new\n')
  }
  return { image, again }
}
