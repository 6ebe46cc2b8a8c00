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
import { closeSync } from 'node:fs'
import { hasCode } from '../../errors.ts'
import { openFolderDeep } from '../../fs/open-deep.ts'
import { isSameContent } from './same-content.ts'
import { joinBytes, type TreeEntry, walk } from '../../fs/walk.ts'
import { binding } from '../../native/binding.ts'
import { S } from '../../native/flags.ts'
import type { Change } from '../driver.ts'
import { MACHINES_XATTR } from '../machines-xattr.ts'
import type { Reading } from './diff.ts'
import { holdsXattrWhiteouts, isDirectory, isOpaque, isRedirected, isWhiteout } from './upper.ts'

export interface ChangesOptions extends Reading {
  /** The merged view of the layer itself: read in place of the upper below a renamed directory. */
  readonly view?: number
  /** The tree's root: files that may differ in their content alone are read, there and in the parent. */
  readonly contentOf?: number
  /** Also what moby's rules leave out, and an upper directory has: other attributes, times of directories. */
  readonly exact?: boolean
  readonly signal?: AbortSignal
}

/** The changes of the upper directory `diffFd` against the parent's merged root, sorted by path. */
export async function listChanges(
  diffFd: number,
  parentFd: number | undefined,
  options: ChangesOptions,
): Promise<Change[]> {
  const comparison = new Comparison(parentFd, options)
  const name = `${options.prefix}opaque`
  const value = await binding.fgetxattr(diffFd, name)
  const xattrWhiteouts = value !== undefined && holdsXattrWhiteouts([{ name, value }], options.prefix)
  const root = {
    path: Buffer.alloc(0),
    wasDirectory: parentFd !== undefined,
    hides: options.opaqueRoot === true,
  }
  await comparison.compare(diffFd, parentFd, { ...root, merged: false, xattrWhiteouts })
  return comparison.changes.sort((a, b) => Buffer.compare(a.path, b.path))
}

/**
 * The changes of a tree that is whole against its parent's, sorted by path: both are walked. The list is that of an
 * upper directory's, but where files are alike in all that stat(2) tells and a time has lost its nanoseconds in a tar:
 * then their content is compared, as continuity does.
 */
export async function compareTrees(
  treeFd: number,
  parentFd: number | undefined,
  options: Pick<ChangesOptions, 'exact' | 'signal'> = {},
): Promise<Change[]> {
  const comparison = new Comparison(parentFd, { ...options, prefix: 'trusted.overlay.', contentOf: treeFd })
  const root = { path: Buffer.alloc(0), wasDirectory: parentFd !== undefined, hides: true }
  await comparison.compare(treeFd, parentFd, { ...root, merged: true, xattrWhiteouts: false })
  return comparison.changes.sort((a, b) => Buffer.compare(a.path, b.path))
}

/** A directory as the layer has it. */
interface Folder {
  /** Relative to the layer's root. */
  readonly path: Buffer
  /** The parent has a directory there. */
  readonly wasDirectory: boolean
  /** Nothing of the parent's directory shows through. */
  readonly hides: boolean
  /** It is read from the merged view: there are no marks in it. */
  readonly merged: boolean
  /** Whiteouts in it may be files with an attribute. */
  readonly xattrWhiteouts: boolean
}

/** A directory that the walk is in. */
interface Level extends Folder {
  /** The parent has something by its name, and it is not listed yet. */
  readonly isListed: boolean
  /** How many changes there were when it was entered. */
  readonly before: number
  /** Its names, where those that the parent has besides are deleted. */
  readonly kept: Set<string> | undefined
}

class Comparison {
  readonly changes: Change[] = []
  readonly #parentFd: number | undefined
  readonly #options: ChangesOptions

  constructor(parentFd: number | undefined, options: ChangesOptions) {
    this.#parentFd = parentFd
    this.#options = options
  }

