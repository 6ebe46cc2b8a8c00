/** Loading: the images of a source become images of the store, or nothing changes. */
import { hasCode, OverlaidError } from '../errors.ts'
import { chainIDs } from '../oci/chain-id.ts'
import { type ChainID, type DiffID, type Digest, digestOf } from '../oci/digest.ts'
import { familiar, parseReference } from '../oci/reference.ts'
import { setReference } from '../oci/repositories.ts'
import { type ByteStream, tapped } from '../tar/byte-source.ts'
import type { ImageSource, SourceImage, SourceLayer } from '../transfer/source.ts'
import type { StoreContext } from './context.ts'
import { findGoodLayer, listParents } from './damaged.ts'
import { type LayerBlobRecord, recordBlobs } from './distribution.ts'
import { deleteImage, listImageIDs, writeImage } from './image-db.ts'
import type { LoadOptions, LoadReport } from './image-store.ts'
import { tellCost } from './layer-cost.ts'
import { type LayerRecord, readLayers } from './layer-db.ts'
import { layerTar } from './layer-tar.ts'
import { type Lease, takeLease } from './lease.ts'
import type { OnProgress } from './progress.ts'
import { readReferences, writeReferences } from './references.ts'
import { registerLayers, type WantedLayer } from './register.ts'
import { releaseChain } from './release.ts'

/** A layer of the images to load, once however many of them have it. */
interface PlannedLayer {
  readonly chainID: ChainID
  readonly parent: ChainID | undefined
  readonly source: SourceLayer
  readonly what: string
  images: number
}

/** A load from elsewhere than this machine: what is in the store already is worth looking for, and keeping. */
export interface RemoteLoad extends LoadOptions {
  /** Where the blobs are from: `docker.io/library/alpine`. */
  readonly repository?: string
}

/** Failures of the way, not of what came by it. */
const INTERRUPTIONS = ['ERR_UNREACHABLE', 'ERR_REGISTRY', 'ERR_UNAUTHORIZED'] as const

/**
 * Loads all images of `source`. A name that another image had moves to the new one. A load from a repository that is
 * interrupted leaves the layers that it finished: the next one goes on from there, or gc removes them.
 * @throws ERR_DIGEST_MISMATCH and what reading archives throws: then no image, name or layer is there that was not
 *   before
 */
export async function loadImages(
  store: StoreContext,
  source: ImageSource,
  options: RemoteLoad = {},
): Promise<LoadReport> {
  const planned = plan(source.images)
  const { repository } = options
  const isRemote = repository !== undefined
  const signal = options.signal === undefined ? {} : { signal: options.signal }
  const leased = await store.locked(() => leaseLayers(store, [...planned.values()], isRemote), signal)
  const { lease, present } = leased
  const added = new Set<ChainID>()
  try {
    const wanted = wantedLayers(store, [...planned.values()], leased, options.onProgress)
    await registerLayers(store, wanted, added, {
      ...options,
      inTurn: isRemote,
      onDone: (layer) => tellDone(layer, options.onProgress),
    })
    await tellCost(store, added)
    const images = await store.locked(() => recordImages(store, source.images, repository), signal)
    return { images, layers: countLayers(planned, present, added) }
  } catch (error) {
    const isInterrupted = options.signal?.aborted === true || hasCode(error, ...INTERRUPTIONS)
    if (!isRemote || !isInterrupted) await undo(store, lease, added)
    throw error
  } finally {
    lease.drop()
  }
}

/** All layers of all images by chainID, parents before children. */
function plan(images: readonly SourceImage[]): Map<ChainID, PlannedLayer> {
  const planned = new Map<ChainID, PlannedLayer>()
  for (const image of images) {
    const ids = chainIDs(image.layers.map((layer) => layer.diffID))
    for (const [index, source] of image.layers.entries()) {
      const id = ids[index] as ChainID
      const what = `layer ${String(index + 1)} of ${image.names[0] ?? 'the image'}`
      const layer = planned.get(id) ?? { chainID: id, parent: ids[index - 1], source, what, images: 0 }
      layer.images++
      planned.set(id, layer)
    }
  }
  return planned
}

interface Leased {
  readonly lease: Lease
  /** Layers that need no unpacking. */
  readonly present: ReadonlySet<ChainID>
  /** What the store's layers and containers stand on. */
  readonly stoodOn: ReadonlySet<ChainID>
  /** Of layers that are missing, those with the same tar on other layers. */
  readonly copies: ReadonlyMap<DiffID, LayerRecord>
}

/** Takes the lease, and finds the layers that are there: from now on nobody removes those. */
async function leaseLayers(
  store: StoreContext,
  layers: readonly PlannedLayer[],
  isRemote: boolean,
): Promise<Leased> {
  const present = new Set<ChainID>()
  for (const { chainID } of layers) {
    if ((await findGoodLayer(store, chainID)) !== undefined) present.add(chainID)
  }
  const missing = layers.filter(({ chainID }) => !present.has(chainID))
  const copies = isRemote ? await findCopies(store, missing) : new Map<DiffID, LayerRecord>()
  const stoodOn = await listParents(store.paths)
  const needed = [...layers, ...copies.values()].map(({ chainID }) => chainID)
  const lease = await takeLease(store.paths, { chainIDs: needed, driverIDs: [] })
  return { lease, present, stoodOn, copies }
}

