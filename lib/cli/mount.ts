import { resolve } from 'node:path'
import type { Verb } from './verb.ts'

/** `overlaid mount` */
export const verb: Verb<[subject: string], { target?: string; readOnly?: boolean }> = {
  args: [['<container|ref>', 'a container; with --read-only an image']],
  options: [
    { flags: '--target <dir>', does: "an existing folder to mount on, instead of the driver's own place" },
    { flags: '--read-only', does: 'mount an image, read-only' },
  ],
  examples: [
    ['mount web', 'prints the path of the merged root file system'],
    ['mount --target /mnt web', 'at a place of your own'],
    ['mount --read-only alpine:3.20', 'look into an image without making a container'],
  ],
  notes: 'The mount stays until `overlaid unmount`, `overlaid rm` or a reboot.',
  async run({ openStore, out }, [subject], { target, readOnly }) {
    await using store = await openStore('write')
    const options = { persist: true, ...(target === undefined ? {} : { target: resolve(target) }) }
    let id: string
    let path: string | undefined
    // Neither mount is disposed of: it is held for whoever unmounts it, not by this process.
    if (readOnly === true) {
      const image = await store.images.get(subject)
      id = image.id
      path = (await store.images.mount(subject, options)).path
    } else {
      const container = await store.containers.get(subject)
      id = container.id
      path = (await container.mount(options)).path
    }
    await out.result({ id, path: path ?? null }, () => [out.name(path ?? '')])
  },
}
