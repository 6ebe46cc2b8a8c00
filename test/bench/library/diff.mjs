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
    const file = await open(output, 'w')
    try {
      if (how === 'diff') await container.diff().writeTo(file.fd)
      else await writeHashed(container.diff(), file)
    } finally {
      await file.close()
    }
  }
  return timed(how === 'commit' ? () => container.commit('committed:bench') : write)
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
