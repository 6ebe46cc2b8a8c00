/**
 * Compares the home with what the store knows, and with itself. Each finding carries what mends it, where anything
 * does. The caller holds the store's lock, so that no layer appears or goes meanwhile; staging and trash are busy all
 * the same.
 *
 * What overlaid leaves alone: names that are no layer's (dockerd's quota device), and folders that are not named like
 * a layer of the store's making: BuildKit's snapshots have 25 characters and are in its own database.
 */
import { rename, rm, rmdir, symlink, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { hasCode } from '../../errors.ts'
import { readText } from '../../fs/read-text.ts'
import { mkdirDurable, TEMP_PREFIX, writeFileAtomic } from '../../fs/atomic.ts'
import { isDead, mountIDAt, unmount } from '../../native/mount.ts'
import type { DriverProblem } from '../driver.ts'
import {
  damage,
  find,
  leftovers,
  looseMode,
  missingLayers,
  namesIn,
  orphanLayers,
  rubbish,
} from '../home/check.ts'
import type { Home } from '../home/home.ts'
import { folderOf, formatLower, isLinkName, type LayerFolder, LINK_DIR, linkTarget, MODES } from './layout.ts'
import { findIDOfLink, layerExists, nameInLinks, newLinkName } from './links.ts'
import { moveToTrash } from '../home/trash.ts'

export async function checkHome(
  home: Home,
  ids: readonly string[],
  referenced: ReadonlyMap<string, string | undefined>,
  remove: (id: string) => Promise<void>,
  server?: string,
): Promise<DriverProblem[]> {
  const names = await linkNames(home, ids, referenced)
  const pathOf = (id: string): string => folderOf(home.path, id).dir
  const problems = [...missingLayers(ids, referenced, pathOf), ...(await looseMode(home.path))]
  for (const id of ids) {
    if (referenced.has(id)) problems.push(...(await checkLayer({ home, id, referenced, names, server })))
  }
  problems.push(...orphanLayers(ids, referenced, pathOf, remove))
  problems.push(...(await danglingLinks(home, names, referenced)), ...(await leftovers(home)))
  return problems
}

interface LayerCheck {
  readonly home: Home
  readonly id: string
  readonly referenced: ReadonlyMap<string, string | undefined>
  /** The link name of each layer: what its `link` says, or what it will say when it is mended. */
  readonly names: ReadonlyMap<string, string>
  /** See Driver.server. */
  readonly server: string | undefined
}

async function checkLayer(check: LayerCheck): Promise<DriverProblem[]> {
  const folder = folderOf(check.home.path, check.id)
  return [
    ...(await checkDiff(folder)),
    ...(await checkLink(check, folder)),
    ...(await checkLower(check, folder)),
    ...(await looseMode(folder.dir)),
    ...(await checkMount(check, folder)),
    ...(await staleFiles(check.home, folder)),
  ]
}

/**
 * The name of each layer. Where `link` is lost it is found again from l/, since children name it in their `lower`;
 * where l/ has lost it too, from a child; else any new name does.
 */
async function linkNames(
  home: Home,
  ids: readonly string[],
  referenced: ReadonlyMap<string, string | undefined>,
): Promise<Map<string, string>> {
  const names = new Map<string, string>()
  for (const id of ids) {
    const name = readName(folderOf(home.path, id))
    if (name !== undefined && isLinkName(name)) names.set(id, name)
  }
  const lost = ids.filter((id) => referenced.has(id) && !names.has(id))
  for (const id of lost) {
    names.set(
      id,
      (await nameInLinks(home.path, id)) ?? (await nameInChild(home, id, referenced)) ?? newLinkName(),
    )
  }
  return names
}

/** What the layer's `link` file says; undefined where there is no such file. */
function readName(folder: LayerFolder): string | undefined {
  try {
    return readText(folder.link)?.trim()
  } catch (error) {
    if (hasCode(error, 'EISDIR', 'ENOTDIR')) return undefined
    throw error
  }
}

async function nameInChild(
  home: Home,
  id: string,
  referenced: ReadonlyMap<string, string | undefined>,
): Promise<string | undefined> {
  for (const [child, parent] of referenced) {
    if (parent !== id) continue
    const first = readText(folderOf(home.path, child).lower)
      ?.split(':')[0]
      ?.slice(LINK_DIR.length + 1)
    if (first !== undefined && isLinkName(first)) return first
  }
  return undefined
}

async function checkDiff(folder: LayerFolder): Promise<DriverProblem[]> {
  if ((await find(folder.diff))?.isDirectory() === true) return []
  return [damage('missing-diff', folder.diff, "the layer's content is gone")]
}

async function checkLink({ home, id, names }: LayerCheck, folder: LayerFolder): Promise<DriverProblem[]> {
  const name = names.get(id) ?? ''
  const problems: DriverProblem[] = []
  if (readName(folder) !== name) {
    const repair = (): Promise<void> => writeText(home, folder.link, name, MODES.link)
    problems.push(damage('missing-link', folder.link, 'it does not hold the name of the layer in l/', repair))
  }
  const entry = join(home.path, LINK_DIR, name)
  if (findIDOfLink(home.path, name) !== id) {
    const repair = (): Promise<void> => replaceLink(entry, id)
    problems.push(damage('missing-l-entry', entry, `it does not point to ${linkTarget(id)}`, repair))
  }
  return problems
}

/** Beside it and renamed over: a reader finds the old entry or the new. */
async function replaceLink(entry: string, id: string): Promise<void> {
  const temp = `${entry}${TEMP_PREFIX}`
  await rm(temp, { force: true })
  await symlink(linkTarget(id), temp)
  await rename(temp, entry)
}

async function checkLower(check: LayerCheck, folder: LayerFolder): Promise<DriverProblem[]> {
  const { home, id, referenced, names } = check
  const expected = chainAbove(id, referenced).map((parent) => names.get(parent))
  // A parent's folder is gone: that is told of the parent, and nothing can be written here that would be right.
  if (expected.some((name) => name === undefined)) return []
  const text = expected.length === 0 ? undefined : formatLower(expected as string[])
  const found = readText(folder.lower)?.trim()
  const problems: DriverProblem[] = []
  if (found !== text) {
    const kind = found === undefined ? 'missing-lower' : 'wrong-lower'
    const repair = (): Promise<void> =>
      text === undefined ? unlink(folder.lower) : writeText(home, folder.lower, text, MODES.lower)
    problems.push(damage(kind, folder.lower, "it does not name the layer's parents", repair))
  }
  if (text !== undefined && (await find(folder.work)) === undefined) {
    const repair = async (): Promise<void> =>
      void (await mkdirDurable(folder.work, { ...home, mode: MODES.work }))
    problems.push(
      damage('missing-work', folder.work, 'overlayfs needs it to mount the layer writable', repair),
    )
  }
  return problems
}

/** Ids of the parents, nearest first. A loop in the store's records ends where it closes. */
function chainAbove(id: string, referenced: ReadonlyMap<string, string | undefined>): string[] {
  const chain: string[] = []
  for (let at = referenced.get(id); at !== undefined && !chain.includes(at); at = referenced.get(at))
    chain.push(at)
  return chain
}

async function checkMount({ home, server }: LayerCheck, { merged }: LayerFolder): Promise<DriverProblem[]> {
  const isMounted = (await mountIDAt(merged)) !== undefined
  if (!isMounted && (await find(merged)) !== undefined) {
    const detail = 'nothing is mounted there'
    return [rubbish('stale-merged', merged, detail, () => removeMerged(home, merged))]
  }
  if (!isMounted || server === undefined || !(await isDead(merged))) return []
  const repair = async (): Promise<void> => {
    await unmount(merged, { detach: true })
    await removeMerged(home, merged)
  }
  return [damage('dead-mount', merged, `the ${server} process of the mount has died`, repair)]
}

async function staleFiles(home: Home, folder: LayerFolder): Promise<DriverProblem[]> {
  const problems: DriverProblem[] = []
  for (const name of (await namesIn(folder.dir)).filter((found) => found.startsWith(TEMP_PREFIX))) {
    const path = join(folder.dir, name)
    problems.push(rubbish('temp-file', path, 'a write was cut off', () => rm(path, { force: true })))
  }
  return problems
}

/**
 * Only by calls that the kernel refuses for a mount point, whoever mounts there this moment. One that dockerd before
 * 19.03 kept for good may have stray files in it: they are not of any layer.
 */
async function removeMerged(home: Home, path: string): Promise<void> {
  try {
    await rmdir(path)
  } catch (error) {
    if (hasCode(error, 'ENOENT', 'EBUSY')) return
    if (!hasCode(error, 'ENOTEMPTY')) throw error
    await moveToTrash(home.path, path)
  }
}

async function danglingLinks(
  home: Home,
  names: ReadonlyMap<string, string>,
  referenced: ReadonlyMap<string, string | undefined>,
): Promise<DriverProblem[]> {
  const taken = new Set(names.values())
  const problems: DriverProblem[] = []
  for (const name of await namesIn(join(home.path, LINK_DIR))) {
    if (taken.has(name)) continue
    const id = isLinkName(name) ? findIDOfLink(home.path, name) : undefined
    // A layer that has lost its folder is told of by itself; one that is not the store's and has lost its `link`
    // needs this entry to find its name again.
    if (id !== undefined && !names.has(id) && (referenced.has(id) || layerExists(home.path, id))) continue
    const path = join(home.path, LINK_DIR, name)
    const repair = (): Promise<void> => rm(path, { recursive: true, force: true })
    problems.push(rubbish('dangling-l-entry', path, 'no layer has this name', repair))
  }
  return problems
}

async function writeText({ durability }: Home, path: string, text: string, mode: number): Promise<void> {
  // A directory in the file's place would refuse the rename; there is nothing of value in it.
  if ((await find(path))?.isDirectory() === true) await rm(path, { recursive: true })
  await writeFileAtomic(path, text, { mode, durability })
}
