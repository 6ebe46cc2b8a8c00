import type { Verb } from './verb.ts'

/** `overlaid create` */
export const verb: Verb<[ref: string], { name?: string }> = {
  args: [['<ref>', 'an image, by name or id']],
  options: [{ flags: '--name <name>', does: 'its name; by default the first 12 digits of its id' }],
  examples: [
    ['create --name web nginx:1', 'a writable layer on the image; prints its id'],
    ['mount $(overlaid create alpine:3.20)', 'make one and mount it'],
  ],
  async run({ openStore, out, signal }, [ref], { name }) {
    await using store = await openStore('write')
    const options = name === undefined ? { signal } : { name, signal }
    const container = await store.containers.create(ref, options)
    await out.result({ id: container.id, name: container.name }, () => [container.id])
  },
}
