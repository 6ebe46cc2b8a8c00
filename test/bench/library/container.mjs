/**
 * Containers, one after the other: created, mounted, unmounted, removed; deletion of the trash is part of it.
 *
 * `level` is `driver`, the driver's interface alone, or `store`, with the init layer, the records and the claims.
 */
import { randomBytes } from 'node:crypto'
import { readdirSync } from 'node:fs'
import { loadTop } from './chain-of.mjs'
import { eachOf, storeTask } from './task.mjs'

/**
 * @typedef {{ root: string, archive: string, level: 'driver' | 'store', durability: 'none' | 'full',
 *   warmUp: number, count: number }} Parameters
 */

await storeTask(async (store, /** @type {Parameters} */ { archive, level, warmUp, count }) => {
  const { image, cacheID } = await loadTop(store, archive)

  /** @param {(path: string) => void} [look] */
  const liveAtDriver = async (look) => {
    const id = randomBytes(32).toString('hex')
    await store.driver.createReadWrite(id, cacheID)
    // Not as an argument of look's: where there is none it would not be called.
    const path = await store.driver.get(id)
    look?.(path)
    await store.driver.put(id)
    await store.driver.remove(id)
  }
  /** @param {(path: string) => void} [look] */
  const liveInStore = async (look) => {
    const container = await store.containers.create(image)
    const mount = await container.mount()
    look?.(mount.path ?? '')
    await mount.unmount()
    await container.remove()
  }

  const live = level === 'driver' ? liveAtDriver : liveInStore

  /** @type {string[]} */
  let names = []
  await live((path) => (names = readdirSync(path)))
  for (let i = 1; i < warmUp; i++) await live()
  await store.driver.emptyTrash()
  const start = process.hrtime.bigint()
  const each = await eachOf(count, () => live())
  await store.driver.emptyTrash()
  return { names, each, total: Number(process.hrtime.bigint() - start) }
})
