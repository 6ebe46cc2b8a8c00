import type { Verb } from './verb.ts'

/** `overlaid tag` */
export const verb: Verb<[source: string, dest: string]> = {
  args: [
    ['<src>', 'an image, by name or id'],
    ['<dest>', 'a further name for it; an image that has it loses it'],
  ],
  examples: [['tag alpine:3.20 base:latest', 'one image, two names']],
  async run({ openStore }, [source, dest]) {
    await using store = await openStore('write')
    await store.images.tag(source, dest)
  },
}
