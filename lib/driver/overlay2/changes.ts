/**
 * What differs between a layer and its parent, as `docker diff` lists it.
 *
 * moby walks two merged trees and compares (archive.ChangesDirs). The upper directory already names everything that
 * can differ, so only its entries are looked up in a read-only view of the parent: 6 ms instead of 250 for a hundred
 * changes over 57,000 files. The list is the same, by moby's own rules:
 * - a file that was opened for writing and left as it was is copied up but not listed;
 * - a directory is listed for its own mode, owner or capability, or because something in it is;
 * - of a directory that is gone the name is deleted, not all below; of one that was made anew, the names in it.
 */
import { closeSync, constants, openSync } from 'node:fs'
import { joinBytes, pathAt } from '../../fs/walk.ts'
import { binding, type ScannedEntry, type Stat } from '../../native/binding.ts'
import { AT, S } from '../../native/flags.ts'
import { hasCode } from '../../errors.ts'
import type { Change } from '../driver.ts'
import {
  holdsXattrWhiteouts,
  isDirectory,
  isOpaque,
  isRedirected,
  isWhiteout,
  type MarkPrefix,
} from './upper.ts'

export interface ChangesOptions {
  readonly prefix: MarkPrefix
  /** The merged view of the layer itself: read in place of the upper below a renamed directory. */
  readonly view?: number
  readonly signal?: AbortSignal
}

/** A directory as the layer has it. */
interface Side {
  readonly fd: number
  /** Nothing of the parent's directory shows through. */
  readonly hides: boolean
  /** It is read from the merged view: there are no marks in it. */
  readonly merged: boolean
}

/** The changes of the upper directory `diffFd` against the parent's merged root, sorted by path. */
export async function listChanges(
  diffFd: number,
  parentFd: number | undefined,
  options: ChangesOptions,
): Promise<Change[]> {
  const root = { fd: diffFd, hides: false, merged: false }
  const changes = await compare(root, parentFd, Buffer.from('/'), options)
  return changes.sort((a, b) => Buffer.compare(a.path, b.path))
}

/** Compares one directory with the parent's at the same path, and all below. */
async function compare(
  side: Side,
  old: number | undefined,
  path: Buffer,
  options: ChangesOptions,
): Promise<Change[]> {
  options.signal?.throwIfAborted()
  const entries = await binding.scandirat(side.fd, '.', { xattrs: true })
  const lookup = await lookupIn(old, entries.length)
  const inXattrWhiteouts = !side.merged && (await marksWhiteouts(side.fd, options.prefix))
  const changes: Change[] = []
  for (const entry of entries) {
    const found = await lookup(entry.name)
    const at = below(path, entry.name)
    if (!side.merged && isWhiteout(entry, options.prefix, inXattrWhiteouts)) {
      if (found !== undefined) changes.push({ kind: 'D', path: at })
    } else {
      const pair = { side, entry, old, found, path: at }
      for (const change of await compareEntry(pair, options)) changes.push(change)
    }
  }
  if (side.hides && old !== undefined) changes.push(...(await deletedBelow(old, path, entries)))
  return changes
}

/** An entry of the directory `side`, and what the parent's directory `old` has by that name. */
interface Pair {
  readonly side: Side
  readonly entry: ScannedEntry
  readonly old: number | undefined
  readonly found: Stat | undefined
  readonly path: Buffer
}

async function compareEntry(pair: Pair, options: ChangesOptions): Promise<Change[]> {
  const { entry, old, found, path } = pair
  const inside = await compareInside(pair, options)
  if (found === undefined) return [{ kind: 'A', path }, ...inside]
  const changed = isDifferent(entry, found) || (await hasOtherCapability(entry, old, found))
  // moby: a directory with changes in it is listed, so that a commit keeps its metadata.
  return changed || (isDirectory(entry) && inside.length > 0) ? [{ kind: 'C', path }, ...inside] : inside
}

/** Changes below the directory `path`. */
async function compareInside(
  { side, entry, old, found, path }: Pair,
  options: ChangesOptions,
): Promise<Change[]> {
  // Of a directory that something else replaced, moby does not tell what was in it.
  if (!isDirectory(entry)) return []
  const wasDirectory = found !== undefined && (found.mode & S.S_IFMT) === S.S_IFDIR
  const oldFd = wasDirectory && old !== undefined ? openBelow(old, entry.name) : undefined
  try {
    const inner = await enter(side, entry, path, options)
    try {
      return await compare(inner, oldFd, path, options)
    } finally {
      closeSync(inner.fd)
    }
  } finally {
    if (oldFd !== undefined) closeSync(oldFd)
  }
}

