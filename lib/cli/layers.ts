import { humanSize, shortID } from './format.ts'
import type { Verb } from './verb.ts'

/** `overlaid layers` */
export const verb: Verb = {
  examples: [
    ['layers', 'all layers, and how many images, layers and containers stand on each'],
    [
      `--json layers | jq '.[] | select(.images + .children + .containers == 0)'`,
      'those that gc would remove',
    ],
  ],
  async run({ openStore, out }) {
    await using store = await openStore('read')
    const layers = await store.layers.list()
    const value = layers.map(({ chainID, diffID, parent, cacheID, size, images, children, containers }) => {
      return { chainID, diffID, parent: parent ?? null, cacheID, size, images, children, containers }
    })
    await out.result(value, () => {
      const head = ['CHAIN ID', 'DIFF ID', 'PARENT', 'CACHE ID', 'SIZE', 'IMAGES', 'CHILDREN', 'CONTAINERS']
      const rows = layers.map(({ chainID, diffID, parent, cacheID, size, images, children, containers }) => {
        const ids = [shortID(chainID), shortID(diffID), shortID(parent ?? ''), shortID(cacheID)]
        return [...ids, humanSize(size), images, children, containers]
      })
      return out.table(head, rows)
    })
  },
}
