/** Makes a layer that no image names, as a crash between the driver and the records leaves one; ms that gc takes. */
import { createReadStream } from 'node:fs'
import { storeTask, timed } from './task.mjs'

const CHUNK = 1 << 20

await storeTask(async (store, /** @type {{ root: string, tar: string }} */ { tar }) => {
  const staged = await store.driver.stage()
  await staged.apply(createReadStream(tar, { highWaterMark: CHUNK }))
  await staged.commit('a'.repeat(64), undefined)
  return timed(() => store.gc())
})
