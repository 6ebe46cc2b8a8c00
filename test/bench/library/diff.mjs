/**
 * Packs the changes of the container `bench` into a file.
 *
 * `how` is `diff`, the tar alone; `digest`, with its sha256 on the way; or `commit`, which makes an image of them and
 * writes no tar. The first two are done before, into the file `warmUp`, which is in memory: what a process does first
 * it does with JavaScript that is not compiled.
 */
import { createHash } from 'node:crypto'
import { open } from 'node:fs/promises'
import { storeTask, timed } from './task.mjs'

/**
 * @typedef {{ root: string, durability?: 'none' | 'full', how: 'commit' }} CommitParameters
 * @typedef {{ root: string, how: 'diff' | 'digest', output: string, warmUp: string }} WriteParameters
 */

await storeTask(async (store, /** @type {CommitParameters | WriteParameters} */ parameters) => {
  const container = await store.containers.get('bench')
  if (parameters.how === 'commit') return timed(() => container.commit('committed:bench'))
  const { how, output, warmUp } = parameters
  /** @param {string} path */
  const write = async (path) => {
    const file = await open(path, 'w')
    try {
      if (how === 'diff') await container.diff().writeTo(file.fd)
      else await writeHashed(container.diff(), file)
    } finally {
      await file.close()
    }
  }
  await write(warmUp)
  return timed(() => write(output))
})

/**
 * @param {AsyncIterable<Buffer>} tar
 * @param {import('node:fs/promises').FileHandle} file
 */
async function writeHashed(tar, file) {
  const hash = createHash('sha256')
  for await (const bytes of tar) {
    hash.update(bytes)
    await file.write(bytes)
  }
  hash.digest()
}