async function findCopies(
  store: StoreContext,
  missing: readonly PlannedLayer[],
): Promise<Map<DiffID, LayerRecord>> {
  const copies = new Map<DiffID, LayerRecord>()
  if (missing.length === 0) return copies
  const wanted = new Set(missing.map(({ source }) => source.diffID))
  for (const { chainID, diffID } of (await readLayers(store.paths)).values()) {
    if (!wanted.has(diffID) || copies.has(diffID)) continue
    const good = await findGoodLayer(store, chainID)
    if (good !== undefined) copies.set(diffID, good)
  }
  return copies
}

function wantedLayers(
  store: StoreContext,
  layers: readonly PlannedLayer[],
  { present, stoodOn, copies }: Omit<Leased, 'lease'>,
  onProgress: OnProgress = () => {},
): WantedLayer[] {
  for (const { chainID, source } of layers) {
    const total = source.size === undefined ? {} : { total: source.size }
    const state = present.has(chainID) ? 'exists' : 'waiting'
    onProgress({ kind: 'layer', id: source.diffID, done: 0, ...total, state })
  }
  return layers
    .filter(({ chainID }) => !present.has(chainID))
    .map(({ chainID, parent, source, what }) => ({
      chainID,
      parent,
      what,
      isStoodOn: stoodOn.has(chainID),
      diffID: source.diffID,
      open: (signal) => counted(source, signal, onProgress),
      copy: copyOf(store, copies.get(source.diffID)),
    }))
}

/** The tar of a layer that the load's lease keeps. */
function copyOf(store: StoreContext, record: LayerRecord | undefined): WantedLayer['copy'] {
  return record === undefined ? undefined : (signal) => layerTar(store, record, { signal })
}

/** The blob, with progress told as it is read. */
function counted(source: SourceLayer, signal: AbortSignal, onProgress: OnProgress): ByteStream {
  const total = source.size === undefined ? {} : { total: source.size }
  let done = 0
  return tapped(source.open(signal), (bytes) => {
    done += bytes
    onProgress({ kind: 'layer', id: source.diffID, done, ...total, state: 'unpacking' })
  })
}

function tellDone({ diffID }: WantedLayer, onProgress: OnProgress = () => {}): void {
  onProgress({ kind: 'layer', id: diffID, done: 1, total: 1, state: 'done' })
}

/** The commit point of a load: configs, then all names at once. The caller holds the store lock. */
async function recordImages(
  store: StoreContext,
  images: readonly SourceImage[],
  repository: string | undefined,
): Promise<LoadReport['images']> {
  const { paths, durability } = store
  if (repository !== undefined) await recordBlobs(paths, repository, images.flatMap(blobsOf))
  const before = new Set(await listImageIDs(paths))
  const written: Digest[] = []
  try {
    for (const { configBytes } of images) {
      written.push(digestOf(configBytes))
      await writeImage(paths, configBytes, durability)
    }
    const named = images.flatMap(({ names }, index) =>
      names.map((name) => ({ name, id: written[index] as Digest })),
    )
    await addNames(store, named)
  } catch (error) {
    // Before the layers are taken back: an image without its layers would be damage.
    for (const id of written) if (!before.has(id)) await deleteImage(paths, id, durability)
    throw error
  }
  return images.map(({ names }, index) => ({
    id: written[index] as Digest,
    names: names.map((name) => familiar(parseReference(name))),
  }))
}

function blobsOf({ layers }: SourceImage): LayerBlobRecord[] {
  return layers.flatMap(({ diffID, digest }) => (digest === undefined ? [] : [{ diffID, digest }]))
}

async function addNames(
  { paths, durability }: StoreContext,
  named: readonly { readonly name: string; readonly id: Digest }[],
): Promise<void> {
  if (named.length === 0) return
  const repositories = await readReferences(paths)
  for (const { name, id } of named) setReference(repositories, parseReference(name), id)
  await writeReferences(paths, repositories, durability)
}

/** Distinct layers; `shared` were in the store before, or are in several of the images. */
function countLayers(
  planned: ReadonlyMap<ChainID, PlannedLayer>,
  present: ReadonlySet<ChainID>,
  added: ReadonlySet<ChainID>,
): LoadReport['layers'] {
  const shared = [...planned.values()].filter(
    ({ chainID, images }) => images > 1 || present.has(chainID) || !added.has(chainID),
  )
  return { total: planned.size, added: added.size, shared: shared.length }
}

/** Takes back the layers that a failed load added, unless someone came to need them meanwhile. */
async function undo(store: StoreContext, lease: Lease, added: ReadonlySet<ChainID>): Promise<void> {
  try {
    await store.locked(async () => {
      lease.drop()
      for (const id of [...added].reverse()) await releaseChain(store, id, added)
    })
    await store.driver.emptyTrash()
  } catch (error) {
    // The load's own error is the one to report; what stays are layers without an image, which gc removes.
    const reason = error instanceof OverlaidError ? error.message : String(error)
    store.warn(`could not take back the layers of a failed load: ${reason}`)
  }
}
