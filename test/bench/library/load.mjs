/**
 * Loads an archive into a store that is open: blobs to files, digests and tar-split records; in ms. With `syncfs` one
 * sync of the file system after it is part of it.
 */
import { execFileSync } from 'node:child_process'
import { storeTask, timed } from './task.mjs'

/** @typedef {{ root: string, durability: 'none' | 'full', archive: string, syncfs: boolean }} Parameters */

await storeTask((store, /** @type {Parameters} */ { root, archive, syncfs }) =>
  timed(async () => {
    await store.images.load(archive)
    if (syncfs) execFileSync('sync', ['--file-system', root])
  }),
)
