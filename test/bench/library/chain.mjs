/** Loads an image and tells where its layers are: for contenders that mount the same chain by other means. */
import { join } from 'node:path'
import { linksOf, loadTop } from './chain-of.mjs'
import { storeTask } from './task.mjs'

await storeTask(async (store, /** @type {{ root: string, archive: string }} */ { archive }) => {
  const { cacheID } = await loadTop(store, archive)
  return { home: store.driver.home, parent: cacheID, lowers: linksOf(join(store.driver.home, cacheID)) }
})
