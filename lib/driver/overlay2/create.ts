/**
 * An empty layer: a container's, or one that a caller fills by hand. What a crash after each step leaves:
 *
 *     <parent>/committed written                            nothing: the parent just stays read-only
 *     staging/<x>.new/ made                                 rubbish: the folder, for whoever finds it
 *     its project and that one's limit set, when it has one rubbish, and a limit of nothing (../home/project-quota.ts)
 *     diff/, work/, lower, link made in it                  rubbish, as before
 *     its files and folders synced (durability full)
 *     l/<link> made, pointing to where the layer will be    rubbish: a dangling link
 *     staging/<x>.new → <id>, the home synced               the layer is there, whole
 *
 * The folder has no lock, since it is there for less than a lock would take: a collector may set it aside at any step,
 * by one rename, and then it is made again. All is done in the calling thread, as in links.ts: these are a dozen calls
 * of some µs that wait for no data, and a turn of the pool for each would cost more than all of them. Syncs wait for
 * the disk and go to the pool, as do quotas.
 */
import { chownSync, readdirSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { hasCode, OverlaidError } from '../../errors.ts'
import { fsyncDir, fsyncPath, mkdirExactly, writeNewNow } from '../../fs/atomic.ts'
import { failpoint } from '../../fs/failpoint.ts'
import type { ReadWriteOptions } from '../driver.ts'
import type { Home } from '../home/home.ts'
import { expectLimits, limitFolder } from '../home/project-quota.ts'
import { formatIDMap, readIDMap } from '../home/id-map-file.ts'
import { expectIDMap, hostID, type IDMap } from '../id-map.ts'
import { folderOf, type LayerFolder, layerFolder, LINK_DIR, MODES } from './layout.ts'
import { existingFolder, layerExists, makeLink, newLinkName } from './links.ts'
import { alreadyThere, asTaken, lowerOver, markCommitted } from './publish.ts'
import { newUnlockedPath } from '../home/staging-folder.ts'

/** How often collectors may get in the way: one looks 16 times a run at most, and rarely sees what is there so shortly. */
const ATTEMPTS = 32

/**
 * Makes the empty layer `id`, which may be limited in size.
 * @throws ERR_ALREADY_EXISTS, ERR_LAYER_NOT_FOUND (parent), ERR_CHAIN_TOO_DEEP, ERR_UNSUPPORTED_FS (size)
 */
export async function createLayer(
  { path, durability }: Home,
  id: string,
  parent: string | undefined,
  options: ReadWriteOptions = {},
): Promise<void> {
  const { size, idMap, sync = true } = options
  const home: Home = { path, durability: sync ? durability : 'none' }
  if (idMap !== undefined) expectIDMap(idMap)
  if (layerExists(home.path, id)) throw alreadyThere(id)
  const below = parent === undefined ? undefined : existingFolder(home.path, parent)
  const lower = below === undefined ? undefined : lowerOver(below)
  if (below !== undefined && readIDMap(below.idMap) !== undefined) throw onMapped(id, below)
  if (size !== undefined) await expectLimits(home.path, size)
  if (below !== undefined) {
    failpoint('driver.create.before-parent-committed')
    await markCommitted(below, home)
  }
  for (let attempt = 1; ; attempt++) {
    try {
      return await attemptToCreate(home, id, lower, options)
    } catch (error) {
      if (!hasCode(error, 'ENOENT') || attempt === ATTEMPTS) throw error
    }
  }
}

/** @throws ENOENT when a collector took the folder away */
async function attemptToCreate(
  home: Home,
  id: string,
  lower: string | undefined,
  { size, idMap }: ReadWriteOptions,
): Promise<void> {
  const layer = layerFolder(newUnlockedPath(home.path))
  const link = newLinkName()
  try {
    mkdirExactly(layer.dir, MODES.layer)
    // Before there is anything in it: what is made in it from then on belongs to its project.
    if (size !== undefined) await limitFolder(home.path, layer.dir, size)
    fill(layer, link, lower, idMap)
    if (home.durability === 'full') await syncFolder(layer)
    await publish(home, layer, link, id)
  } catch (error) {
    rmSync(layer.dir, { recursive: true, force: true })
    throw error
  }
  failpoint('driver.create.before-sync')
  await fsyncDir(home.path, home)
}

function fill(layer: LayerFolder, link: string, lower: string | undefined, idMap: IDMap | undefined): void {
  mkdirExactly(layer.diff, MODES.diff)
  if (lower !== undefined) {
    mkdirExactly(layer.work, MODES.work)
    writeNewNow(layer.lower, lower, MODES.lower)
  }
  if (idMap !== undefined) {
    writeIDMap(layer, idMap, lower === undefined ? [layer.diff] : [layer.diff, layer.work])
  }
  failpoint('driver.create.before-link-file')
  writeNewNow(layer.link, link, MODES.link)
}

/** Writes the map down, and gives `folders`, which are not mapped themselves, to the container's root. */
function writeIDMap(layer: LayerFolder, idMap: IDMap, folders: readonly string[]): void {
  writeNewNow(layer.idMap, formatIDMap(idMap), MODES.idMap)
  const [uid, gid] = [hostID(idMap.uid, 0) ?? 0, hostID(idMap.gid, 0) ?? 0]
  for (const path of folders) chownSync(path, uid, gid)
}

/** Its ids are those of outside: a layer is made of it by a diff. */
function onMapped(id: string, { dir }: LayerFolder): OverlaidError {
  const message = `layer ${id} cannot be made on one with an id map of its own`
  return new OverlaidError('ERR_INVALID_ARGUMENT', message, { path: dir })
}

async function syncFolder(layer: LayerFolder): Promise<void> {
  const names = readdirSync(layer.dir)
  await Promise.all(names.map((name) => fsyncPath(join(layer.dir, name))))
  await fsyncPath(layer.dir)
}

async function publish(home: Home, layer: LayerFolder, link: string, id: string): Promise<void> {
  failpoint('driver.create.before-l-entry')
  makeLink(home.path, link, id)
  try {
    await fsyncDir(join(home.path, LINK_DIR), home)
    failpoint('driver.create.before-rename')
    renameSync(layer.dir, folderOf(home.path, id).dir)
  } catch (error) {
    rmSync(join(home.path, LINK_DIR, link), { force: true })
    throw asTaken(error, id)
  }
}
