import { withProgress } from './progress.ts'
import { checkDestination, writeArchive } from './streams.ts'
import type { Verb } from './verb.ts'

/** `overlaid save` */
export const verb: Verb<[refs: string[]], { output?: string; format: 'docker' | 'oci' }> = {
  args: [['<ref...>', 'images, by name or id']],
  options: [
    { flags: '-o, --output <file>', does: 'where to; stdout without it' },
    { flags: '--format <format>', does: 'of the archive', choices: ['docker', 'oci'], default: 'docker' },
  ],
  examples: [
    ['save -o alpine.tar alpine:3.20', 'an archive for docker load'],
    ['save --format oci -o both.tar web:1 api:1', 'two images in one OCI archive, shared layers once'],
    ['save alpine:3.20 | gzip > alpine.tar.gz', 'through a pipe'],
  ],
  notes: 'FILE is written whole or not at all; layers come out byte for byte as they went in.',
  async run(context, [refs], { output, format }) {
    checkDestination(context, output)
    await using store = await context.openStore('read')
    const { signal } = context
    await withProgress(context, (options) =>
      writeArchive(context, output, store.images.save(refs, { format, ...options, signal })),
    )
  },
}
