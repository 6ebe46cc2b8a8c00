/**
 * Walks an upper directory that may have its marks in AUFS' form, as one that has them in overlayfs':
 *
 *     on disk                                              as the walk gives it
 *     `.wh.<name>`                                         `<name>`, a character device 0:0, in the order of names
 *     `.wh..wh..opq` in a directory, a `.wh..opq` device   the directory with `trusted.overlay.opaque`
 *     the attribute `opaque` by another of its names       the same
 *     `.wh..wh.<anything else>`, and what is below         nothing
 *
 * fuse-overlayfs writes 0:0 devices itself where it can make them, files where it cannot, and for an opaque directory
 * both the attribute and the file; dockerd unpacks archives' marks as the files they are.
 *
 * A mark says something of a name that the walk may have passed, so all marks are looked for first. They are as few as
 * the deletions in one layer; in memory besides is what {@link walk} has.
 */
import { hasCode } from '../../errors.ts'
import { openFolderDeep } from '../../fs/open-deep.ts'
import { joinBytes, type TreeEntry, walk, type WalkOptions } from '../../fs/walk.ts'
import { binding, type Stat, type Xattr } from '../../native/binding.ts'
import { OwnedFd } from '../../native/fd.ts'
import { AT, S } from '../../native/flags.ts'
import { OPAQUE_MARK, OPAQUE_VALUE, parseWhiteout, type Whiteout } from '../../oci/whiteout.ts'

/** What {@link walkAufs} marks opaque directories with. */
export const AUFS_PREFIX = 'trusted.overlay.'
const OPAQUE = `${AUFS_PREFIX}opaque`
/** Where there are no trusted.* attributes. */
const OTHER_OPAQUE: ReadonlySet<string> = new Set(['user.overlay.opaque', 'user.fuseoverlayfs.opaque'])

/** As {@link walk}. */
export async function* walkAufs(
  rootFd: number,
  options: WalkOptions,
): AsyncGenerator<Iterable<TreeEntry>, void, undefined> {
  const translation = new Translation(await findMarks(rootFd, options))
  for await (const entries of walk(rootFd, options)) yield translation.of(entries)
  yield translation.rest()
}

/** Whether the upper directory's root hides all that is below it. */
export async function hasOpaqueRoot(rootFd: number): Promise<boolean> {
  return (await statAt(rootFd, OPAQUE_MARK)) !== undefined
}

/** What the marks in one directory say. */
interface FolderMarks {
  opaque: boolean
  /** By name. */
  readonly whiteouts: WhiteoutMark[]
}

interface WhiteoutMark {
  readonly path: Buffer
  readonly name: Buffer
  readonly facts: Pick<Stat, 'uid' | 'gid' | 'mtimeSec' | 'mtimeNsec'>
  /** What the other tree has by the name. */
  readonly beside: Stat | undefined
}

/** By the directory's path, a character a byte. */
type Marks = ReadonlyMap<string, FolderMarks>

async function findMarks(rootFd: number, { besideFd, signal }: WalkOptions): Promise<Marks> {
  const found = new Map<string, FolderMarks>()
  for await (const entries of walk(rootFd, { xattrs: false, ...(signal && { signal }) })) {
    const whiteouts: Omit<WhiteoutMark, 'beside'>[] = []
    for (const entry of entries) {
      const mark = markOf(entry)
      if (mark.kind === 'opaque') folderIn(found, entry).opaque = true
      if (mark.kind === 'whiteout') whiteouts.push(whiteoutOf(entry, mark.name))
    }
    for (const mark of whiteouts) {
      const beside = besideFd === undefined ? undefined : await statAt(besideFd, mark.path)
      folderIn(found, mark).whiteouts.push({ ...mark, beside })
    }
  }
  for (const { whiteouts } of found.values()) whiteouts.sort((a, b) => Buffer.compare(a.name, b.name))
  return found
}

/** Whatever is by such a name is a mark, as fuse-overlayfs takes it. */
function markOf({ name, stat }: TreeEntry): Whiteout {
  if (isDevice(stat) && name.equals(OPAQUE_DEVICE)) return { kind: 'opaque' }
  return parseWhiteout(name)
}

/** What fuse-overlayfs (1.10) makes beside the file: a whiteout device for the mark, the prefix left out once. */
const OPAQUE_DEVICE = Buffer.from('.wh..opq')

function isDevice({ mode }: { readonly mode: number }): boolean {
  return (mode & S.S_IFMT) === S.S_IFCHR
}

function folderIn(marks: Map<string, FolderMarks>, { path }: { readonly path: Buffer }): FolderMarks {
  const folder = parentOf(path).toString('latin1')
  const known = marks.get(folder)
  if (known !== undefined) return known
  const made = { opaque: false, whiteouts: [] }
  marks.set(folder, made)
  return made
}

function parentOf(path: Buffer): Buffer {
  return path.subarray(0, Math.max(path.lastIndexOf(0x2f), 0))
}

