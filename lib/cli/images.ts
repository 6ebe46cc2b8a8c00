import type { ImageSummary } from '../store/image-store.ts'
import { humanAge, humanSize, shortID, splitName } from './format.ts'
import type { Verb } from './verb.ts'

/** `overlaid images` */
export const verb: Verb = {
  examples: [
    ['images', 'all images, a line for each name'],
    [`--json images | jq -r '.[].names[]'`, 'only the names'],
  ],
  async run({ host, openStore, out }) {
    await using store = await openStore('read')
    const images = await store.images.list()
    const value = images.map(({ id, names, created, size, layers }) => {
      return { id, names, created: created ?? null, size, layers }
    })
    await out.result(value, () => {
      const rows = images.flatMap((image) => rowsOf(image, host.now()))
      return out.table(['REPOSITORY', 'TAG', 'IMAGE ID', 'CREATED', 'SIZE'], rows)
    })
  },
}

function rowsOf({ id, names, created, size }: ImageSummary, now: Date): string[][] {
  const shown = names.length === 0 ? [undefined] : names
  return shown.map((name) => [...splitName(name), shortID(id), humanAge(created, now), humanSize(size)])
}
