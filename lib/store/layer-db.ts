/**
 * layerdb: one folder a layer, one small file a field, as moby writes it. A layer exists when its folder has its
 * name; the folder is made whole under another name and renamed.
 */
import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { cp, mkdir, open, rename, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { hasCode, OverlaidError } from '../errors.ts'
import { type Durability, fsyncDir, renameDurable, writeNew } from '../fs/atomic.ts'
import { failpoint } from '../fs/failpoint.ts'
import {
  type CacheID,
  type ChainID,
  type DiffID,
  hexOf,
  isDigest,
  parseCacheID,
  parseChainID,
  parseDiffID,
} from '../oci/digest.ts'
import { listFolder } from './claim.ts'
import { layerDir, MODES, type StorePaths } from './paths.ts'

/** The name that tar-split data has in a layer's folder. */
export const TAR_SPLIT = 'tar-split.json.gz'

/** What layerdb says of a layer. */
export interface LayerRecord {
  readonly chainID: ChainID
  readonly diffID: DiffID
  /** Undefined for a base layer. */
  readonly parent: ChainID | undefined
  readonly cacheID: CacheID
  /** Bytes of the layer's own content, as moby counts. */
  readonly size: number
}

/** @throws ERR_LAYER_NOT_FOUND; ERR_DAMAGED when a file of it is missing or has not its form */
export async function readLayer(paths: StorePaths, chainID: ChainID): Promise<LayerRecord> {
  const record = await findLayer(paths, chainID)
  if (record === undefined) throw new OverlaidError('ERR_LAYER_NOT_FOUND', `no such layer: ${chainID}`)
  return record
}

/** As {@link readLayer}, but undefined when there is no such layer. */
export async function findLayer(paths: StorePaths, chainID: ChainID): Promise<LayerRecord | undefined> {
  const dir = layerDir(paths, chainID)
  const [diff, size, cacheID, parent] = ['diff', 'size', 'cache-id', 'parent'].map((name) =>
    readField(join(dir, name)),
  )
  // Read without a lock, the folder may have been renamed away between two files: a base layer has no `parent`.
  if (parent === undefined && !(await folderExists(dir))) return undefined
  if (diff === undefined || size === undefined || cacheID === undefined) {
    throw new OverlaidError('ERR_DAMAGED', `layer ${chainID} lacks one of its files`, { path: dir })
  }
  // Not trimmed: moby parses the raw bytes, so what it would refuse is damage here too.
  if (!/^\d{1,15}$/.test(size))
    throw new OverlaidError('ERR_DAMAGED', `the size of ${chainID} is not a number`)
  return {
    chainID,
    diffID: parseDiffID(diff.trim(), 'ERR_DAMAGED'),
    parent: parent === undefined ? undefined : parseChainID(parent.trim(), 'ERR_DAMAGED'),
    cacheID: parseCacheID(cacheID.trim()),
    size: Number(size),
  }
}

/** In the calling thread: 71 bytes at most, and a read by the pool is four turns of it. */
function readField(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined
    throw error
  }
}

async function folderExists(path: string): Promise<boolean> {
  try {
    await stat(path)
    return true
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return false
    throw error
  }
}

/** All chainIDs in layerdb, sorted. Tombstones of removals are not among them. */
export async function listChainIDs(paths: StorePaths): Promise<ChainID[]> {
  const names = await listFolder(paths.layers)
  return names.map((name) => `sha256:${name}`).filter((id): id is ChainID => isDigest(id))
}

/** All layers that can be read, by chainID. What cannot be read is passed to `onDamage`, and is check's to name. */
export async function readLayers(
  paths: StorePaths,
  onDamage: (chainID: ChainID, error: unknown) => void = () => {},
): Promise<Map<ChainID, LayerRecord>> {
  const records = new Map<ChainID, LayerRecord>()
  for (const chainID of await listChainIDs(paths)) {
    try {
      const record = await findLayer(paths, chainID)
      if (record !== undefined) records.set(chainID, record)
    } catch (error) {
      if (!hasCode(error, 'ERR_DAMAGED')) throw error
      onDamage(chainID, error)
    }
  }
  return records
}

/**
 * Writes a layer's files into the new folder `dir`, which no one looks into: what takes time, done without the lock.
 * @param tarSplit - path of the finished tar-split file, which is moved here
 */
export async function prepareRecord(
  dir: string,
  record: LayerRecord,
  tarSplit: string,
  durability: Durability,
): Promise<void> {
  const options = { durability, mode: MODES.openFile }
  await mkdir(dir, { mode: MODES.privateDir })
  await writeNew(join(dir, 'diff'), record.diffID, options)
  await writeNew(join(dir, 'size'), String(record.size), options)
  await writeNew(join(dir, 'cache-id'), record.cacheID, options)
  if (record.parent !== undefined) await writeNew(join(dir, 'parent'), record.parent, options)
  await rename(tarSplit, join(dir, TAR_SPLIT))
  if (durability === 'full') await fsyncFile(join(dir, TAR_SPLIT))
  await fsyncDir(dir, { durability })
}

/**
 * Makes a layer exist. The caller holds the store lock, and there is no such layer.
 * @param prepared - folder made by {@link prepareRecord}; moved
 * @param commitFolder - gives the driver's folder its name; what is beside it in staging may go with that
 */
export async function publishRecord(
  paths: StorePaths,
  chainID: ChainID,
  prepared: string,
  commitFolder: () => Promise<void>,
  durability: Durability,
): Promise<void> {
  const set = join(paths.layerTmp, `write-set-${randomBytes(8).toString('hex')}`)
  try {
    await movePrepared(prepared, set, durability)
    failpoint('layer.commit.before-driver')
    await commitFolder()
    failpoint('layer.commit.before-record')
    await renameDurable(set, layerDir(paths, chainID), { durability })
  } catch (error) {
    // The record too: its rename may have worked and the sync after it failed, and its folder goes now.
    for (const dir of [layerDir(paths, chainID), set]) await rm(dir, { recursive: true, force: true })
    throw error
  }
}

/** Moves a prepared record beside the others: copies where the driver's home is another file system than layerdb. */
export async function movePrepared(from: string, to: string, durability: Durability): Promise<void> {
  try {
    await rename(from, to)
  } catch (error) {
    if (!hasCode(error, 'EXDEV')) throw error
    await cp(from, to, { recursive: true })
    if (durability === 'full') for (const name of await listFolder(to)) await fsyncFile(join(to, name))
    await fsyncDir(to, { durability })
  }
}

async function fsyncFile(path: string): Promise<void> {
  const file = await open(path, 'r')
  await file.sync().finally(() => file.close())
}

/** moby's form of a tombstone: `<chainID hex>-<64 random hex>-removing`; of what is inside only `cache-id` counts. */
const TOMBSTONE = /^[0-9a-f]{64}-[0-9a-f]{64}-removing$/

/** Paths of the tombstones that a removal left, or is about to finish. */
export async function listTombstones(paths: StorePaths): Promise<string[]> {
  return (await listFolder(paths.layers))
    .filter((name) => TOMBSTONE.test(name))
    .map((name) => join(paths.layers, name))
}

/**
 * Makes a layer not exist: renames its folder to a tombstone, whose path is returned. A crash from here on leaves a
 * folder that names what is still to be removed. Not durable yet: see {@link fsyncDir} of `paths.layers`.
 */
export async function buryLayer(paths: StorePaths, chainID: ChainID): Promise<string> {
  const tombstone = join(paths.layers, `${hexOf(chainID)}-${randomBytes(32).toString('hex')}-removing`)
  await rename(layerDir(paths, chainID), tombstone)
  return tombstone
}
