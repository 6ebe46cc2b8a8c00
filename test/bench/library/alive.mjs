/** One container mounted and unmounted while others stay mounted: the ns of each, at the driver. */
import { randomBytes } from 'node:crypto'
import { loadTop } from './chain-of.mjs'
import { eachOf, storeTask } from './task.mjs'

/** @typedef {{ root: string, archive: string, alive: number, warmUp: number, count: number }} Parameters */

await storeTask(async (store, /** @type {Parameters} */ { archive, alive, warmUp, count }) => {
  const { cacheID } = await loadTop(store, archive)
  const make = async () => {
    const id = randomBytes(32).toString('hex')
    await store.driver.createReadWrite(id, cacheID)
    return id
  }
  for (let i = 0; i < alive; i++) await store.driver.get(await make())
  const id = await make()
  const once = async () => {
    await store.driver.get(id)
    await store.driver.put(id)
  }
  for (let i = 0; i < warmUp; i++) await once()
  const each = await eachOf(count, once)
  await store.driver.cleanup()
  return { each }
})
