/** Removes the only image of a store: ms that the caller waits, and until nothing of it is left on disk. */
import { storeTask, timed } from './task.mjs'

await storeTask(async (store) => {
  const [image] = await store.images.list()
  /** @type {number} */
  let waits = NaN
  const gone = await timed(async () => {
    waits = await timed(() => store.images.remove([image?.id ?? ''], { force: true }))
    await store.driver.emptyTrash()
  })
  return { waits, gone }
})
