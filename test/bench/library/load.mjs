/**
 * Loads an archive into a store that is open: blobs to files, digests and tar-split records; in ms. With `syncfs` one
 * sync of the file system after it is part of it. With `warmUp`, an archive and a root in memory, a store there has
 * loaded that before: what a process does first it does with JavaScript that is not compiled.
 */
import { execFileSync } from 'node:child_process'
import { storeTask, timed } from './task.mjs'

/**
 * @typedef {{ root: string, durability: 'none' | 'full', archive: string, syncfs: boolean,
 *   warmUp?: { root: string, archive: string } }} Parameters
 */

await storeTask(async (store, /** @type {Parameters} */ { root, archive, syncfs, warmUp }, { Store }) => {
  if (warmUp !== undefined) {
    const other = await Store.open(warmUp.root, { durability: 'none' })
    await other.images.load(warmUp.archive)
    await other.close()
  }
  return timed(async () => {
    await store.images.load(archive)
    if (syncfs) execFileSync('sync', ['--file-system', root])
  })
})