  /** Compares all that is below `folder`, open as `fd`, with what the parent has there, open as `besideFd`. */
  async compare(fd: number, besideFd: number | undefined, folder: Folder): Promise<void> {
    const { signal } = this.#options
    const read = folder.merged ? walk : (this.#options.walk ?? walk)
    const reading = { xattrs: true, ...(signal && { signal }), ...(besideFd !== undefined && { besideFd }) }
    const levels = [this.#enter(folder, true)]
    let skipBelow = Infinity
    for await (const entries of read(fd, reading)) {
      for (const entry of entries) {
        if (entry.depth > skipBelow) continue
        skipBelow = Infinity
        while (levels.length > entry.depth + 1) await this.#leave(levels.pop() as Level)
        const inner = this.#tell(entry, levels.at(-1) as Level, await this.#isRewritten(entry))
        if (inner === undefined) continue
        const view =
          inner.merged || !isRedirected(entry, this.#options.prefix) ? undefined : this.#options.view
        // What it keeps of the parent's names, the comparison of the view tells.
        levels.push(view === undefined ? inner : { ...inner, kept: undefined })
        if (view === undefined) continue
        skipBelow = entry.depth
        await this.#compareInView(view, inner)
      }
    }
    while (levels.length > 0) await this.#leave(levels.pop() as Level)
  }

  /** Tells of the entry itself; of a directory gives what is to be known inside it. */
  #tell(entry: TreeEntry, folder: Level, rewritten: boolean): Level | undefined {
    const { prefix, exact = false } = this.#options
    const { beside } = entry
    const path = joinBytes(folder.path, entry.name)
    folder.kept?.add(entry.name.toString('latin1'))
    if (!folder.merged && isWhiteout(entry, prefix, folder.xattrWhiteouts)) {
      if (beside !== undefined) this.#add('D', path)
      return undefined
    }
    if (beside === undefined) this.#add('A', path)
    const changed =
      beside !== undefined &&
      (rewritten ||
        isDifferent(entry, beside) ||
        hasOtherCapability(entry, beside) ||
        (exact && isInexact(entry, beside)))
    if (changed) this.#add('C', path)
    if (!isDirectory(entry)) return undefined
    const marked = !folder.merged
    const inner = {
      path,
      // Of a directory that something else replaced, or was made of something else, moby does not tell what was in it.
      wasDirectory: beside !== undefined && isDirectory({ stat: beside }),
      hides: folder.hides || (marked && (isRedirected(entry, prefix) || isOpaque(entry, prefix))),
      merged: folder.merged,
      xattrWhiteouts: marked && holdsXattrWhiteouts(entry.xattrs, prefix),
    }
    return this.#enter(inner, beside === undefined || changed)
  }

  async #isRewritten(entry: TreeEntry): Promise<boolean> {
    const { contentOf } = this.#options
    if (contentOf === undefined || this.#parentFd === undefined || !mayBeRewritten(entry)) return false
    try {
      return !(await isSameContent(contentOf, this.#parentFd, entry.path))
    } catch (error) {
      // It went or was replaced since it was seen: then it was changed.
      if (!hasCode(error, 'ENOENT', 'ELOOP', 'ENXIO')) throw error
      return true
    }
  }

  #enter(folder: Folder, isListed: boolean): Level {
    const kept = folder.hides && folder.wasDirectory ? new Set<string>() : undefined
    return { ...folder, isListed, before: this.changes.length, kept }
  }

  /** Tells what is known of a directory when all in it is. */
  async #leave({ path, isListed, before, kept }: Level): Promise<void> {
    if (kept !== undefined) await this.#tellDeleted(path, kept)
    // moby: a directory with changes in it is listed, so that a commit keeps its metadata.
    if (!isListed && this.changes.length > before) this.#add('C', path)
  }

  /** What the parent's directory has and the layer's has not; of the names in both, the walk has told. */
  async #tellDeleted(path: Buffer, kept: ReadonlySet<string>): Promise<void> {
    if (this.#parentFd === undefined) return
    const fd = await openFolderDeep(this.#parentFd, path)
    try {
      for (const { name } of await binding.getdents64(fd)) {
        if (!kept.has(name.toString('latin1'))) this.#add('D', joinBytes(path, name))
      }
    } finally {
      closeSync(fd)
    }
  }

  /** A renamed directory: the upper has its name and what was changed since, the view has all of it. */
  async #compareInView(view: number, level: Level): Promise<void> {
    const inner = { ...level, hides: true, merged: true, xattrWhiteouts: false }
    const fd = await openFolderDeep(view, level.path)
    try {
      const parent = level.wasDirectory ? this.#parentFd : undefined
      const besideFd = parent === undefined ? undefined : await openFolderDeep(parent, level.path)
      try {
        await this.compare(fd, besideFd, inner)
      } finally {
        if (besideFd !== undefined) closeSync(besideFd)
      }
    } finally {
      closeSync(fd)
    }
  }

  #add(kind: Change['kind'], path: Buffer): void {
    this.changes.push({ kind, path: Buffer.concat([SLASH, path]) })
  }
}

const SLASH = Buffer.from('/')

type BesideFacts = NonNullable<TreeEntry['beside']>

/** moby's statDifferent: of directories neither size nor time is a measure of change. */
function isDifferent({ stat }: TreeEntry, old: BesideFacts): boolean {
  if (stat.mode !== old.mode || stat.uid !== old.uid || stat.gid !== old.gid) return true
  if (stat.rdevMajor !== old.rdevMajor || stat.rdevMinor !== old.rdevMinor) return true
  if ((stat.mode & S.S_IFMT) === S.S_IFDIR) return false
  return stat.size !== old.size || !isSameTime(stat, old)
}

/** A time without nanoseconds came through a tar: it equals any in its second. */
function isSameTime(a: BesideFacts, b: BesideFacts): boolean {
  return a.mtimeSec === b.mtimeSec && (a.mtimeNsec === b.mtimeNsec || a.mtimeNsec === 0 || b.mtimeNsec === 0)
}

/** Alike in all but that one of the times has lost its nanoseconds. */
function mayBeRewritten({ stat, beside }: TreeEntry): boolean {
  if (beside === undefined || (stat.mode & S.S_IFMT) !== S.S_IFREG || stat.mode !== beside.mode) return false
  if (stat.size !== beside.size || stat.size === 0 || stat.mtimeSec !== beside.mtimeSec) return false
  return (stat.mtimeNsec === 0) !== (beside.mtimeNsec === 0)
}

/** Of one kind, and different in what moby does not look at. */
function isInexact(entry: TreeEntry, beside: BesideFacts): boolean {
  return hasOtherXattrs(entry) || (isDirectory(entry) && !isSameTime(entry.stat, beside))
}

function hasOtherXattrs({ xattrs, besideXattrs }: TreeEntry): boolean {
  const [now, before] = [xattrs, besideXattrs].map((all) =>
    all.filter(({ name }) => !MACHINES_XATTR.test(name)),
  )
  if (now?.length !== before?.length) return true
  return (
    now?.some(({ name, value }, at) => name !== before?.[at]?.name || !value.equals(before[at].value)) ===
    true
  )
}

const CAPABILITY = 'security.capability'

/** Only files that are alike in all else get here, and only regular ones have capabilities. */
function hasOtherCapability({ xattrs, besideXattrs }: TreeEntry, beside: BesideFacts): boolean {
  if ((beside.mode & S.S_IFMT) !== S.S_IFREG) return false
  const [before, after] = [besideXattrs, xattrs].map(
    (all) => all.find(({ name }) => name === CAPABILITY)?.value,
  )
  return before === undefined || after === undefined ? before !== after : !before.equals(after)
}
