/** Makes a container on an image's layers and tells its folders: for contenders that mount the same by other means. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { loadTop } from './chain-of.mjs'
import { storeTask } from './task.mjs'

await storeTask(async (store, /** @type {{ root: string, archive: string }} */ { archive }) => {
  const { image } = await loadTop(store, archive)
  const container = await store.containers.create(image)
  const paths = await container.paths()
  const links = readFileSync(join(paths.upperdir, '../lower'), 'utf8').split(':')
  return { home: store.driver.home, links, ...paths }
})
