/** The top layer of a loaded image, and the short names of a layer's chain as moby writes them. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'

/** @typedef {import('../../../lib/index.ts').Store} Store */

/**
 * @param {Store} store
 * @param {string} archive
 */
export async function loadTop(store, archive) {
  const image = await store.images.load(archive)
  const { cacheID } = await store.layers.get(image.chainIDs.at(-1) ?? '')
  return { image, cacheID }
}

/**
 * The names in `l/` of the layer and of all below it, nearest first.
 * @param {string} folder the layer's
 * @returns {string[]}
 */
export function linksOf(folder) {
  const link = `l/${readFileSync(join(folder, 'link'), 'utf8')}`
  const lower = readFileSync(join(folder, 'lower'), 'utf8')
  return [link, ...lower.split(':')]
}
