/** Saving: images of the store as one archive, layers byte for byte as they were loaded. */
import type { ExportImage, ExportLayer } from '../transfer/source.ts'
import type { StoreContext } from './context.ts'
import { findImageID, imageOf } from './image-find.ts'
import { readImage } from './image-db.ts'
import type { Image, SaveOptions } from './image-store.ts'
import { type LayerRecord, readLayer } from './layer-db.ts'
import { layerTar, layerTarSize } from './layer-tar.ts'
import { formatReference, parseReference } from '../oci/reference.ts'
import { withImages } from './reading-lease.ts'
import { readReferences } from './references.ts'
import { writeArchive } from '../transfer/write.ts'
import type { Digest } from '../oci/digest.ts'

/** One tar of the images that `refs` name. An image named by its id comes without names. */
export async function* saveImages(
  store: StoreContext,
  refs: readonly string[],
  options: SaveOptions,
): AsyncGenerator<Buffer> {
  const asked = await findAsked(store, refs)
  const found = asked.map(({ image }) => image)
  yield* withImages(store, found, async function* () {
    const images: ExportImage[] = []
    for (const { image, names } of asked) images.push(await exportable(store, image, names, options))
    yield* writeArchive(images, { format: options.format ?? 'docker', compression: options.compression })
  })
}

interface Asked {
  readonly image: Image
  readonly names: readonly string[]
}

/** The images, each once, with the names that they were asked for by. */
async function findAsked({ paths }: StoreContext, refs: readonly string[]): Promise<Asked[]> {
  const repositories = await readReferences(paths)
  const names = new Map<Digest, string[]>()
  for (const ref of refs) {
    const { id, reference } = await findImageID(paths, repositories, ref)
    const known = names.get(id) ?? []
    if (reference !== undefined) known.push(formatReference(parseReference(reference)))
    names.set(id, known)
  }
  const asked: Asked[] = []
  for (const [id, known] of names) {
    asked.push({ image: imageOf(await readImage(paths, id), repositories), names: [...new Set(known)] })
  }
  return asked
}

async function exportable(
  store: StoreContext,
  { id, configBytes, config, chainIDs }: Image,
  names: readonly string[],
  options: SaveOptions,
): Promise<ExportImage> {
  const layers: ExportLayer[] = []
  for (const chainID of chainIDs)
    layers.push(await exportLayer(store, await readLayer(store.paths, chainID), options))
  return { id, configBytes, config, names, layers }
}

async function exportLayer(
  store: StoreContext,
  record: LayerRecord,
  options: SaveOptions,
): Promise<ExportLayer> {
  const size = await layerTarSize(store, record)
  return { diffID: record.diffID, size, open: () => counted(store, record, size, options) }
}

/** The layer's tar, with progress told as it is written. */
async function* counted(
  store: StoreContext,
  record: LayerRecord,
  total: number,
  { onProgress = () => {}, signal }: SaveOptions,
): AsyncGenerator<Buffer> {
  let done = 0
  const event = { kind: 'layer', id: record.diffID, total } as const
  for await (const chunk of layerTar(store, record, signal === undefined ? {} : { signal })) {
    done += chunk.length
    onProgress({ ...event, done, state: 'packing' })
    yield chunk
  }
  onProgress({ ...event, done, state: 'done' })
}
