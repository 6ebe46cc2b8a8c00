import type { ContainerDetails } from '../store/container.ts'
import type { Image } from '../store/image-store.ts'
import type { Store } from '../store/store.ts'
import type { ImageConfig } from '../oci/config.ts'
import type { ChainID } from '../oci/digest.ts'
import { escapeControl } from './format.ts'
import { find } from './find.ts'
import { historyStep } from './history.ts'
import type { Verb } from './verb.ts'

/** `overlaid inspect` */
export const verb: Verb<[subject: string]> = {
  args: [['<ref|container>', 'a container, or else an image']],
  examples: [
    ['inspect alpine:3.20', "an image's config, labels, history and layers"],
    ['inspect web', "a container's, and its lowerdir, upperdir, workdir and merged"],
    [`--json inspect alpine:3.20 | jq -r '.config.Cmd[]'`, 'one fact of it'],
  ],
  async run({ openStore, out }, [subject]) {
    await using store = await openStore('read')
    const { container, image } = await find(store, subject)
    const value =
      container === undefined
        ? await ofImage(store, image)
        : await ofContainer(store, await container.inspect())
    // JSON escapes what is below U+0020 itself; a terminal acts on some that are above.
    await out.result(value, () => JSON.stringify(value, undefined, 2).split('\n').map(escapeControl))
  },
}

async function ofImage(store: Store, image: Image): Promise<object> {
  const { id, names, config } = image
  const layers = await chain(store, image.chainIDs)
  const size = layers.reduce((sum, layer) => sum + layer.size, 0)
  return {
    type: 'image',
    id,
    names,
    size,
    ...factsOf(config),
    history: (await store.images.history(id)).map(historyStep),
    layers,
  }
}

async function ofContainer(store: Store, details: ContainerDetails): Promise<object> {
  const { id, name, image, imageID, created, owner, mounted, path, dead = false, size, config } = details
  const { lowerdir, upperdir, workdir, merged, storageOptions, quota, idMap } = details
  return {
    type: 'container',
    id,
    name,
    image,
    imageID,
    owner,
    mounted,
    path: path ?? null,
    dead,
    size,
    storageOptions,
    quota: quota ?? null,
    idMap: idMap ?? null,
    ...factsOf(config),
    created: created ?? null,
    layers: await chain(store, [...details.chainIDs].reverse()),
    lowerdir,
    upperdir,
    workdir: workdir ?? null,
    merged: merged ?? null,
  }
}

/** What both kinds show of the image config. */
function factsOf(config: ImageConfig): object {
  const run = config.config ?? {}
  return {
    created: config.created ?? null,
    author: config.author ?? null,
    architecture: config.architecture,
    os: config.os,
    config: run,
    env: run.Env ?? [],
    labels: run.Labels ?? {},
  }
}

interface ChainLink {
  readonly diffID: string
  readonly chainID: string
  readonly cacheID: string
  readonly size: number
}

/** The layers of a chain, lowest first. */
async function chain(store: Store, chainIDs: readonly ChainID[]): Promise<ChainLink[]> {
  const byID = new Map((await store.layers.list()).map((layer) => [layer.chainID, layer]))
  const layers = await Promise.all(chainIDs.map(async (id) => byID.get(id) ?? (await store.layers.get(id))))
  return layers.map(({ diffID, chainID, cacheID, size }) => ({ diffID, chainID, cacheID, size }))
}
