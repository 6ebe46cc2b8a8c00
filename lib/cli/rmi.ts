import type { Verb } from './verb.ts'

/** `overlaid rmi` */
export const verb: Verb<[refs: string[]], { force?: boolean }> = {
  args: [['<ref...>', 'images, by name or id']],
  options: [
    { flags: '-f, --force', does: 'remove it with all its names, and though a stopped container has it' },
  ],
  examples: [
    ['rmi alpine:3.20', 'the name; the image and its layers when it was the last, and nothing needs them'],
    ['rmi --force 1d34ffeaf190', 'an image by its id, whatever names it has'],
  ],
  async run({ openStore, out }, [refs], { force }) {
    await using store = await openStore('write')
    const { untagged, deleted } = await store.images.remove(refs, { force: force === true })
    await out.result({ untagged, deleted }, () => [
      ...untagged.map((name) => `Untagged: ${out.name(name)}`),
      ...deleted.map((id) => `Deleted: ${id}`),
    ])
  },
}
