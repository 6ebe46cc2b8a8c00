/**
 * Containers on disk. A container is there exactly when `layerdb/mounts/<id>` is: moby's record of a writable layer
 * on an image's layers. What that has no place for is in a record of our own, written before; dockerd keeps its own
 * in `containers/<id>`. An entry with neither belongs to someone else: it pins its layer and is left alone. The files
 * are of a few bytes and are read in the calling thread, as claims are.
 */
import { randomBytes } from 'node:crypto'
import { mkdirSync, readFileSync, renameSync, rmdirSync, rmSync, statSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { IDMap } from '../driver/id-map.ts'
import { hasCode, OverlaidError } from '../errors.ts'
import { type Durability, fsyncDir, fsyncPath, TEMP_PREFIX, writeNewNow } from '../fs/atomic.ts'
import { failpoint } from '../fs/failpoint.ts'
import { type ChainID, type Digest, isDigest } from '../oci/digest.ts'
import { listFolder, removeFile } from './claim.ts'
import { containerFile, MODES, type StorePaths } from './paths.ts'
import type { StorageOptions } from './storage-options.ts'

/** One entry of layerdb/mounts. */
export interface MountRecord {
  /** The container's id, or whatever another user of the store calls it. */
  readonly name: string
  /** The writable layer's folder in the driver's home; undefined when the entry is damaged. */
  readonly mountID: string | undefined
  readonly initID: string | undefined
  /** The image's top layer; undefined when it has none. */
  readonly parent: ChainID | undefined
}

/** Our own record of a container. */
export interface ContainerRecord {
  readonly version: 1
  readonly id: string
  readonly name: string
  /** The image's id. */
  readonly image: Digest
  /** The image as it was named at creation. */
  readonly imageName: string
  /** RFC 3339. */
  readonly created: string
  /** The image's config as text, so that the container commits when the image is gone. */
  readonly config: string
  readonly storageOptions?: StorageOptions
  readonly idMap?: IDMap
}

/** The files of an entry of layerdb/mounts. */
const FIELDS = ['mount-id', 'init-id', 'parent'] as const

const CONTAINER_ID = /^[0-9a-f]{64}$/
/** What moby accepts. */
const MOUNT_ID = /^[0-9a-f]{64}(-init)?$/

export function isContainerID(name: string): boolean {
  return CONTAINER_ID.test(name)
}

/** All entries of layerdb/mounts, by name. */
export async function readMounts(paths: StorePaths): Promise<Map<string, MountRecord>> {
  const mounts = new Map<string, MountRecord>()
  for (const name of await listFolder(paths.mounts)) {
    const record = await findMount(paths, name)
    if (record !== undefined) mounts.set(name, record)
  }
  return mounts
}

/** The entry `name`, undefined when there is none. */
export async function findMount(paths: StorePaths, name: string): Promise<MountRecord | undefined> {
  const dir = join(paths.mounts, name)
  const [mountID, initID, parent] = FIELDS.map((field) => readField(join(dir, field)))
  if (mountID === undefined && initID === undefined && parent === undefined) return undefined
  return {
    name,
    mountID: mountID !== undefined && MOUNT_ID.test(mountID) ? mountID : undefined,
    initID: initID !== undefined && MOUNT_ID.test(initID) ? initID : undefined,
    parent: isDigest(parent) ? (parent as ChainID) : undefined,
  }
}

/** On the spot, as all of these few bytes: asking Node's thread pool for them takes several times as long. */
function readField(path: string): string | undefined {
  if (statSync(path, { throwIfNoEntry: false }) === undefined) return undefined
  try {
    return readFileSync(path, 'utf8').trim()
  } catch (error) {
    // ENOTDIR: a stray file in mounts/.
    if (hasCode(error, 'ENOENT', 'ENOTDIR')) return undefined
    throw error
  }
}

/**
 * Makes a container exist: our record first, then the entry. Both are whole and synced under other names before, so
 * that two commits of a journal do for all. The caller holds the store lock.
 */
export async function writeContainer(
  paths: StorePaths,
  record: ContainerRecord,
  mount: MountRecord & { readonly mountID: string },
  durability: Durability,
): Promise<void> {
  const unique = randomBytes(8).toString('hex')
  const file = containerFile(paths, record.id)
  const entry = join(paths.mounts, record.id)
  const temp = join(paths.containers, `${TEMP_PREFIX}${unique}`)
  const set = join(paths.layerTmp, `write-set-${unique}`)
  try {
    writeNewNow(temp, JSON.stringify(record), MODES.privateFile)
    const written = [temp, ...writeEntry(set, mount)]
    if (durability === 'full') await Promise.all(written.map(fsyncPath))
    failpoint('container.create.before-record')
    renameSync(temp, file)
    failpoint('container.create.before-rename')
    renameSync(set, entry)
    failpoint('container.create.before-sync')
    // The record's name first: one without an entry is rubbish, the reverse would be a container without a name.
    await fsyncDir(paths.containers, { durability })
    await fsyncDir(paths.mounts, { durability })
  } catch (error) {
    // The entry too: its rename may have worked and a sync after it failed.
    for (const dir of [set, entry]) await rm(dir, { recursive: true, force: true })
    for (const path of [temp, file]) removeFile(path)
    throw error
  }
}

/** Returns what is to be synced. */
function writeEntry(dir: string, { mountID, initID, parent }: MountRecord): string[] {
  const values = [mountID, initID, parent]
  mkdirSync(dir, { mode: MODES.openDir })
  const written = [dir]
  for (const [i, name] of FIELDS.entries()) {
    const value = values[i]
    if (value === undefined) continue
    writeNewNow(join(dir, name), value, MODES.openFile)
    written.push(join(dir, name))
  }
  return written
}

/**
 * Makes a container not exist. The caller holds the store lock; the driver's folders are removed after this, and a
 * crash between leaves them as orphans.
 */
export async function deleteContainer(paths: StorePaths, id: string, durability: Durability): Promise<void> {
  const gone = join(paths.layerTmp, `write-set-${randomBytes(8).toString('hex')}`)
  renameSync(join(paths.mounts, id), gone)
  await fsyncDir(paths.mounts, { durability })
  failpoint('container.remove.before-record')
  removeFile(containerFile(paths, id))
  removeEntry(gone)
}

/** Removing what may be anything takes twice as long as removing what there is as a rule. */
function removeEntry(dir: string): void {
  for (const field of FIELDS) removeFile(join(dir, field))
  try {
    rmdirSync(dir)
  } catch (error) {
    if (!hasCode(error, 'ENOTEMPTY')) throw error
    rmSync(dir, { recursive: true, force: true })
  }
}

/** Our record of a container; undefined when there is none. @throws ERR_DAMAGED */
export async function readContainerRecord(
  paths: StorePaths,
  id: string,
): Promise<ContainerRecord | undefined> {
  const path = containerFile(paths, id)
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined
    throw error
  }
  try {
    const record = JSON.parse(text) as ContainerRecord
    if (record.id === id && isDigest(record.image) && typeof record.name === 'string') return record
  } catch {
    // SyntaxError: reported below with the path.
  }
  throw new OverlaidError('ERR_DAMAGED', `the record of container ${id} does not have its form`, { path })
}
