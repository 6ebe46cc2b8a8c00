import { readArchive } from './streams.ts'
import type { Verb } from './verb.ts'

/** `overlaid import` */
export const verb: Verb<[ref: string], { input?: string }> = {
  args: [['<ref>', 'the name of the new image']],
  options: [{ flags: '-i, --input <file>', does: 'tar of a root file system; stdin without it' }],
  examples: [
    ['import -i rootfs.tar.gz debian:mine', 'a root file system becomes an image of one layer'],
    ['import flat:latest < rootfs.tar', 'from stdin'],
  ],
  async run(context, [ref], { input }) {
    const archive = readArchive(context, input)
    const { openStore, out, signal } = context
    await using store = await openStore('write')
    const { id, names } = await store.images.import(archive, ref, { signal })
    await out.result({ id, names }, () => [id])
  },
}
