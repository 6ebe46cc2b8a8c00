import type { PulledImage } from '../store/image-store.ts'
import { familiarName, parseReference } from '../oci/reference.ts'
import { plural } from './format.ts'
import { withProgress } from './progress.ts'
import { REGISTRY_NOTES, REGISTRY_OPTIONS, type RegistryFlags, registryOptions } from './registry.ts'
import type { Verb } from './verb.ts'

interface Options extends RegistryFlags {
  readonly platform?: string
  readonly mirror?: readonly string[]
}

/** `overlaid pull` */
export const verb: Verb<[ref: string], Options> = {
  args: [['<ref>', 'an image, by tag or digest; on Docker Hub unless it begins with another registry']],
  options: [
    {
      flags: '--platform <os/arch/variant>',
      does: "of an image for many, this one (default: this machine's)",
    },
    {
      flags: '--mirror <host:port>',
      does: 'a registry to ask first; may be given several times',
      many: true,
    },
    ...REGISTRY_OPTIONS,
  ],
  examples: [
    ['pull alpine:3.20', 'from Docker Hub'],
    ['pull --platform arm64 registry.example:5000/team/tool', 'for another machine'],
    ['pull alpine@sha256:…', 'exactly this one'],
  ],
  notes: REGISTRY_NOTES,
  async run(context, [ref], { platform, mirror, ...flags }) {
    const { openStore, out, signal } = context
    const options = {
      ...registryOptions(context, flags),
      ...(platform !== undefined && { platform }),
      ...(mirror !== undefined && { mirrors: mirror }),
      signal,
    }
    await using store = await openStore('write')
    const image = await withProgress(context, (progress) =>
      store.images.pull(ref, { ...options, ...progress }),
    )
    const { id, names, digest, layers } = image
    await out.result({ id, names, digest, layers }, () => lines(ref, image).map((line) => out.name(line)))
  },
}

function lines(ref: string, { digest, layers }: PulledImage): string[] {
  const reference = parseReference(ref)
  return [
    `Pulled image: ${familiarName(reference)}${reference.tag === undefined ? '' : `:${reference.tag}`}`,
    `Digest: ${digest}`,
    `${plural(layers.total, 'layer')}: ${layers.added} added, ${layers.shared} shared`,
  ]
}
