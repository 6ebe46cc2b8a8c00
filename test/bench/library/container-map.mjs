/**
 * Containers of an image, in turns without an id map and with one: ns of create + mount of each, and of its whole life
 * with unmount and remove.
 */
import { readdirSync, statSync } from 'node:fs'
import { storeTask } from './task.mjs'

/** @typedef {import('../../../lib/index.ts').IDMap} IDMap */
/**
 * @typedef {{ root: string, archive: string, durability: 'none' | 'full', idMap: IDMap, warmUp: number,
 *   count: number }} Parameters
 */

await storeTask(async (store, /** @type {Parameters} */ { archive, idMap, warmUp, count }) => {
  const image = await store.images.load(archive)

  /** @param {string} path */
  const look = (path) => ({ names: readdirSync(path), uid: statSync(path).uid })

  /** @param {import('../../../lib/index.ts').CreateOptions} options */
  const live = async (options) => {
    const start = process.hrtime.bigint()
    const container = await store.containers.create(image, options)
    const mount = await container.mount()
    const mounted = Number(process.hrtime.bigint() - start)
    const seen = look(mount.path ?? '')
    const ending = process.hrtime.bigint()
    await mount.unmount()
    await container.remove()
    return { mounted, whole: mounted + Number(process.hrtime.bigint() - ending), seen }
  }

  const kinds = [{}, { idMap }]
  const lives = kinds.map(() => /** @type {Awaited<ReturnType<typeof live>>[]} */ ([]))
  for (let i = 0; i < warmUp + count; i++) {
    if (i === warmUp) for (const list of lives) list.length = 0
    // Each is as often the first.
    for (const kind of i % 2 === 0 ? [0, 1] : [1, 0]) lives[kind]?.push(await live(kinds[kind] ?? {}))
  }
  return lives.map((list) => ({
    mounted: list.map(({ mounted }) => mounted),
    whole: list.map(({ whole }) => whole),
    seen: list[0]?.seen,
  }))
})
