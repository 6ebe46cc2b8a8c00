import type { DiskUsage } from '../store/df.ts'
import { humanSize, shortID } from './format.ts'
import type { Verb } from './verb.ts'

/** `overlaid df` */
export const verb: Verb<[], { verbose?: boolean }> = {
  options: [{ flags: '-v, --verbose', does: 'each layer and each container as well' }],
  examples: [
    ['df', 'bytes on disk: of each image, shared and its own, and what could be freed'],
    ['df -v', 'down to layers and containers'],
    [
      '--json df | jq .reclaimable',
      'what gc, rm of unmounted containers and rmi of unused images would free',
    ],
  ],
  async run({ openStore, out, signal }, _args, { verbose }) {
    await using store = await openStore('read')
    const usage = await store.df({ signal })
    await out.result(usage, async () => {
      const parts = [
        images(usage),
        totals(usage),
        ...(verbose === true ? [layers(usage), containers(usage)] : []),
      ]
      const tables = await Promise.all(parts.map(([head, rows]) => out.table(head, rows)))
      return tables.flatMap((lines, index) => (index === 0 ? lines : ['', ...lines]))
    })
  },
}

type Part = readonly [head: readonly string[], rows: readonly (readonly (string | number)[])[]]

function images({ images }: DiskUsage): Part {
  const rows = images.map(({ id, names, bytes, shared, unique, containers }) => {
    const sizes = [humanSize(bytes), humanSize(shared), humanSize(unique)]
    return [names.length === 0 ? '<none>' : names.join(', '), shortID(id), ...sizes, containers]
  })
  return [['IMAGE', 'IMAGE ID', 'SIZE', 'SHARED', 'UNIQUE', 'CONTAINERS'], rows]
}

function totals(usage: DiskUsage): Part {
  const { layers, containers, total, reclaimable } = usage
  return [
    ['TYPE', 'COUNT', 'SIZE', 'RECLAIMABLE'],
    [
      ['Layers', layers.count, humanSize(layers.bytes), humanSize(layers.reclaimable)],
      ['Containers', containers.count, humanSize(containers.bytes), humanSize(containers.reclaimable)],
      ['Total', '', humanSize(total), humanSize(reclaimable)],
    ],
  ]
}

function layers({ perLayer }: DiskUsage): Part {
  const rows = perLayer.map(({ chainID, bytes, images }) => [shortID(chainID), humanSize(bytes), images])
  return [['CHAIN ID', 'SIZE', 'IMAGES'], rows]
}

function containers({ perContainer }: DiskUsage): Part {
  const rows = perContainer.map(({ id, name, bytes }) => [shortID(id), name, humanSize(bytes)])
  return [['CONTAINER ID', 'NAME', 'SIZE'], rows]
}
