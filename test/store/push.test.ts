/** Pushing to registries that do not take everything at once, or at all. */
import { randomBytes } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { describe, expect, it, onTestFinished } from 'vitest'
import type { PushOptions } from '../../lib/store/image-store.ts'
import { refuse } from '../helpers/fake-registry.ts'
import { missing } from '../helpers/gates.ts'
import { buildImage } from '../helpers/image.ts'
import { memoryRegistry } from '../helpers/memory-registry.mjs'
import { watchLeaks } from '../helpers/mounts.ts'
import { MIB } from '../helpers/sizes.ts'
import { archiveOf, newStore, storeFolders } from '../helpers/store.ts'

const QUICK: PushOptions = { retryDelay: 1, attempts: 3, dockerConfig: '/nonexistent' }
const image = buildImage({ layers: [[{ name: 'noise', body: randomBytes(8 * MIB) }]], names: ['noise:1'] })

type Behave = (request: IncomingMessage, response: ServerResponse) => boolean

describe.skipIf(missing('canMount'))('push', () => {
  watchLeaks(() => storeFolders)

  /** A store with the image, under a name of a registry that behaves so. */
  async function ready(behave: Behave) {
    const { host, close } = await memoryRegistry(behave)
    onTestFinished(close)
    const store = await newStore()
    await store.images.loadAll(archiveOf(image))
    const name = `${host}/noise:1`
    await store.images.tag('noise:1', name)
    return { store, name, host }
  }

  it('begins a layer again whose transfer was cut off', async () => {
    let cuts = 2
    const { store, name, host } = await ready((request) => {
      if (request.method !== 'PATCH' || cuts-- <= 0) return false
      request.once('data', () => request.destroy())
      return true
    })
    const { digest } = await store.images.push(name, QUICK)
    expect(cuts).toBeLessThan(0)
    const other = await newStore()
    expect((await other.images.pull(`${host}/noise@${digest}`, QUICK)).id).toBe(image.id)
  })

  it('stops sending to who refuses', async () => {
    const { store, name } = await ready((request, response) => {
      if (request.method !== 'PATCH') return false
      refuse(response, 413, 'SIZE_INVALID', 'too large')
      return true
    })
    await expect(store.images.push(name, QUICK)).rejects.toMatchObject({
      code: 'ERR_REGISTRY',
      detail: ['SIZE_INVALID: too large'],
    })
  })

  it('ends when it is told to, and leaves the store clean', async () => {
    const stop = new AbortController()
    const { store, name } = await ready((request) => {
      // Takes the beginning, and nothing more.
      if (request.method === 'PATCH') request.once('data', () => stop.abort(new Error('stopped')))
      return request.method === 'PATCH'
    })
    await expect(store.images.push(name, { ...QUICK, signal: stop.signal })).rejects.toThrow('stopped')
    expect(await store.check({ deep: true })).toEqual({ ok: true, problems: [] })
    expect((await store.images.get(name)).names).toEqual([name, 'noise:1'])
  })

  it('wants a name with a tag, of an image that is there', async () => {
    const store = await newStore()
    const digest = `sha256:${'0'.repeat(64)}`
    await expect(store.images.push(`a@${digest}`)).rejects.toMatchObject({ code: 'ERR_INVALID_REFERENCE' })
    await expect(store.images.push('none:1')).rejects.toMatchObject({ code: 'ERR_IMAGE_NOT_FOUND' })
  })
})
