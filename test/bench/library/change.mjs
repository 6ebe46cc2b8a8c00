/**
 * Makes the container `bench` on an image of folders `folder-<i>` with files `file-<j>`, changes `count` of them through
 * a mount (some written, some new, some deleted) and leaves it mounted, persistently, for whoever wants to walk it.
 */
import { appendFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { storeTask } from './task.mjs'

const CHANGES = [
  /** @param {string} folder */ (folder) => appendFileSync(join(folder, 'file-1'), 'changed'),
  /** @param {string} folder */ (folder) => writeFileSync(join(folder, 'new'), 'new'),
  /** @param {string} folder */ (folder) => rmSync(join(folder, 'file-2')),
]

/** @typedef {{ root: string, archive: string, folders: number, count: number }} Parameters */

await storeTask(async (store, /** @type {Parameters} */ { archive, folders, count }) => {
  const image = await store.images.load(archive)
  const container = await store.containers.create(image, { name: 'bench' })
  const { path: merged = '' } = await container.mount({ persist: true })
  for (let i = 0; i < count; i++) {
    // Far from each other, and each kind of change in a folder of its own.
    CHANGES[i % CHANGES.length]?.(join(merged, `folder-${String((i * 5) % folders)}`))
  }
  const { lowerdir } = await container.paths()
  return { merged, image: lowerdir.at(-1) }
})
