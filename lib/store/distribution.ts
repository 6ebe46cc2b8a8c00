/**
 * What dockerd keeps of pulls and pushes, in its form: which blobs of which repositories a layer came as, and was
 * pushed as. A cache: a push finds here what a registry has already, and everything works without it.
 *
 *     image/<driver>/distribution/diffid-by-digest/sha256/<blob hex>        `sha256:<diffID hex>`
 *     image/<driver>/distribution/v2metadata-by-diffid/sha256/<diffID hex>  [{"Digest":…,"SourceRepository":…}, …]
 *
 * The last entry of an array is the newest; dockerd keeps 50.
 * @see moby daemon/internal/distribution/metadata
 */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import * as v from 'valibot'
import { hasCode } from '../errors.ts'
import { mkdirDurable, writeFileAtomic } from '../fs/atomic.ts'
import { failpoint } from '../fs/failpoint.ts'
import { type Digest, type DiffID, hexOf } from '../oci/digest.ts'
import { decode, digestField, maybe, parseJSON } from '../oci/json.ts'
import { MODES, type StorePaths } from './paths.ts'

/** A blob that a layer is known as. */
export interface KnownBlob {
  readonly digest: Digest
  /** `docker.io/library/alpine`. */
  readonly repository: string
}

/** A layer with the blob that it came or went as. */
export interface LayerBlobRecord {
  readonly diffID: DiffID
  readonly digest: Digest
}

interface Entry {
  readonly Digest: Digest
  readonly SourceRepository: string
  /** dockerd's proof that who pushes may read the source; ours have none, as its pulls' have none. */
  readonly HMAC?: string | undefined
}

const MAX_ENTRIES = 50
const entries: v.GenericSchema<unknown, readonly Entry[]> = v.array(
  v.object({ Digest: digestField<Digest>(), SourceRepository: v.string(), HMAC: maybe(v.string()) }),
)

const folderOf = (paths: StorePaths): string => join(paths.imageDir, 'distribution')

/** The blobs that a layer is known as, newest first. */
export async function knownBlobs(paths: StorePaths, diffID: DiffID): Promise<KnownBlob[]> {
  const known = await readEntries(metadataFile(paths, diffID))
  return known
    .map(({ Digest, SourceRepository }) => ({ digest: Digest, repository: SourceRepository }))
    .reverse()
}

/** Records the blobs of layers in a repository. The caller holds the store lock. */
export async function recordBlobs(
  paths: StorePaths,
  repository: string,
  layers: readonly LayerBlobRecord[],
): Promise<void> {
  if (layers.length > 0) await makeFolders(paths)
  for (const { diffID, digest } of layers) {
    const path = metadataFile(paths, diffID)
    const before = await readEntries(path)
    const last = before.at(-1)
    // As it is after the second pull: nothing is written.
    if (last?.Digest === digest && last.SourceRepository === repository) continue
    const entry = { Digest: digest, SourceRepository: repository }
    const others = before.filter(
      ({ Digest, SourceRepository, HMAC }) =>
        Digest !== digest || SourceRepository !== repository || HMAC !== undefined,
    )
    await writeEntry(join(folderOf(paths), 'diffid-by-digest/sha256', hexOf(digest)), diffID)
    await writeEntry(path, JSON.stringify([...others, entry].slice(-MAX_ENTRIES)))
  }
}

function metadataFile(paths: StorePaths, diffID: DiffID): string {
  return join(folderOf(paths), 'v2metadata-by-diffid/sha256', hexOf(diffID))
}

/** Not synced: what a power cut takes of a cache is made again, and the store lock is not held for it. */
const durability = 'none'

async function makeFolders(paths: StorePaths): Promise<void> {
  const folder = folderOf(paths)
  await mkdirDurable(folder, { mode: MODES.privateDir, durability })
  for (const name of ['diffid-by-digest', 'v2metadata-by-diffid']) {
    for (const path of [join(folder, name), join(folder, name, 'sha256')])
      await mkdirDurable(path, { mode: MODES.openDir, durability })
  }
}

async function writeEntry(path: string, text: string): Promise<void> {
  const beforeRename = () => failpoint('distribution.write.before-rename')
  await writeFileAtomic(path, text, { mode: MODES.openFile, durability, beforeRename })
}

/** None where there is no file, or one without its form: what is lost with it is time. */
async function readEntries(path: string): Promise<readonly Entry[]> {
  try {
    return decode(entries, parseJSON(await readFile(path), path), path)
  } catch (error) {
    if (hasCode(error, 'ENOENT', 'ERR_BAD_MANIFEST', 'ERR_LIMIT_EXCEEDED')) return []
    throw error
  }
}
