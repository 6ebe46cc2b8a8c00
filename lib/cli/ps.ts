import type { ContainerSummary } from '../store/container-store.ts'
import { humanSize, shortID } from './format.ts'
import type { Verb } from './verb.ts'

/** `overlaid ps` */
export const verb: Verb = {
  examples: [
    ['ps', 'all containers, and where each is mounted'],
    ['--json ps | jq .[].quota', 'what those with a size limit use of it, both in bytes on disk'],
    [`--json ps | jq -r '.[] | select(.mounted) | .name'`, 'the names of those that are mounted'],
  ],
  notes:
    'A dead mount is one whose fuse-overlayfs process has died: what was written is in the container; ' +
    '`overlaid unmount --force`, then mount it again.',
  async run({ openStore, out }) {
    await using store = await openStore('read')
    const containers = await store.containers.list()
    const value = containers.map(({ id, name, image, mounted, path, dead = false, size, quota }) => {
      return { id, name, image, mounted, path: path ?? null, dead, size, quota: quota ?? null }
    })
    await out.result(value, () => {
      const rows = containers.map((container) => {
        const { id, name, image, size } = container
        return [shortID(id), name, imageName(image), placeOf(container), humanSize(size)]
      })
      return out.table(['CONTAINER ID', 'NAME', 'IMAGE', 'MOUNTED', 'SIZE'], rows)
    })
  },
}

function placeOf({ mounted, path, dead }: ContainerSummary): string {
  if (!mounted) return ''
  return dead === true ? `${path ?? ''} (dead mount)` : (path ?? 'elsewhere')
}

function imageName(image: string): string {
  return image.startsWith('sha256:') ? shortID(image) : image
}
