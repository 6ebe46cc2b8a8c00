import { find } from './find.ts'
import { checkDestination, writeArchive } from './streams.ts'
import type { Verb } from './verb.ts'

/** `overlaid export` */
export const verb: Verb<[subject: string], { output?: string }> = {
  args: [['<container|ref>', 'a container, or else an image']],
  options: [{ flags: '-o, --output <file>', does: 'where to; stdout without it' }],
  examples: [
    ['export -o rootfs.tar web', "a container's root file system, merged"],
    ['export alpine:3.20 | tar -tv', "an image's, without making a container"],
  ],
  async run(context, [subject], { output }) {
    checkDestination(context, output)
    const { signal } = context
    await using store = await context.openStore('write')
    const found = await find(store, subject)
    const chunks = found.container?.export({ signal }) ?? store.images.export(subject, { signal })
    await writeArchive(context, output, chunks)
  },
}
