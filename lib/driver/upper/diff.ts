/**
 * A layer's own content as a layer tar, from its upper directory alone: the upper is the diff.
 *
 * The form is that of moby's tars, so that a commit by either gives the same diffID: names in the order of
 * {@link walk}, no entry for the root, a deleted name as an empty `.wh.<name>`, an opaque directory followed by
 * `.wh..wh..opq` in it, the first name of a hard-linked file with its body and the others as links, sockets left out,
 * times in whole seconds, no user names, file type bits in the mode. Unlike moby's, all xattrs are in it.
 */
import { closeSync, constants } from 'node:fs'
import { joinBytes, type TreeEntry, walk, type WalkOptions } from '../../fs/walk.ts'
import { binding, type Stat } from '../../native/binding.ts'
import { AT } from '../../native/flags.ts'
import { OPAQUE_MARK, whiteoutName } from '../../oci/whiteout.ts'
import type { TarMember } from '../../tar/encode.ts'
import type { FileBody, TarPiece } from '../tar-stream.ts'
import { isPackable, SMALL_BODY, TreePacker } from '../tree-packer.ts'
import {
  holdsXattrWhiteouts,
  isDirectory,
  isMetacopy,
  isOpaque,
  isRedirected,
  isWhiteout,
  type MarkPrefix,
} from './upper.ts'

/** {@link walk}, or what takes its place where marks have another form. */
export type Walk = (
  rootFd: number,
  options: WalkOptions,
) => AsyncGenerator<Iterable<TreeEntry>, void, undefined>

/** How the marks of an upper directory are read. */
export interface Reading {
  readonly prefix: MarkPrefix
  readonly walk?: Walk
  /** The root hides all that is below it, which overlayfs has no mark for. */
  readonly opaqueRoot?: boolean
}

export interface DiffOptions extends Reading {
  /** The merged view of the layer, for what the upper holds by reference only: renamed folders, bare metadata. */
  readonly view?: number
  /** The ids are mapped: whiteouts, which are the mounter's and not the container's, have no id there. */
  readonly mapped?: boolean
  readonly signal?: AbortSignal
}

/** One thing that the layer says of a path. Valid until the next ones are asked for. */
export interface DiffEntry {
  readonly entry: TreeEntry
  readonly path: Buffer
  /** `opaque`: a directory that hides what lower layers have in it. */
  readonly kind: 'whiteout' | 'opaque' | 'plain'
  /** It was read from the merged view and not from the upper directory. */
  readonly merged: boolean
}

/**
 * What the upper directory `diffFd` says, whatever options it was mounted with, some thousand entries at a time.
 * @param bodies see {@link walk}
 */
export async function* diffEntries(
  diffFd: number,
  options: DiffOptions,
  bodies?: number,
): AsyncGenerator<readonly DiffEntry[], void, undefined> {
  const { view, signal } = options
  const marks = new Marks(options.prefix)
  await marks.readRoot(diffFd)
  const reading = { xattrs: true, ...(bodies !== undefined && { bodies }), ...(signal && { signal }) }
  for await (const entries of (options.walk ?? walk)(diffFd, reading)) {
    let found: DiffEntry[] = []
    for (const entry of entries) {
      const kind = marks.kindOf(entry)
      if (kind === undefined) continue
      found.push({ entry, path: entry.path, kind, merged: false })
      if (view === undefined || kind !== 'opaque' || !isRedirected(entry, options.prefix)) continue
      yield found
      found = []
      yield* mergedEntries(view, entry.path, reading)
    }
    yield found
  }
}

/** What the marks of the folders above an entry say of it. */
class Marks {
  readonly #prefix: MarkPrefix
  /** By depth: whether whiteouts in the folder may be files with an attribute. */
  readonly #xattrWhiteouts: boolean[] = []
  /** What is deeper is below a renamed folder, which the merged view has in full. */
  #skipBelow = Infinity

  constructor(prefix: MarkPrefix) {
    this.#prefix = prefix
  }

  async readRoot(diffFd: number): Promise<void> {
    const name = `${this.#prefix}opaque`
    const value = await binding.fgetxattr(diffFd, name)
    this.#xattrWhiteouts[0] = value !== undefined && holdsXattrWhiteouts([{ name, value }], this.#prefix)
  }

