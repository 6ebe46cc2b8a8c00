/**
 * Containers of an image, one after the other, with an id map or without: ns of create + mount of each, and of its
 * whole life with unmount and remove. The image is loaded and one container had its life before the clock starts.
 */
import { readdirSync, statSync } from 'node:fs'
import { storeTask } from './task.mjs'

/** @typedef {import('../../../lib/index.ts').IDMap} IDMap */
/**
 * @typedef {{ root: string, archive: string, durability: 'none' | 'full', idMap?: IDMap, warmUp: number,
 *   count: number }} Parameters
 */

await storeTask(async (store, /** @type {Parameters} */ { archive, idMap, warmUp, count }) => {
  const image = await store.images.load(archive)
  /** @type {string[]} */
  let names = []
  /** @type {number | undefined} */
  let owner

  /** @param {boolean} [look] */
  const live = async (look = false) => {
    const start = process.hrtime.bigint()
    const container = await store.containers.create(image, idMap === undefined ? {} : { idMap })
    const mount = await container.mount()
    const mounted = process.hrtime.bigint()
    if (look) {
      names = readdirSync(mount.path ?? '')
      owner = statSync(mount.path ?? '').uid
    }
    await mount.unmount()
    await container.remove()
    return [Number(mounted - start), Number(process.hrtime.bigint() - start)]
  }

  await live(true)
  for (let i = 1; i < warmUp; i++) await live()
  await store.driver.emptyTrash()
  const lives = []
  for (let i = 0; i < count; i++) lives.push(await live())
  return { names, owner, mounted: lives.map(([first]) => first), whole: lives.map(([, whole]) => whole) }
})
