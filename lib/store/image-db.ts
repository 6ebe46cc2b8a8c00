/** imagedb: the configs of images, byte for byte, each under the digest of its bytes; and what moby notes of them. */
import { readFileSync } from 'node:fs'
import { mkdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { hasCode, OverlaidError } from '../errors.ts'
import { type Durability, fsyncDir, writeFileAtomic } from '../fs/atomic.ts'
import { failpoint } from '../fs/failpoint.ts'
import { chainIDs } from '../oci/chain-id.ts'
import { type ImageConfig, parseConfig } from '../oci/config.ts'
import { checkDigest, type ChainID, type Digest, digestOf, hexOf, isDigest } from '../oci/digest.ts'
import { listFolder, removeFile } from './claim.ts'
import { imageFile, MODES, type StorePaths } from './paths.ts'

/** An image's config as it is on disk, verified. */
export interface ImageRecord {
  readonly id: Digest
  readonly configBytes: Buffer
  readonly config: ImageConfig
}

/** All image ids, sorted. */
export async function listImageIDs(paths: StorePaths): Promise<Digest[]> {
  const names = await listFolder(paths.imageContent)
  return names.map((name) => `sha256:${name}`).filter((id): id is Digest => isDigest(id))
}

/** @throws as {@link expectImage}; ERR_BAD_MANIFEST when the config is not one */
export async function readImage(paths: StorePaths, id: Digest): Promise<ImageRecord> {
  const configBytes = expectImage(paths, id)
  return { id, configBytes, config: parseConfig(configBytes, `the image config ${imageFile(paths, id)}`) }
}

/** Returns the config's bytes. @throws ERR_IMAGE_NOT_FOUND; ERR_DIGEST_MISMATCH when they are damaged */
export function expectImage(paths: StorePaths, id: Digest): Buffer {
  const path = imageFile(paths, id)
  const configBytes = readConfig(path)
  if (configBytes === undefined) throw new OverlaidError('ERR_IMAGE_NOT_FOUND', `no such image: ${id}`)
  checkDigest(digestOf(configBytes), id, `the image config ${path}`)
  return configBytes
}

/** In the calling thread: a config is a few kB, and a read by the pool is four turns of it. */
function readConfig(path: string): Buffer | undefined {
  try {
    return readFileSync(path)
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined
    throw error
  }
}

/** All images that can be read. What cannot be is passed to `onDamage`. */
export async function readImages(
  paths: StorePaths,
  onDamage: (id: Digest, error: unknown) => void = () => {},
): Promise<ImageRecord[]> {
  const records: ImageRecord[] = []
  for (const id of await listImageIDs(paths)) {
    try {
      records.push(await readImage(paths, id))
    } catch (error) {
      if (
        !hasCode(
          error,
          'ERR_IMAGE_NOT_FOUND',
          'ERR_DIGEST_MISMATCH',
          'ERR_BAD_MANIFEST',
          'ERR_LIMIT_EXCEEDED',
        )
      ) {
        throw error
      }
      // Not found: removed since the folder was listed.
      if (!hasCode(error, 'ERR_IMAGE_NOT_FOUND')) onDamage(id, error)
    }
  }
  return records
}

/** The chainID of the image's top layer; undefined for an image without layers. */
export function topChainID(config: ImageConfig): ChainID | undefined {
  return chainIDs(config.rootfs.diff_ids).at(-1)
}

/** Writes an image's config; its id is returned. The caller holds the store lock, and its layers are there. */
export async function writeImage(
  paths: StorePaths,
  configBytes: Buffer,
  durability: Durability,
): Promise<Digest> {
  const id = digestOf(configBytes)
  const beforeRename = () => failpoint('image.write.before-rename')
  await writeFileAtomic(imageFile(paths, id), configBytes, {
    mode: MODES.privateFile,
    durability,
    beforeRename,
  })
  return id
}

/** Forgets an image's config and what is noted of it. The config goes first: notes of no image are rubbish. */
export async function deleteImage(paths: StorePaths, id: Digest, durability: Durability): Promise<void> {
  removeFile(imageFile(paths, id))
  await fsyncDir(paths.imageContent, { durability })
  failpoint('image.delete.before-metadata')
  await rm(join(paths.imageMetadata, hexOf(id)), { recursive: true, force: true })
}

/** What moby notes beside a config. `parent` is the image that a commit was made from. */
export type ImageNote = 'parent' | 'lastUpdated' | 'builtLocally'

export async function readNote(paths: StorePaths, id: Digest, note: ImageNote): Promise<string | undefined> {
  const bytes = readConfig(join(paths.imageMetadata, hexOf(id), note))
  return bytes?.toString().trim()
}

/** Overwrites a note. The caller holds the store lock. */
export async function writeNote(
  paths: StorePaths,
  id: Digest,
  note: ImageNote,
  value: string,
  durability: Durability,
): Promise<void> {
  const dir = join(paths.imageMetadata, hexOf(id))
  await mkdir(dir, { recursive: true, mode: MODES.privateDir })
  await writeFileAtomic(join(dir, note), value, { mode: MODES.privateFile, durability })
}

/** The images that were committed from `parent`. */
export async function childImages(paths: StorePaths, parent: Digest): Promise<Digest[]> {
  const children: Digest[] = []
  for (const id of await listImageIDs(paths)) {
    if ((await readNote(paths, id, 'parent')) === parent) children.push(id)
  }
  return children
}
