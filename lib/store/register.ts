/**
 * Registering layers: several unpack at once (unpack.ts), then each becomes a layer of the store in order, parents
 * first, by a rename under the store lock.
 */
import { randomBytes } from 'node:crypto'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import pLimit from 'p-limit'
import { hasCode } from '../errors.ts'
import { failpoint } from '../fs/failpoint.ts'
import { chainID } from '../oci/chain-id.ts'
import { type CacheID, type ChainID, type DiffID, hexOf } from '../oci/digest.ts'
import type { ByteStream } from '../tar/byte-source.ts'
import type { TarLimits } from '../tar/entry.ts'
import { removeFile } from './claim.ts'
import type { StoreContext } from './context.ts'
import { findGoodLayer, findReadable } from './damaged.ts'
import { type LayerRecord, prepareRecord, publishRecord, readLayer } from './layer-db.ts'
import { withLock } from './lock.ts'
import { isRecorded, replaceLayer } from './replace.ts'
import { discardQuietly, type UnpackedLayer, unpackLayer } from './unpack.ts'

/** More than four gain nothing: a layer's chain of decompression, hashing and writing is bound to one processor. */
export const DEFAULT_CONCURRENCY: number = Math.min(4, availableParallelism())

/** A layer that the store lacks, and where its blob is. */
export interface WantedLayer {
  readonly chainID: ChainID
  readonly diffID: DiffID
  readonly parent: ChainID | undefined
  /** Others stand on it already: it was lost, and its place in the driver's links is to be told anew. */
  readonly isStoodOn: boolean
  /** For messages. */
  readonly what: string
  readonly open: (signal: AbortSignal) => ByteStream
  /** The same tar out of the store itself, where it has it on other layers: tried first. */
  readonly copy?: ((signal: AbortSignal) => ByteStream) | undefined
}

export interface RegisterOptions {
  readonly concurrency?: number
  readonly limits?: TarLimits
  /** Waits for another process that makes the same layer, rather than make it too: getting a blob costs more. */
  readonly inTurn?: boolean | undefined
  /** A layer is in the store now. */
  readonly onDone?: (layer: WantedLayer) => void
  readonly signal?: AbortSignal
}

/**
 * Registers `layers`, parents before children; a parent that is not among them is in the store, kept by the
 * caller's lease. On an error or abort the rest stops, staged folders are discarded, and what was registered stays:
 * `added` tells the caller what to undo.
 * @param added - filled with the chainIDs that this call made, as they come to be
 */
export async function registerLayers(
  store: StoreContext,
  layers: readonly WantedLayer[],
  added: Set<ChainID>,
  options: RegisterOptions = {},
): Promise<void> {
  const stop = new AbortController()
  const signal = options.signal === undefined ? stop.signal : AbortSignal.any([stop.signal, options.signal])
  // First come, first served: a parent never waits behind its children.
  const limit = pLimit(options.concurrency ?? DEFAULT_CONCURRENCY)
  const registered = new Map<ChainID, Promise<LayerRecord>>()
  const { limits } = options
  let failure: { readonly error: unknown } | undefined
  const lost = layers.filter(({ isStoodOn }) => isStoodOn)
  for (const layer of layers) {
    const parent = layer.parent === undefined ? undefined : registered.get(layer.parent)
    // What is between them may be there already, and cannot be looked at until these are.
    const below = lost.flatMap(({ chainID }) => registered.get(chainID) ?? [])
    const make = () => {
      const unpacking = limit(() => unpack(store, layer, { ...(limits !== undefined && { limits }), signal }))
      return commitInOrder(store, layer, unpacking, { parent, below }, added, signal)
    }
    const done = options.inTurn === true ? inTurn(store, layer, make, signal) : make()
    registered.set(layer.chainID, done)
    done.then(
      () => options.onDone?.(layer),
      (error: unknown) => {
        // The first is the cause; those after it are aborts that it led to.
        failure ??= { error }
        stop.abort(error)
      },
    )
  }
  await Promise.allSettled(registered.values())
  if (failure !== undefined) throw failure.error
}

/** Between two looks at whether another process is done with a layer, in ms. */
const TURN_PAUSE = 100

