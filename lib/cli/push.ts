import type { PushReport } from '../store/image-store.ts'
import { plural } from './format.ts'
import { withProgress } from './progress.ts'
import { REGISTRY_NOTES, REGISTRY_OPTIONS, type RegistryFlags, registryOptions } from './registry.ts'
import type { Verb } from './verb.ts'

/** `overlaid push` */
export const verb: Verb<[name: string], RegistryFlags> = {
  args: [['<name>', 'an image by its name, which says the registry and repository that it goes to']],
  options: REGISTRY_OPTIONS,
  examples: [
    ['tag alpine:3.20 registry.example:5000/team/alpine:3.20', 'first a name of that registry'],
    ['push registry.example:5000/team/alpine:3.20', 'sends what is not there yet'],
  ],
  notes: REGISTRY_NOTES,
  async run(context, [name], flags) {
    const { openStore, out, signal } = context
    const options = { ...registryOptions(context, flags), signal }
    await using store = await openStore('write')
    const report = await withProgress(context, (progress) =>
      store.images.push(name, { ...options, ...progress }),
    )
    await out.result(report, () => lines(report).map((line) => out.name(line)))
  },
}

function lines({ name, digest, layers }: PushReport): string[] {
  const there = layers.total - layers.sent
  return [
    `Pushed image: ${name}`,
    `Digest: ${digest}`,
    `${plural(layers.total, 'layer')}: ${String(layers.sent)} sent, ${String(there)} there already`,
  ]
}
