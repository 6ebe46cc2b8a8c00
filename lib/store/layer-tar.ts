/** A layer's archive as it was: from its tar-split record and the files on disk. */
import type { ReadStream } from 'node:fs'
import { open } from 'node:fs/promises'
import { join } from 'node:path'
import { hasCode, OverlaidError } from '../errors.ts'
import type { Driver } from '../driver/driver.ts'
import { binding } from '../native/binding.ts'
import { verified } from '../oci/digest.ts'
import { assembleTar, measureTarSplit } from '../tar/assemble.ts'
import { type LayerRecord, TAR_SPLIT } from './layer-db.ts'
import { layerDir, type StorePaths } from './paths.ts'

/** Where layers' records and files are: a store, or another driver's part of a data root. */
export interface LayerPlace {
  readonly paths: StorePaths
  readonly driver: Pick<Driver, 'openFiles'>
}

/**
 * The uncompressed tar, byte for byte.
 * @throws ERR_DAMAGED when the record or a file is missing; ERR_DIGEST_MISMATCH at the end when the bytes are others
 */
export async function* layerTar(
  store: LayerPlace,
  { chainID, diffID, cacheID }: Pick<LayerRecord, 'chainID' | 'diffID' | 'cacheID'>,
  options: { readonly signal?: AbortSignal } = {},
): AsyncGenerator<Buffer> {
  await using files = await store.driver.openFiles(cacheID)
  const record = await openRecord(store, chainID)
  const tar = assembleTar(record, files, { crc64: (state, data) => binding.crc64(state, data), ...options })
  yield* verified(tar, { digest: diffID, what: `layer ${chainID}` })
}

/** Bytes of the uncompressed tar, without reading its files. */
export async function layerTarSize(store: LayerPlace, { chainID }: LayerRecord): Promise<number> {
  return measureTarSplit(await openRecord(store, chainID))
}

async function openRecord({ paths }: LayerPlace, chainID: LayerRecord['chainID']): Promise<ReadStream> {
  const path = join(layerDir(paths, chainID), TAR_SPLIT)
  try {
    const file = await open(path, 'r')
    return file.createReadStream()
  } catch (error) {
    if (!hasCode(error, 'ENOENT')) throw error
    throw new OverlaidError(
      'ERR_DAMAGED',
      `layer ${chainID} lost its ${TAR_SPLIT}: its archive cannot be made again`,
      {
        path,
        cause: error,
      },
    )
  }
}
