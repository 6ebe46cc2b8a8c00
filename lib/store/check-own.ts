/** What processes leave: claims, locks, half-written records; and who may look into the root's folders. */
import { chmod, readFile, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { hasCode } from '../errors.ts'
import { TEMP_PREFIX } from '../fs/atomic.ts'
import { isDigest } from '../oci/digest.ts'
import { isClaimed, listFolder, readClaims, removeFile } from './claim.ts'
import type { Finding } from './check-finding.ts'
import type { StoreContext } from './context.ts'
import { listMarks, markFile, removeMark } from './damaged.ts'
import type { HoldContent } from './hold.ts'
import { dropHoldsFolder, reapHolds } from './hold-end.ts'
import type { Inventory, Tombstone } from './inventory.ts'
import { tryWithLock } from './lock.ts'
import { holdsDir, storeFolders } from './paths.ts'
import type { Reach } from './reach.ts'

export async function checkOwn(store: StoreContext, inventory: Inventory, reach: Reach): Promise<Finding[]> {
  return [
    ...inventory.tombstones.map((tombstone) => checkTombstone(store, tombstone, reach)),
    ...(await checkWriteSets(store)),
    ...checkLeases(inventory),
    ...(await checkHolds(store, inventory)),
    ...(await checkLocks(store, inventory)),
    ...(await checkMarks(store, inventory)),
    ...(await checkTempFiles(store)),
    ...(await checkCache(store)),
    ...(await checkModes(store)),
  ]
}

/** A tombstone's folder may still carry layers: children of a removal that dockerd forced, or of a lost record. */
function checkTombstone({ driver }: StoreContext, { path, cacheID }: Tombstone, { folders }: Reach): Finding {
  const mend = async () => {
    if (cacheID !== undefined && !folders.has(cacheID)) await driver.remove(cacheID)
    await rm(path, { recursive: true, force: true })
  }
  const folder = cacheID === undefined ? {} : { folder: cacheID }
  return { kind: 'stale-tombstone', path, detail: 'the removal of this layer was cut off', ...folder, mend }
}

/** Only ever written under the store lock, so under it each is a dead process's. */
async function checkWriteSets({ paths }: StoreContext): Promise<Finding[]> {
  const names = (await listFolder(paths.layerTmp)).filter((name) => name.startsWith('write-set-'))
  return names.map((name) => {
    const path = join(paths.layerTmp, name)
    const mend = () => rm(path, { recursive: true, force: true })
    return { kind: 'stale-write-set', path, detail: 'a record was being written or removed', mend }
  })
}

function checkLeases({ leases }: Inventory): Finding[] {
  return leases
    .filter(({ alive }) => !alive)
    .map(({ path }) => ({
      kind: 'stale-lease',
      path,
      detail: 'its process is gone',
      mend: () => removeFile(path),
    }))
}

async function checkHolds(store: StoreContext, { holds }: Inventory): Promise<Finding[]> {
  const findings: Finding[] = []
  for (const [subject, known] of holds) {
    const mend = () => reap(store, subject)
    const dead = known.filter(({ live }) => !live).map(({ path }) => path)
    const unreadable = (await unreadableHolds(store, subject)).map(({ path }) => path)
    for (const path of [...dead, ...unreadable]) {
      findings.push({
        kind: 'stale-hold',
        path,
        detail: `the mount of ${subject} is nobody's any more`,
        mend,
      })
    }
    const folder = holdsDir(store.paths, subject)
    if (known.length + unreadable.length === 0 && (await isAbandoned(store, subject))) {
      findings.push({ kind: 'stale-hold', path: folder, detail: `nobody has ${subject} mounted`, mend })
    }
  }
  return findings
}

/** Claims whose process died before they said anything. */
async function unreadableHolds(
  { paths }: StoreContext,
  subject: string,
): Promise<{ readonly path: string }[]> {
  const claims = await readClaims<HoldContent>(holdsDir(paths, subject))
  return claims.filter(({ alive, content }) => !alive && content === undefined)
}

/** What is in use by a mount or an unmount just now is left to that. */
async function reap(store: StoreContext, subject: string): Promise<void> {
  const { paths } = store
  await tryWithLock(join(paths.locks, subject), async () => {
    await reapHolds(paths, subject)
    for (const { path } of await unreadableHolds(store, subject)) removeFile(path)
    await dropHoldsFolder(paths, subject)
  })
}

async function isAbandoned({ paths }: StoreContext, subject: string): Promise<boolean> {
  return !(await isClaimed(join(paths.locks, subject)))
}

/** A container's id, an image mount's name, or a layer that is being pulled. */
const SUBJECT = /^(ro-|layer-)?[0-9a-f]{64}$/

async function checkLocks({ paths }: StoreContext, { mounts, holds }: Inventory): Promise<Finding[]> {
  const findings: Finding[] = []
  for (const name of await listFolder(paths.locks)) {
    const path = join(paths.locks, name)
    if (!SUBJECT.test(name) || mounts.has(name) || holds.has(name) || (await isClaimed(path))) continue
    // Removed by who has it locked: whoever else waits for it makes a new one, see lock.ts.
    const mend = async () => void (await tryWithLock(path, () => removeFile(path)))
    findings.push({ kind: 'stale-lock', path, detail: `${name} is gone`, mend })
  }
  return findings
}

async function checkMarks({ paths }: StoreContext, { layers }: Inventory): Promise<Finding[]> {
  const left = (await listMarks(paths)).filter((chainID) => !layers.has(chainID))
  return left.map((chainID) => ({
    kind: 'stale-mark',
    path: markFile(paths, chainID),
    detail: `there is no layer ${chainID}`,
    mend: () => removeMark(paths, chainID),
  }))
}

/** Files of atomic writes that were cut off. All of these are written under the store lock. */
async function checkTempFiles({ paths }: StoreContext): Promise<Finding[]> {
  const folders = [paths.imageDir, paths.imageContent, paths.own, paths.containers, paths.damaged]
  folders.push(...CACHES.map(({ folder }) => join(paths.imageDir, folder)))
  for (const parent of [paths.imageMetadata, paths.layers, paths.mounts]) {
    for (const name of await listFolder(parent)) folders.push(join(parent, name))
  }
  const found: string[] = []
  for (const folder of folders) {
    const temps = (await listIfFolder(folder)).filter((name) => name.startsWith(TEMP_PREFIX))
    found.push(...temps.map((name) => join(folder, name)))
  }
  return found.map((path) => ({
    kind: 'temp-file',
    path,
    detail: 'a write was cut off',
    mend: () => rm(path, { recursive: true, force: true }),
  }))
}

async function listIfFolder(path: string): Promise<string[]> {
  try {
    return await listFolder(path)
  } catch (error) {
    if (hasCode(error, 'ENOTDIR')) return []
    throw error
  }
}

/** dockerd takes what it knows of pulls from here, so an entry without its form is no loss; nor is a valid one. */
const CACHES = [
  { folder: 'distribution/diffid-by-digest/sha256', isFormed: (text: string) => isDigest(text.trim()) },
  { folder: 'distribution/v2metadata-by-diffid/sha256', isFormed: isArray },
] as const

async function checkCache({ paths }: StoreContext): Promise<Finding[]> {
  const findings: Finding[] = []
  for (const { folder, isFormed } of CACHES) {
    const names = await listFolder(join(paths.imageDir, folder))
    for (const name of names.filter((each) => !each.startsWith(TEMP_PREFIX))) {
      const path = join(paths.imageDir, folder, name)
      if (isFormed(await readFile(path, 'utf8'))) continue
      findings.push({
        kind: 'bad-cache-entry',
        path,
        detail: 'it does not have its form',
        mend: () => removeFile(path),
      })
    }
  }
  return findings
}

function isArray(text: string): boolean {
  try {
    return Array.isArray(JSON.parse(text))
  } catch {
    // SyntaxError.
    return false
  }
}

const OTHERS = 0o007

/**
 * Folders that are to be closed to other users. The root itself may be open as long as the driver's home in it, which
 * the driver checks, is not: whoever made the root may have their reasons.
 */
async function checkModes({ paths, root, driver }: StoreContext): Promise<Finding[]> {
  const isHomeOpen = ((await modeOf(driver.home)) & OTHERS) !== 0
  const closed = storeFolders(paths).filter(
    ([path, mode]) => (mode & OTHERS) === 0 && (path !== root || isHomeOpen),
  )
  const findings: Finding[] = []
  for (const [path, right] of closed) {
    const mode = await modeOf(path)
    if ((mode & OTHERS) === 0) continue
    const detail = `its mode is 0${(mode & 0o777).toString(8)}: other users can look in`
    findings.push({ kind: 'loose-mode', path, detail, mend: () => chmod(path, right) })
  }
  return findings
}

/** 0 where there is no such folder. */
async function modeOf(path: string): Promise<number> {
  try {
    return (await stat(path)).mode
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return 0
    throw error
  }
}
