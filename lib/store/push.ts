/** Pushing: an image of the store into the repository that its name says, with what is there already left alone. */
import pLimit from 'p-limit'
import { hasCode } from '../errors.ts'
import type { Digest, DiffID } from '../oci/digest.ts'
import { familiar, familiarName, nameOf, parseReference, type Reference } from '../oci/reference.ts'
import { setReference } from '../oci/repositories.ts'
import { RegistryTarget, type SentLayer } from '../transfer/registry/target.ts'
import type { StoreContext } from './context.ts'
import { type KnownBlob, knownBlobs, recordBlobs } from './distribution.ts'
import { findImage } from './image-find.ts'
import { parseTag } from './image-name.ts'
import type { Image, PushOptions, PushReport } from './image-store.ts'
import { type LayerRecord, readLayer } from './layer-db.ts'
import { layerTar, layerTarSize } from './layer-tar.ts'
import { withImages } from './reading-lease.ts'
import { readReferences, writeReferences } from './references.ts'

/** Layers compressed and sent at once: compression takes a processor each. */
const CONCURRENCY = 3
/** Blobs of one layer that a registry is asked for before it is sent. */
const MAX_CANDIDATES = 4

interface Push {
  readonly store: StoreContext
  readonly target: RegistryTarget
  readonly reference: Reference
  readonly options: PushOptions
}

/** Pushes. @throws see Images.push */
export async function pushImage(store: StoreContext, ref: string, options: PushOptions): Promise<PushReport> {
  const reference = parseTag(ref)
  const image = await findImage(store, familiar(reference))
  using target = new RegistryTarget(reference, options)
  const push = { store, target, reference, options }
  const reports = withImages(store, [image], async function* () {
    yield await pushLayers(push, image)
  })
  let report: PushReport | undefined
  for await (const done of reports) report = done
  return report as PushReport
}

async function pushLayers({ store, target, reference, options }: Push, image: Image): Promise<PushReport> {
  const { signal } = options
  const push = { store, target, reference, options }
  const records = await Promise.all(image.chainIDs.map((id) => readLayer(store.paths, id)))
  const distinct = new Map(records.map((record) => [record.diffID, record]))
  const stop = new AbortController()
  const any = signal === undefined ? stop.signal : AbortSignal.any([stop.signal, signal])
  const limit = pLimit(CONCURRENCY)
  const work = [...distinct.values()].map((record) => limit(() => pushLayer(push, record, any)))
  const pushed = await allOrNone(work, stop)
  const byDiffID = new Map(pushed.map((layer) => [layer.diffID, layer]))
  const layers = records.map(({ diffID }) => byDiffID.get(diffID) as PushedLayer)
  const { tag = '' } = reference
  const digest = await target.finish(image.configBytes, layers, tag, signal)
  await record(store, reference, { id: image.id, digest, layers })
  const sent = pushed.filter(({ isSent }) => isSent).length
  return { name: familiar(reference), digest, layers: { total: distinct.size, sent } }
}

/** As Promise.all, but the first failure stops the others, and they have ended when it is thrown. */
async function allOrNone<T>(work: readonly Promise<T>[], stop: AbortController): Promise<T[]> {
  try {
    return await Promise.all(work)
  } catch (error) {
    stop.abort(error)
    await Promise.allSettled(work)
    throw error
  }
}

interface PushedLayer extends SentLayer {
  readonly diffID: DiffID
  /** By us, now. */
  readonly isSent: boolean
}

async function pushLayer(push: Push, record: LayerRecord, signal: AbortSignal): Promise<PushedLayer> {
  signal.throwIfAborted()
  const { onProgress = () => {} } = push.options
  const { diffID } = record
  const there = await findThere(push, diffID, signal)
  if (there !== undefined) {
    onProgress({ kind: 'layer', id: diffID, done: there.size, total: there.size, state: 'exists' })
    return { ...there, diffID, isSent: false }
  }
  const total = await layerTarSize(push.store, record)
  const sent = await push.target.send(() => counted(push, record, total, signal), `layer ${diffID}`, signal)
  onProgress({ kind: 'layer', id: diffID, done: total, total, state: 'done' })
  return { ...sent, diffID, isSent: true }
}

/** The layer's tar, with progress told as it goes. */
async function* counted(
  { store, options: { onProgress = () => {} } }: Push,
  record: LayerRecord,
  total: number,
  signal: AbortSignal,
): AsyncGenerator<Buffer> {
  let done = 0
  for await (const chunk of layerTar(store, record, { signal })) {
    done += chunk.length
    onProgress({ kind: 'layer', id: record.diffID, done, total, state: 'pushing' })
    yield chunk
  }
}

/** The layer as a blob that it is known as, where the repository has that or another can give it. */
async function findThere(
  { store, target, reference }: Push,
  diffID: DiffID,
  signal: AbortSignal,
): Promise<SentLayer | undefined> {
  const known = (await knownBlobs(store.paths, diffID)).filter(({ repository }) =>
    isIn(reference, repository),
  )
  const candidates = [...new Map(known.map((blob) => [blob.digest, blob])).values()].slice(0, MAX_CANDIDATES)
  for (const { digest } of candidates) {
    const found = await target.find(digest, signal)
    if (found !== undefined) return found
  }
  const own = nameOf(reference)
  for (const { digest, repository } of candidates.filter((blob) => blob.repository !== own)) {
    const mounted = await target.mount(digest, parseReference(repository).path, signal)
    if (mounted !== undefined) return mounted
  }
  return undefined
}

function isIn({ domain }: Reference, repository: KnownBlob['repository']): boolean {
  return repository.startsWith(`${domain}/`)
}

/** Notes what the repository has now, and that the image has the manifest's digest for a name. */
async function record(
  store: StoreContext,
  reference: Reference,
  {
    id,
    digest,
    layers,
  }: { readonly id: Digest; readonly digest: Digest; readonly layers: readonly PushedLayer[] },
): Promise<void> {
  if (store.readOnly) return
  const write = async () => {
    const { paths, durability } = store
    await recordBlobs(paths, nameOf(reference), layers)
    const repositories = await readReferences(paths)
    setReference(repositories, parseReference(`${familiarName(reference)}@${digest}`), id)
    await writeReferences(paths, repositories, durability)
  }
  try {
    await store.locked(write)
  } catch (error) {
    // The image is pushed; beside a dockerd nothing is noted.
    if (!hasCode(error, 'ERR_STORE_LOCKED')) throw error
  }
}
