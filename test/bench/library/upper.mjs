/** Makes a store with a container on a small image; tells where its own files go. */
import { storeTask } from './task.mjs'

await storeTask(async (store, /** @type {{ root: string, archive: string }} */ { archive }) => {
  const container = await store.containers.create(await store.images.load(archive), { name: 'bench' })
  return container.paths()
})
