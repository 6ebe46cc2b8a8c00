/**
 * Mount + unmount of one container, again and again, through the driver alone or with the store's record of who holds
 * the mount.
 */
import { readdirSync } from 'node:fs'
import { loadTop } from './chain-of.mjs'
import { eachOf, storeTask } from './task.mjs'

/**
 * @typedef {{ root: string, archive: string, level: 'driver' | 'store', durability: 'none' | 'full',
 *   warmUp: number, count: number }} Parameters
 */

await storeTask(async (store, /** @type {Parameters} */ { archive, level, warmUp, count }) => {
  const { image } = await loadTop(store, archive)
  const container = await store.containers.create(image)
  const { upperdir } = await container.paths()
  const id = upperdir.split('/').at(-2) ?? ''
  const atDriver = async () => {
    await store.driver.get(id)
    await store.driver.put(id)
  }
  const inStore = async () => (await container.mount()).unmount()
  const once = level === 'driver' ? atDriver : inStore

  const names = readdirSync(await store.driver.get(id))
  await store.driver.put(id)
  for (let i = 0; i < warmUp; i++) await once()
  const each = await eachOf(count, once)
  return { names, each }
})