/** Makes a layer unless somebody has made it meanwhile; of those who want to, one at a time does. */
async function inTurn(
  store: StoreContext,
  { chainID: id }: WantedLayer,
  make: () => Promise<LayerRecord>,
  signal: AbortSignal,
): Promise<LayerRecord> {
  const path = join(store.paths.locks, `layer-${hexOf(id)}`)
  const once = async () => {
    try {
      return (await findGoodLayer(store, id)) ?? (await make())
    } finally {
      // By who has it locked: whoever else waits for it makes a new one, see lock.ts.
      removeFile(path)
    }
  }
  return withLock(path, once, signal, TURN_PAUSE)
}

async function unpack(
  store: StoreContext,
  { what, diffID, open, copy }: WantedLayer,
  options: { readonly limits?: TarLimits; readonly signal: AbortSignal },
): Promise<UnpackedLayer> {
  const { signal } = options
  signal.throwIfAborted()
  try {
    if (copy !== undefined)
      return await unpackLayer(store, copy(signal), { what, expected: diffID, ...options })
  } catch (error) {
    if (!hasCode(error, 'ERR_DAMAGED', 'ERR_DIGEST_MISMATCH')) throw error
    store.warn(`${what} is in the store, but damaged there: it is fetched again`)
  }
  return unpackLayer(store, open(signal), { what, expected: diffID, ...options })
}

async function commitInOrder(
  store: StoreContext,
  layer: WantedLayer,
  unpacking: Promise<UnpackedLayer>,
  {
    parent,
    below,
  }: { readonly parent: Promise<LayerRecord> | undefined; readonly below: readonly Promise<unknown>[] },
  added: Set<ChainID>,
  signal: AbortSignal,
): Promise<LayerRecord> {
  const unpacked = await unpacking
  try {
    await Promise.all(below)
    const under = parent === undefined ? await recordOf(store, layer.parent) : await parent
    signal.throwIfAborted()
    const { record, isNew } = await commitLayer(store, unpacked, under, { ...layer, signal })
    if (isNew) added.add(record.chainID)
    return record
  } catch (error) {
    await discardQuietly(store, unpacked.staged)
    throw error
  }
}

async function recordOf(store: StoreContext, id: ChainID | undefined): Promise<LayerRecord | undefined> {
  return id === undefined ? undefined : readLayer(store.paths, id)
}

/**
 * Makes an unpacked layer a layer of the store on `parent`, which is kept by a lease. What is already there stays as
 * it is, and the unpacked one is discarded.
 */
export async function commitLayer(
  store: StoreContext,
  unpacked: UnpackedLayer,
  parent: LayerRecord | undefined,
  {
    isStoodOn = false,
    signal,
  }: { readonly isStoodOn?: boolean; readonly signal?: AbortSignal | undefined } = {},
): Promise<{ readonly record: LayerRecord; readonly isNew: boolean }> {
  const { durability } = store
  const { staged, diffID } = unpacked
  const id = chainID(parent?.chainID, diffID)
  // What is slow in settling, and the sync of all the data, happens here: the lock is for renames.
  const size = await staged.settle(parent?.cacheID)
  // One that is there and not good is replaced under its own name: other records tell of it.
  const cacheID = (await findReadable(store, id))?.cacheID ?? newCacheID()
  const record: LayerRecord = { chainID: id, diffID, parent: parent?.chainID, cacheID, size }
  const prepared = join(staged.path, 'record')
  await prepareRecord(prepared, record, unpacked.tarSplit, durability)
  failpoint('layer.commit.prepared')
  let isReplaced = false
  const commit = async () => {
    const existing = await findGoodLayer(store, id)
    if (existing !== undefined) return existing
    isReplaced = isStoodOn || isRecorded(store, id)
    if (isReplaced) await replaceLayer(store, record, prepared, staged, parent?.cacheID)
    else await publish(store, record, prepared, () => staged.commit(cacheID, parent?.cacheID))
    return record
  }
  const committed = await store.locked(commit, signal === undefined ? {} : { signal })
  if (committed !== record) await staged.discard()
  if (isReplaced) await store.driver.emptyTrash()
  return { record: committed, isNew: committed === record }
}

async function publish(
  { paths, driver, durability }: StoreContext,
  record: LayerRecord,
  prepared: string,
  commitFolder: () => Promise<void>,
): Promise<void> {
  let hasFolder = false
  try {
    const commit = async () => {
      await commitFolder()
      hasFolder = true
    }
    await publishRecord(paths, record.chainID, prepared, commit, durability)
  } catch (error) {
    if (hasFolder) await driver.remove(record.cacheID)
    throw error
  }
}

/** 64 random hex digits, as moby's stringid makes them. */
export function newCacheID(): CacheID {
  return randomBytes(32).toString('hex') as CacheID
}