function whiteoutOf({ path, stat }: TreeEntry, name: Buffer): Omit<WhiteoutMark, 'beside'> {
  const { uid, gid, mtimeSec, mtimeNsec } = stat
  return { path: joinBytes(parentOf(path), name), name, facts: { uid, gid, mtimeSec, mtimeNsec } }
}

/** What is at `path` below `rootFd`, links not followed; undefined where nothing is. */
async function statAt(rootFd: number, path: Buffer): Promise<Stat | undefined> {
  const above = parentOf(path)
  try {
    using folder = new OwnedFd(await openFolderDeep(rootFd, above))
    return await binding.statx(folder.fd, path.subarray(path.lastIndexOf(0x2f) + 1), AT.AT_SYMLINK_NOFOLLOW)
  } catch (error) {
    if (hasCode(error, 'ENOENT', 'ENOTDIR', 'ELOOP')) return undefined
    throw error
  }
}

/** A directory that the walk is in. */
interface Level {
  readonly depth: number
  readonly whiteouts: readonly WhiteoutMark[]
  /** How many of them are told. */
  told: number
  /** The other tree has a directory there too. */
  readonly isBeside: boolean
}

class Translation {
  readonly #marks: Marks
  readonly #levels: Level[] = []
  #skipBelow = Infinity

  constructor(marks: Marks) {
    this.#marks = marks
    this.#enter('', 0, true)
  }

  *of(entries: Iterable<TreeEntry>): Generator<TreeEntry, void, undefined> {
    for (const entry of entries) {
      if (entry.depth > this.#skipBelow) continue
      this.#skipBelow = Infinity
      while ((this.#levels.at(-1)?.depth ?? 0) > entry.depth) yield* this.#leave()
      const level = this.#levels.at(-1) as Level
      if (markOf(entry).kind !== 'none') {
        this.#skipBelow = entry.depth
        continue
      }
      yield* tell(level, (name) => Buffer.compare(name, entry.name) < 0)
      // As fuse-overlayfs shows it: what is in the same layer by that name is hidden too.
      if (level.whiteouts[level.told]?.name.equals(entry.name) === true) this.#skipBelow = entry.depth
      else yield* this.#translate(entry, level.isBeside)
    }
  }

  /** What is left when the walk is at its end. */
  *rest(): Generator<TreeEntry, void, undefined> {
    while (this.#levels.length > 0) yield* this.#leave()
  }

  *#leave(): Generator<TreeEntry, void, undefined> {
    const level = this.#levels.pop()
    if (level !== undefined) yield* tell(level, () => true)
  }

  *#translate(entry: TreeEntry, isBeside: boolean): Generator<TreeEntry, void, undefined> {
    if (!isFolder(entry.stat)) return yield entry
    const path = entry.path.toString('latin1')
    const marked = this.#marks.get(path)?.opaque === true || entry.xattrs.some(isOtherOpaque)
    yield marked ? asOpaque(entry) : entry
    const { beside } = entry
    this.#enter(path, entry.depth + 1, isBeside && beside !== undefined && isFolder(beside))
  }

  #enter(path: string, depth: number, isBeside: boolean): void {
    this.#levels.push({ depth, whiteouts: this.#marks.get(path)?.whiteouts ?? [], told: 0, isBeside })
  }
}

function* tell(level: Level, isDue: (name: Buffer) => boolean): Generator<TreeEntry, void, undefined> {
  for (let next = level.whiteouts[level.told]; next !== undefined && isDue(next.name);) {
    yield asWhiteout(next, level)
    next = level.whiteouts[++level.told]
  }
}

function isFolder({ mode }: { readonly mode: number }): boolean {
  return (mode & S.S_IFMT) === S.S_IFDIR
}

function isOtherOpaque({ name, value }: Xattr): boolean {
  return OTHER_OPAQUE.has(name) && OPAQUE_VALUE.equals(value)
}

const NOTHING = Buffer.alloc(0)
const NO_XATTRS: readonly Xattr[] = []

function asWhiteout({ path, name, facts, beside }: WhiteoutMark, { depth, isBeside }: Level): TreeEntry {
  const device = {
    nlink: 1,
    devMajor: 0,
    devMinor: 0,
    rdevMajor: 0,
    rdevMinor: 0,
    size: 0,
    blocks: 0,
    ino: 0n,
  }
  return {
    path,
    name,
    depth,
    stat: { ...facts, ...device, mode: S.S_IFCHR },
    beside: isBeside ? beside : undefined,
    target: NOTHING,
    xattrs: NO_XATTRS,
    besideXattrs: NO_XATTRS,
    body: undefined,
    file: undefined,
  }
}

function asOpaque(entry: TreeEntry): TreeEntry {
  const { path, name, depth, stat, beside, besideXattrs } = entry
  const xattrs = [
    ...entry.xattrs.filter((xattr) => xattr.name !== OPAQUE),
    { name: OPAQUE, value: OPAQUE_VALUE },
  ]
  return {
    path,
    name,
    depth,
    stat,
    xattrs,
    target: NOTHING,
    beside,
    besideXattrs,
    body: undefined,
    file: undefined,
  }
}
