/** The images that another driver of Docker's left in a data root, as a source to load from. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { type ForeignLayers, openForeignLayers } from '../driver/foreign.ts'
import type { ForeignName } from '../driver/foreign-names.ts'
import { OverlaidError } from '../errors.ts'
import { isFolder } from '../fs/folder.ts'
import { Undo } from '../fs/undo.ts'
import { chainIDs } from '../oci/chain-id.ts'
import { type ImageConfig, parseConfig } from '../oci/config.ts'
import { type ChainID, type DiffID, type Digest, Measured } from '../oci/digest.ts'
import type { ImageSource, SourceImage, SourceLayer } from '../transfer/source.ts'
import { readImages } from './image-db.ts'
import { type LayerRecord, readLayer, TAR_SPLIT } from './layer-db.ts'
import { layerTar } from './layer-tar.ts'
import { layerDir, type StorePaths, storePaths } from './paths.ts'
import { fullNamesOf, readReferences } from './references.ts'

export interface ForeignImage extends SourceImage {
  /** Its id in the old root. It has another one where a layer's archive could not be made again. */
  readonly was: Digest
}

export interface ForeignSource extends ImageSource {
  readonly images: readonly ForeignImage[]
}

/**
 * Reads `image/<name>` of the data root `root`. A layer whose `tar-split.json.gz` is there comes out byte for byte; of
 * one without, the archive is made anew from its files, and when that is another, so is the image's id.
 * @throws ERR_INVALID_ARGUMENT where that driver has left nothing; ERR_DAMAGED; of devicemapper also
 * ERR_UNSUPPORTED_KERNEL and ERR_STORE_LOCKED
 */
export async function openForeignSource(
  root: string,
  name: ForeignName,
  options: { readonly signal?: AbortSignal } = {},
): Promise<ForeignSource> {
  const paths = storePaths(root, name)
  if (!hasImagesOf(root, name)) {
    throw new OverlaidError('ERR_INVALID_ARGUMENT', `${root} has no images of the driver ${name}`, {
      path: root,
      hint: `they are in ${name}/ and image/${name}/ of Docker's data root`,
    })
  }
  await using undo = new Undo()
  const layers = undo.add(await openForeignLayers(root, name))
  const images = await new ForeignReader(paths, layers, options).images()
  const kept = undo.keep()
  return { images, [Symbol.asyncDispose]: () => kept[Symbol.asyncDispose]() }
}

/** Whether the driver's layers and what Docker notes of its images are in the data root. */
export function hasImagesOf(root: string, name: ForeignName): boolean {
  return isFolder(storePaths(root, name).imageContent) && isFolder(join(root, name))
}

class ForeignReader {
  readonly #paths: StorePaths
  readonly #layers: ForeignLayers
  readonly #options: { readonly signal?: AbortSignal }
  /** By chainID: images share layers, and to measure one is to read it. */
  readonly #sources = new Map<ChainID, SourceLayer>()

  constructor(paths: StorePaths, layers: ForeignLayers, options: { readonly signal?: AbortSignal }) {
    this.#paths = paths
    this.#layers = layers
    this.#options = options
  }

  async images(): Promise<ForeignImage[]> {
    const repositories = await readReferences(this.#paths)
    const records = await readImages(this.#paths, (_id, error) => {
      throw error
    })
    const images: ForeignImage[] = []
    for (const { id, config, configBytes } of records) {
      const layers = await this.#layersOf(config)
      const names = fullNamesOf(repositories, id)
      images.push({ was: id, names, layers, ...withDiffIDs(configBytes, config, layers) })
    }
    return images
  }

  async #layersOf(config: ImageConfig): Promise<SourceLayer[]> {
    const layers: SourceLayer[] = []
    let parent: LayerRecord | undefined
    for (const chainID of chainIDs(config.rootfs.diff_ids)) {
      const record = await readLayer(this.#paths, chainID)
      const source = this.#sources.get(chainID) ?? (await this.#sourceOf(record, parent))
      this.#sources.set(chainID, source)
      layers.push(source)
      parent = record
    }
    return layers
  }

  async #sourceOf(record: LayerRecord, parent: LayerRecord | undefined): Promise<SourceLayer> {
    if (existsSync(join(layerDir(this.#paths, record.chainID), TAR_SPLIT))) {
      const place = { paths: this.#paths, driver: this.#layers }
      return {
        diffID: record.diffID,
        open: (signal) => layerTar(place, record, signal === undefined ? {} : { signal }),
      }
    }
    const open = (signal?: AbortSignal): AsyncIterable<Buffer> =>
      this.#layers.tar(record.cacheID, parent?.cacheID, signal === undefined ? {} : { signal })
    return { diffID: await diffIDOf(open(this.#options.signal)), open }
  }
}

async function diffIDOf(tar: AsyncIterable<Buffer>): Promise<DiffID> {
  const measured = new Measured(tar)
  for await (const chunk of measured) void chunk
  return measured.digest as string as DiffID
}

/** The config with the diffIDs of `layers`; as it is, to the byte, where it has them. */
function withDiffIDs(
  configBytes: Buffer,
  config: ImageConfig,
  layers: readonly SourceLayer[],
): { readonly configBytes: Buffer; readonly config: ImageConfig } {
  const diffIDs = layers.map(({ diffID }) => diffID)
  if (diffIDs.every((id, i) => id === config.rootfs.diff_ids[i])) return { configBytes, config }
  const parsed = JSON.parse(configBytes.toString()) as { rootfs: object }
  const bytes = Buffer.from(JSON.stringify({ ...parsed, rootfs: { ...parsed.rootfs, diff_ids: diffIDs } }))
  return { configBytes: bytes, config: parseConfig(bytes) }
}
