import { humanSize, shortID } from './format.ts'
import type { Verb } from './verb.ts'

/** `overlaid ps` */
export const verb: Verb = {
  examples: [
    ['ps', 'all containers, and where each is mounted'],
    ['--json ps | jq .[].quota', 'what those with a size limit use of it, both in bytes on disk'],
    [`--json ps | jq -r '.[] | select(.mounted) | .name'`, 'the names of those that are mounted'],
  ],
  async run({ openStore, out }) {
    await using store = await openStore('read')
    const containers = await store.containers.list()
    const value = containers.map(({ id, name, image, mounted, path, size, quota }) => {
      return { id, name, image, mounted, path: path ?? null, size, quota: quota ?? null }
    })
    await out.result(value, () => {
      const rows = containers.map(({ id, name, image, mounted, path, size }) => {
        return [shortID(id), name, imageName(image), mounted ? (path ?? 'elsewhere') : '', humanSize(size)]
      })
      return out.table(['CONTAINER ID', 'NAME', 'IMAGE', 'MOUNTED', 'SIZE'], rows)
    })
  },
}

function imageName(image: string): string {
  return image.startsWith('sha256:') ? shortID(image) : image
}
