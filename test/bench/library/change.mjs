/**
 * Makes the container `bench` on an image of folders `folder-<i>` with files `file-<j>`, changes `count` of them through
 * a mount (some written, some new, some deleted) and leaves it mounted, persistently, for whoever wants to walk it.
 */
import { appendFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { storeTask } from './task.mjs'

const CHANGES = [
  /** @param {string} file */ (file) => appendFileSync(file, 'changed'),
  /** @param {string} file */ (file) => writeFileSync(`${file}-new`, 'new'),
  /** @param {string} file */ (file) => rmSync(file),
]
const FILES_PER_FOLDER = 100
/** From one change's folder to the next one's. */
const STRIDE = 5

/** @typedef {{ root: string, archive: string, folders: number, count: number }} Parameters */

await storeTask(async (store, /** @type {Parameters} */ { archive, folders, count }) => {
  const image = await store.images.load(archive)
  const container = await store.containers.create(image, { name: 'bench' })
  const { path: merged = '' } = await container.mount({ persist: true })
  for (let i = 0; i < count; i++) {
    const folder = join(merged, `folder-${String((i * STRIDE) % folders)}`)
    CHANGES[i % CHANGES.length]?.(join(folder, `file-${String(i % FILES_PER_FOLDER)}`))
  }
  const { lowerdir } = await container.paths()
  return { merged, image: lowerdir.at(-1) }
})
