import type { LoadReport } from '../store/image-store.ts'
import { plural } from './format.ts'
import { withProgress } from './progress.ts'
import { readStdin } from './streams.ts'
import type { Verb } from './verb.ts'

/** `overlaid load` */
export const verb: Verb<[], { input?: string }> = {
  options: [{ flags: '-i, --input <path>', does: 'archive or OCI layout folder; stdin without it' }],
  examples: [
    ['load -i alpine.tar', 'every image of an archive that docker save, skopeo or overlaid wrote'],
    ['load -i layout/', 'every image of an OCI layout folder'],
    ['load < image.tar.zst', 'from stdin; gzip and zstd are recognised'],
  ],
  async run(context, _args, { input }) {
    const from = input ?? readStdin(context)
    const { openStore, out, signal } = context
    await using store = await openStore('write')
    const report = await withProgress(context, (options) =>
      store.images.loadAll(from, { ...options, signal }),
    )
    await out.result(report, () => lines(report).map((line) => out.name(line)))
  },
}

function lines({ images, layers }: LoadReport): string[] {
  const loaded = images.flatMap(({ id, names }) =>
    names.length === 0 ? [`Loaded image ID: ${id}`] : names.map((name) => `Loaded image: ${name}`),
  )
  return [...loaded, `${plural(layers.total, 'layer')}: ${layers.added} added, ${layers.shared} shared`]
}
