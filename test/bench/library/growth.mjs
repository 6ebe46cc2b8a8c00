/**
 * Loads an image and removes it, `warmUp` and then `rounds` times: by how much the process's memory, its heap and its
 * open files grew over the rounds after the warm-up. MiB, MiB, a number.
 */
import { readdirSync } from 'node:fs'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { storeTask } from './task.mjs'

const MIB = 2 ** 20
setFlagsFromString('--expose-gc')
/** @type {() => void} */
const collectGarbage = runInNewContext('gc')

function measure() {
  collectGarbage()
  const { rss, heapUsed } = process.memoryUsage()
  return { rss: rss / MIB, heap: heapUsed / MIB, files: readdirSync('/proc/self/fd').length }
}

/** @typedef {{ root: string, archive: string, warmUp: number, rounds: number }} Parameters */

await storeTask(async (store, /** @type {Parameters} */ { archive, warmUp, rounds }) => {
  /** @param {number} count */
  const repeat = async (count) => {
    for (let i = 0; i < count; i++) {
      const { id } = await store.images.load(archive)
      await store.images.remove([id], { force: true })
    }
  }
  await repeat(warmUp)
  const before = measure()
  await repeat(rounds)
  const after = measure()
  return {
    'growth of memory': after.rss - before.rss,
    'of the heap': after.heap - before.heap,
    'of open files': after.files - before.files,
  }
})
