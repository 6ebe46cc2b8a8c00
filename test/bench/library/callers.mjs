/**
 * `callers` callers at once, each with a container to create, mount, unmount and remove; `inFlight` of them at work, the
 * others wait. At the driver. The ns of each from where it is let in, and of all.
 */
import { randomBytes } from 'node:crypto'
import pLimit from 'p-limit'
import { loadTop } from './chain-of.mjs'
import { storeTask } from './task.mjs'

/** @typedef {{ root: string, archive: string, callers: number, inFlight: number, warmUp: number }} Parameters */

await storeTask(async (store, /** @type {Parameters} */ { archive, callers, inFlight, warmUp }) => {
  const { cacheID } = await loadTop(store, archive)
  const live = async () => {
    const start = process.hrtime.bigint()
    const id = randomBytes(32).toString('hex')
    await store.driver.createReadWrite(id, cacheID)
    await store.driver.get(id)
    await store.driver.put(id)
    await store.driver.remove(id)
    return Number(process.hrtime.bigint() - start)
  }
  const limit = pLimit(inFlight)
  /** @param {number} count */
  const all = (count) => Promise.all(Array.from({ length: count }, () => limit(live)))

  await all(warmUp)
  await store.driver.emptyTrash()
  const start = process.hrtime.bigint()
  const each = await all(callers)
  return { each, total: Number(process.hrtime.bigint() - start) }
})