  /** Of each entry in the walk's order; undefined for what is not to be told. */
  kindOf(entry: TreeEntry): DiffEntry['kind'] | undefined {
    const { depth } = entry
    if (depth > this.#skipBelow) return undefined
    this.#skipBelow = Infinity
    if (isWhiteout(entry, this.#prefix, this.#xattrWhiteouts[depth] === true)) return 'whiteout'
    if (!isDirectory(entry)) return 'plain'
    this.#xattrWhiteouts[depth + 1] = holdsXattrWhiteouts(entry.xattrs, this.#prefix)
    if (!isRedirected(entry, this.#prefix)) return isOpaque(entry, this.#prefix) ? 'opaque' : 'plain'
    this.#skipBelow = depth
    return 'opaque'
  }
}

/** Everything below a directory of the merged view: what a renamed directory holds, in full. */
async function* mergedEntries(
  view: number,
  below: Buffer,
  reading: Parameters<typeof walk>[1],
): AsyncGenerator<readonly DiffEntry[], void, undefined> {
  const flags = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW
  const fd = await binding.openInRoot(view, below, flags, 0)
  try {
    for await (const entries of walk(fd, reading)) {
      yield Array.from(entries, (entry) => {
        return { entry, path: joinBytes(below, entry.path), kind: 'plain', merged: true }
      })
    }
  } finally {
    closeSync(fd)
  }
}

/** The inode, for hard links: the same text for the same file. */
export function inodeOf({ entry: { stat }, merged }: Pick<DiffEntry, 'entry' | 'merged'>): string {
  const ino = stat.ino.toString()
  return merged ? `${stat.devMajor.toString()}:${stat.devMinor.toString()}:${ino}` : ino
}

/** The layer's tar. */
export async function* diffPieces(
  diffFd: number,
  options: DiffOptions,
): AsyncGenerator<TarPiece, void, undefined> {
  const packer = new TreePacker()
  if (options.opaqueRoot === true) packer.add(await opaqueRootMember(diffFd))
  for await (const found of diffEntries(diffFd, options, SMALL_BODY)) {
    for (const one of found) {
      if (isBareMetadata(one, options)) {
        yield* packFromView(packer, one, options)
        continue
      }
      const body = pack(packer, one, options)
      if (body !== undefined) yield* packer.passOn(body)
      else if (packer.isFull) yield* packer.takeFull()
    }
  }
  packer.end()
  yield* packer.takeAll()
}

function pack(
  packer: TreePacker,
  one: DiffEntry,
  { mapped = false }: Pick<DiffOptions, 'mapped'>,
  content?: number,
): FileBody | undefined {
  const { entry, path, kind } = one
  if (kind === 'whiteout') {
    packer.add({ ...whiteoutMember(entry), ...(mapped && { uid: 0, gid: 0 }) })
    return undefined
  }
  if (!isPackable(entry)) return undefined
  const body = packer.addEntry(entry, path, () => inodeOf(one), content)
  if (kind === 'opaque') packer.add(opaqueMember(entry))
  return body
}

interface WithView {
  readonly view: number
}

/** Whether the file's data is to be found in the merged view alone. */
function isBareMetadata(
  { entry, merged }: DiffEntry,
  options: DiffOptions,
): options is DiffOptions & WithView {
  return options.view !== undefined && !merged && isMetacopy(entry, options.prefix)
}

async function* packFromView(
  packer: TreePacker,
  one: DiffEntry,
  options: DiffOptions & WithView,
): AsyncGenerator<TarPiece, void, undefined> {
  const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK
  const fd = await binding.openInRoot(options.view, one.path, flags, 0)
  try {
    const body = pack(packer, one, options, fd)
    if (body !== undefined) yield* packer.passOn(body)
  } finally {
    closeSync(fd)
  }
}

/** Never a hard link, though the kernel makes the whiteouts of one upper links of one inode. */
function whiteoutMember({ path, name, stat }: TreeEntry): TarMember {
  const parent = path.subarray(0, path.length - name.length)
  return {
    name: Buffer.concat([parent, whiteoutName(name)]),
    type: 'file',
    mode: 0o600,
    uid: stat.uid,
    gid: stat.gid,
    size: 0,
    mtimeSec: stat.mtimeSec,
  }
}

interface DirectoryFacts {
  readonly path: Buffer
  readonly stat: Pick<Stat, 'mode' | 'uid' | 'gid'>
}

async function opaqueRootMember(diffFd: number): Promise<TarMember> {
  return opaqueMember({ path: Buffer.alloc(0), stat: await binding.statx(diffFd, '', AT.AT_EMPTY_PATH) })
}

/** moby gives it the directory's permissions and owner, and no time. */
function opaqueMember({ path, stat }: DirectoryFacts): TarMember {
  return {
    name: joinBytes(path, OPAQUE_MARK),
    type: 'file',
    mode: stat.mode & 0o777,
    uid: stat.uid,
    gid: stat.gid,
    size: 0,
    mtimeSec: 0,
  }
}
