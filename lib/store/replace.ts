/**
 * Putting a good layer in the place of a damaged or lost one. The folder's exchange and the record's are one rename
 * each, with what stands on the layer put right between: after a crash at any step the layer is there, and either
 * still counts as damaged, so that the next load does it again, or is whole.
 */
import { randomBytes } from 'node:crypto'
import { statSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { StagedLayer } from '../driver/driver.ts'
import { fsyncDir, renameDurable } from '../fs/atomic.ts'
import { failpoint } from '../fs/failpoint.ts'
import { AT_FDCWD, binding } from '../native/binding.ts'
import { RENAME } from '../native/flags.ts'
import type { CacheID, ChainID } from '../oci/digest.ts'
import type { StoreContext } from './context.ts'
import { refuseWhileMounted, removeMark } from './damaged.ts'
import { type LayerRecord, movePrepared } from './layer-db.ts'
import { layerDir } from './paths.ts'
import { mendLinks } from './scan.ts'

/** Whether something tells of the layer, if only its own folder in layerdb. */
export function isRecorded({ paths }: StoreContext, chainID: ChainID): boolean {
  return statSync(layerDir(paths, chainID), { throwIfNoEntry: false }) !== undefined
}

/**
 * Replaces. The caller holds the store lock, and empties the driver's trash after it.
 * @param prepared - folder made by prepareRecord; moved
 * @throws ERR_IN_USE while it is below something that is mounted, which would lose its files
 */
export async function replaceLayer(
  store: StoreContext,
  record: LayerRecord,
  prepared: string,
  staged: StagedLayer,
  parent: CacheID | undefined,
): Promise<void> {
  const { paths, durability } = store
  await refuseWhileMounted(store, record.chainID)
  const set = join(paths.layerTmp, `write-set-${randomBytes(8).toString('hex')}`)
  try {
    await movePrepared(prepared, set, durability)
    failpoint('layer.replace.before-folder')
    await staged.replace(record.cacheID, parent)
    failpoint('layer.replace.before-links')
    await mendLinks(store, record)
    failpoint('layer.replace.before-record')
    await putRecord(store, record.chainID, set)
    failpoint('layer.replace.before-mark')
    removeMark(paths, record.chainID)
  } finally {
    // The record that was, or the one that did not come to be.
    await rm(set, { recursive: true, force: true })
  }
}

async function putRecord(store: StoreContext, chainID: ChainID, set: string): Promise<void> {
  const { paths, durability } = store
  const dir = layerDir(paths, chainID)
  if (!isRecorded(store, chainID)) return renameDurable(set, dir, { durability })
  await binding.renameat2(AT_FDCWD, set, AT_FDCWD, dir, RENAME.RENAME_EXCHANGE)
  await fsyncDir(paths.layers, { durability })
}