async function enter(side: Side, entry: ScannedEntry, path: Buffer, options: ChangesOptions): Promise<Side> {
  const redirected = !side.merged && isRedirected(entry, options.prefix)
  if (redirected && options.view !== undefined) {
    const flags = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW
    return { fd: await binding.openInRoot(options.view, path, flags, 0), hides: true, merged: true }
  }
  const hides = side.hides || redirected || isOpaque(entry, options.prefix)
  return { fd: openBelow(side.fd, entry.name), hides, merged: side.merged }
}

/** Above this many names one readdir of the parent's directory is cheaper than a stat for each. */
const STATS_WORTH = 32

type Lookup = (name: Buffer) => Promise<Stat | undefined>

/** Finds names in the parent's directory `old`. */
async function lookupIn(old: number | undefined, count: number): Promise<Lookup> {
  if (old === undefined) return () => Promise.resolve(undefined)
  if (count <= STATS_WORTH) return (name) => statBelow(old, name)
  const entries = await binding.scandirat(old, '.', { xattrs: false })
  const stats = new Map(entries.map(({ name, stat }) => [name.toString('latin1'), stat]))
  return (name) => Promise.resolve(stats.get(name.toString('latin1')))
}

async function statBelow(fd: number, name: Buffer): Promise<Stat | undefined> {
  try {
    return await binding.statx(fd, name, AT.AT_SYMLINK_NOFOLLOW)
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined
    throw error
  }
}

/** The names in the parent's directory that `entries` does not have; of those it has, compare() has told. */
async function deletedBelow(old: number, path: Buffer, entries: readonly ScannedEntry[]): Promise<Change[]> {
  const kept = new Set(entries.map(({ name }) => name.toString('latin1')))
  const were = await binding.scandirat(old, '.', { xattrs: false })
  return were
    .filter(({ name }) => !kept.has(name.toString('latin1')))
    .map(({ name }) => ({ kind: 'D', path: below(path, name) }))
}

/** moby's statDifferent: of directories neither size nor time is a measure of change. */
function isDifferent({ stat }: ScannedEntry, old: Stat): boolean {
  if (stat.mode !== old.mode || stat.uid !== old.uid || stat.gid !== old.gid) return true
  if (stat.rdevMajor !== old.rdevMajor || stat.rdevMinor !== old.rdevMinor) return true
  if ((stat.mode & S.S_IFMT) === S.S_IFDIR) return false
  return stat.size !== old.size || !isSameTime(stat, old)
}

/** A time without nanoseconds came through a tar: it equals any in its second. */
function isSameTime(a: Stat, b: Stat): boolean {
  return a.mtimeSec === b.mtimeSec && (a.mtimeNsec === b.mtimeNsec || a.mtimeNsec === 0 || b.mtimeNsec === 0)
}

const CAPABILITY = 'security.capability'

/** Only files that are alike in all else get here, and only regular ones have capabilities. */
async function hasOtherCapability(
  entry: ScannedEntry,
  old: number | undefined,
  found: Stat,
): Promise<boolean> {
  if (old === undefined || (found.mode & S.S_IFMT) !== S.S_IFREG) return false
  const before = await binding.lgetxattr(pathAt(old, entry.name), CAPABILITY)
  const after = entry.xattrs.find(({ name }) => name === CAPABILITY)?.value
  return before === undefined || after === undefined ? before !== after : !before.equals(after)
}

async function marksWhiteouts(fd: number, prefix: MarkPrefix): Promise<boolean> {
  const value = await binding.fgetxattr(fd, `${prefix}opaque`)
  return value !== undefined && holdsXattrWhiteouts([{ name: `${prefix}opaque`, value }], prefix)
}

function openBelow(dirFd: number, name: Buffer): number {
  return openSync(pathAt(dirFd, name), constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW)
}

/** Absolute paths: the root's names follow the slash that it is. */
function below(path: Buffer, name: Buffer): Buffer {
  return path.length === 1 ? Buffer.concat([path, name]) : joinBytes(path, name)
}
