/**
 * A layer's own content as a layer tar, from its upper directory alone: the upper is the diff.
 *
 * The form is that of moby's tars, so that a commit by either gives the same diffID: names in the order of
 * {@link walk}, no entry for the root, a deleted name as an empty `.wh.<name>`, an opaque directory followed by
 * `.wh..wh..opq` in it, the first name of a hard-linked file with its body and the others as links, sockets left out,
 * times in whole seconds, no user names, file type bits in the mode. Unlike moby's, all xattrs are in it.
 */
import { closeSync, constants, openSync } from 'node:fs'
import { joinBytes, pathAt, walk } from '../../fs/walk.ts'
import { binding, type ScannedEntry, type Stat } from '../../native/binding.ts'
import { S } from '../../native/flags.ts'
import { OPAQUE_MARK, whiteoutName } from '../../oci/whiteout.ts'
import type { EntryType } from '../../tar/entry.ts'
import type { TarMember } from '../../tar/encode.ts'
import type { TarSource } from '../../tar/writer.ts'
import { fileBody } from './file-body.ts'
import {
  holdsXattrWhiteouts,
  isDirectory,
  isMetacopy,
  isOpaque,
  isRedirected,
  isRegular,
  isSocket,
  isWhiteout,
  layerXattrs,
  type MarkPrefix,
} from './upper.ts'

export interface DiffOptions {
  readonly prefix: MarkPrefix
  /** The merged view of the layer, for what the upper holds by reference only: renamed folders, bare metadata. */
  readonly view?: number
  readonly signal?: AbortSignal
}

/** One thing that the layer says of a path. */
export interface DiffEntry extends ScannedEntry {
  readonly path: Buffer
  /** `opaque`: a directory that hides what lower layers have in it. */
  readonly kind: 'whiteout' | 'opaque' | 'plain'
  /** The inode, for hard links: the same text for the same file. */
  readonly inode: string
  /** Opens a regular file's content; the caller closes. Valid until the next entry is asked for. */
  open(): number | Promise<number>
}

const OPEN_FILE = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK

/** Walks over what the upper directory `diffFd` says, whatever options it was mounted with. */
export async function* diffEntries(
  diffFd: number,
  options: DiffOptions,
): AsyncGenerator<DiffEntry, void, undefined> {
  const { prefix, view, signal } = options
  const xattrWhiteouts = new Set<string>()
  const root = await binding.fgetxattr(diffFd, `${prefix}opaque`)
  if (root?.toString() === 'x') xattrWhiteouts.add('')
  const enter = (entry: ScannedEntry): boolean => !isRedirected(entry, prefix)
  for await (const entry of walk(diffFd, {
    xattrs: true,
    enter,
    ...(signal === undefined ? {} : { signal }),
  })) {
    const { path, parentFd, name } = entry
    if (holdsXattrWhiteouts(entry.xattrs, prefix)) xattrWhiteouts.add(path.toString('latin1'))
    const whiteout = isWhiteout(entry, prefix, xattrWhiteouts.has(parentOf(path)))
    const redirected = isRedirected(entry, prefix)
    const kind = whiteout ? 'whiteout' : redirected || isOpaque(entry, prefix) ? 'opaque' : 'plain'
    const open =
      isMetacopy(entry, prefix) && view !== undefined
        ? () => binding.openInRoot(view, path, OPEN_FILE, 0)
        : () => openSync(pathAt(parentFd, name), OPEN_FILE)
    yield { ...entry, kind, inode: entry.stat.ino.toString(), open }
    if (redirected && view !== undefined) yield* mergedEntries(view, path, signal)
  }
}

