/**
 * Packs the changes of the container `bench` into a file.
 *
 * `how` is `diff`, the tar alone; `digest`, with its sha256 on the way; or `commit`, which makes an image of them and
 * writes no tar.
 */
import { createHash } from 'node:crypto'
import { open } from 'node:fs/promises'
import { storeTask, timed } from './task.mjs'

/** @typedef {{ root: string, durability: 'none' | 'full', how: 'diff' | 'digest' | 'commit', output: string }} Parameters */

await storeTask(async (store, /** @type {Parameters} */ { how, output }) => {
  const container = await store.containers.get('bench')
  const write = async () => {
    const hash = how === 'digest' ? createHash('sha256') : undefined
    const file = await open(output, 'w')
    try {
      for await (const bytes of container.diff()) {
        hash?.update(bytes)
        await file.write(bytes)
      }
    } finally {
      await file.close()
    }
    hash?.digest()
  }
  return timed(how === 'commit' ? () => container.commit('committed:bench') : write)
})