/** Everything below a directory of the merged view: what a renamed directory holds, in full. */
async function* mergedEntries(
  view: number,
  below: Buffer,
  signal: AbortSignal | undefined,
): AsyncGenerator<DiffEntry, void, undefined> {
  const flags = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW
  const fd = await binding.openInRoot(view, below, flags, 0)
  try {
    for await (const entry of walk(fd, { xattrs: true, ...(signal === undefined ? {} : { signal }) })) {
      const { stat, parentFd, name } = entry
      const inode = `${stat.devMajor.toString()}:${stat.devMinor.toString()}:${stat.ino.toString()}`
      const open = (): number => openSync(pathAt(parentFd, name), OPEN_FILE)
      yield { ...entry, path: joinBytes(below, entry.path), kind: 'plain', inode, open }
    }
  } finally {
    closeSync(fd)
  }
}

function parentOf(path: Buffer): string {
  const slash = path.lastIndexOf('/')
  return slash < 0 ? '' : path.toString('latin1', 0, slash)
}

/** The members of the layer's tar. */
export async function* diffSources(
  diffFd: number,
  options: DiffOptions,
): AsyncGenerator<TarSource, void, undefined> {
  const firstNames = new Map<string, Buffer>()
  for await (const entry of diffEntries(diffFd, options)) {
    if (entry.kind === 'whiteout') {
      yield { member: whiteoutMember(entry) }
      continue
    }
    // A socket means nothing without the process that listens, and tar has no type for it.
    if (isSocket(entry)) continue
    yield sourceOf(entry, firstNames)
    if (entry.kind === 'opaque') yield { member: opaqueMember(entry) }
  }
}

/** Sources of `entry` as itself, or as a link to the name that its inode had before. */
export function sourceOf(entry: DiffEntry, firstNames: Map<string, Buffer>): TarSource {
  const linked = !isDirectory(entry) && entry.stat.nlink > 1
  const first = linked ? firstNames.get(entry.inode) : undefined
  if (linked && first === undefined) firstNames.set(entry.inode, entry.path)
  if (first !== undefined)
    return { member: { ...memberOf(entry), type: 'hardlink', linkname: first, size: 0 } }
  const member = memberOf(entry)
  return member.size === 0 ? { member } : { member, body: () => fileBody(() => entry.open(), member.size) }
}

const TYPES = new Map<number, EntryType>([
  [S.S_IFREG, 'file'],
  [S.S_IFDIR, 'dir'],
  [S.S_IFLNK, 'symlink'],
  [S.S_IFCHR, 'char'],
  [S.S_IFBLK, 'block'],
  [S.S_IFIFO, 'fifo'],
])

function memberOf(entry: DiffEntry): TarMember {
  const { stat, path, target } = entry
  const type = TYPES.get(stat.mode & S.S_IFMT) ?? 'file'
  return {
    name: type === 'dir' ? Buffer.concat([path, Buffer.from('/')]) : path,
    type,
    // With the type bits, which Go's archive/tar dropped in 1.9 and moby puts back, so that diffIDs stayed.
    mode: stat.mode,
    ...ownerOf(stat),
    size: isRegular(entry) ? stat.size : 0,
    mtimeSec: stat.mtimeSec,
    devMajor: stat.rdevMajor,
    devMinor: stat.rdevMinor,
    xattrs: layerXattrs(entry.xattrs),
    ...(target === undefined ? {} : { linkname: target }),
  }
}

function ownerOf({ uid, gid }: Stat): { uid: number; gid: number } {
  return { uid, gid }
}

/** Never a hard link, though the kernel makes the whiteouts of one upper links of one inode. */
function whiteoutMember({ path, name, stat }: DiffEntry): TarMember {
  const parent = path.subarray(0, path.length - name.length)
  return {
    name: Buffer.concat([parent, whiteoutName(name)]),
    type: 'file',
    mode: 0o600,
    ...ownerOf(stat),
    size: 0,
    mtimeSec: stat.mtimeSec,
  }
}

/** moby gives it the directory's permissions and owner, and no time. */
function opaqueMember({ path, stat }: DiffEntry): TarMember {
  return {
    name: joinBytes(path, OPAQUE_MARK),
    type: 'file',
    mode: stat.mode & 0o777,
    ...ownerOf(stat),
    size: 0,
    mtimeSec: 0,
  }
}
