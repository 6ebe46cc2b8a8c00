/**
 * Trees of files for tests: {@link tree} builds one from a list, {@link dumpTree} prints one as lines that two
 * trees can be compared by. Names and xattr values are bytes; so is everything that is printed of them.
 *
 *     await tree(dir, [dirAt('etc', { mode: 0o755 }), fileAt('etc/motd', 'hi'), whiteoutAt('etc/gone')])
 *     expect(await dumpTree(dir)).toEqual(await dumpTree(other))
 */
import { createHash } from 'node:crypto'
import { closeSync, constants, openSync, readFileSync } from 'node:fs'
import { AT_FDCWD, binding, type Bytes, type ScannedEntry, type Stat } from '../native/binding.ts'
import { type FileOp, fileops } from '../native/file-op.ts'

/** What a test may state of an entry; the rest has defaults. */
export interface Meta {
  /** Permission bits with setuid, setgid and sticky. Default 0755 of directories, 0644 of all else. */
  readonly mode?: number
  readonly uid?: number
  readonly gid?: number
  /** Seconds; default 1,700,000,000. */
  readonly mtime?: number
  readonly mtimeNsec?: number
  readonly xattrs?: Readonly<Record<string, Bytes>>
}

/** A whole second in 2023: a tree built twice is the same tree. */
export const DEFAULT_MTIME = 1_700_000_000

const { S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFMT, S_IFREG } = constants

/** One entry of a tree to build: an operation of the binding, and for directories the times to set at the end. */
export type TreeNode = FileOp

function bytes(value: Bytes): Buffer {
  return typeof value === 'string' ? Buffer.from(value) : Buffer.from(value)
}

function meta(
  type: number,
  { mode, uid = 0, gid = 0, mtime = DEFAULT_MTIME, mtimeNsec = 0, xattrs = {} }: Meta,
) {
  const permissions = mode ?? (type === S_IFDIR ? 0o755 : type === S_IFLNK ? 0o777 : 0o644)
  const pairs = Object.entries(xattrs).map(([name, value]) => ({ name, value: bytes(value) }))
  return { mode: type | permissions, uid, gid, mtimeSec: mtime, mtimeNsec, xattrs: pairs }
}

export function dirAt(path: Bytes, options: Meta = {}): TreeNode {
  return { op: 'dir', path: bytes(path), ...meta(S_IFDIR, options) }
}

/** A directory that hides what lower layers have there. */
export function opaqueAt(path: Bytes, options: Meta = {}): TreeNode {
  return dirAt(path, { ...options, xattrs: { ...options.xattrs, 'trusted.overlay.opaque': 'y' } })
}

export function fileAt(path: Bytes, content: Bytes = '', options: Meta = {}): TreeNode {
  return { op: 'file', path: bytes(path), data: [bytes(content)], ...meta(S_IFREG, options) }
}

export function symlinkAt(path: Bytes, target: Bytes, options: Meta = {}): TreeNode {
  return { op: 'symlink', path: bytes(path), target: bytes(target), ...meta(S_IFLNK, options) }
}

/** Another name for `target`, which must come before it in the list. */
export function hardlinkAt(path: Bytes, target: Bytes): TreeNode {
  return { op: 'link', path: bytes(path), target: bytes(target) }
}

export function charAt(path: Bytes, major: number, minor: number, options: Meta = {}): TreeNode {
  return { op: 'node', path: bytes(path), major, minor, ...meta(S_IFCHR, options) }
}

export function blockAt(path: Bytes, major: number, minor: number, options: Meta = {}): TreeNode {
  return { op: 'node', path: bytes(path), major, minor, ...meta(S_IFBLK, options) }
}

export function fifoAt(path: Bytes, options: Meta = {}): TreeNode {
  return { op: 'node', path: bytes(path), major: 0, minor: 0, ...meta(S_IFIFO, options) }
}

/** overlayfs' mark for a name that is deleted: a 0:0 character device. */
export function whiteoutAt(path: Bytes): TreeNode {
  return charAt(path, 0, 0, { mode: 0 })
}

/**
 * Builds the nodes below `root`, in order. Parents that no node names are made 0755. Directories get their times
 * last, so that what is put into them does not move them. Paths go through no symlink out of `root`.
 */
export async function tree(root: Bytes, nodes: readonly TreeNode[]): Promise<void> {
  const fd = openSync(bytes(root), constants.O_RDONLY | constants.O_DIRECTORY)
  try {
    await fileops(fd, withParents(nodes))
  } finally {
    closeSync(fd)
  }
}

function withParents(nodes: readonly TreeNode[]): FileOp[] {
  const made = new Map<string, FileOp>()
  const ops: FileOp[] = []
  for (const node of nodes) {
    const parts = bytes(node.path).toString('latin1').split('/')
    for (let depth = 1; depth < parts.length; depth++) {
      const parent = parts.slice(0, depth).join('/')
      if (!made.has(parent)) ops.push(remember(made, parent, dirAt(Buffer.from(parent, 'latin1'))))
    }
    ops.push(node.op === 'dir' ? remember(made, parts.join('/'), node) : node)
  }
  return [...ops, ...[...made.values()].reverse()]
}

function remember(made: Map<string, FileOp>, path: string, op: FileOp): FileOp {
  made.set(path, op)
  return op
}

/** One entry of a tree that was read. `path` is relative to the root, `.` for the root itself. */
export interface TreeEntry {
  readonly path: Buffer
  readonly stat: Stat
  readonly xattrs: ReadonlyMap<string, Buffer>
  readonly target?: Buffer
  /** Hex sha256 of a regular file's content. */
  readonly sha256?: string
}

/** Reads the tree below `root`, the root first, then in the order of the paths' bytes. */
export async function readTree(root: Bytes): Promise<TreeEntry[]> {
  const top = bytes(root)
  const names = await binding.llistxattr(top)
  const xattrs = await Promise.all(
    names.map(async (name) => ({ name, value: await binding.lgetxattr(top, name) })),
  )
  const stat = await binding.statx(AT_FDCWD, top, 0)
  const rootXattrs = xattrs.flatMap(({ name, value }) => (value === undefined ? [] : [{ name, value }]))
  const entries = [entryOf(top, Buffer.from('.'), { name: top, stat, xattrs: rootXattrs })]
  await readInto(entries, top, Buffer.alloc(0))
  return entries.sort((a, b) => Buffer.compare(a.path, b.path))
}

async function readInto(entries: TreeEntry[], root: Buffer, below: Buffer): Promise<void> {
  const dir = below.length === 0 ? root : joined(root, below)
  for (const scanned of await binding.scandirat(AT_FDCWD, dir, { xattrs: true })) {
    const path = below.length === 0 ? scanned.name : joined(below, scanned.name)
    entries.push(entryOf(joined(root, path), path, scanned))
    if ((scanned.stat.mode & S_IFMT) === S_IFDIR) await readInto(entries, root, path)
  }
}

function joined(a: Buffer, b: Buffer): Buffer {
  return Buffer.concat([a, Buffer.from('/'), b])
}

function entryOf(full: Buffer, path: Buffer, { stat, xattrs, target }: ScannedEntry): TreeEntry {
  const sha256 =
    (stat.mode & S_IFMT) === S_IFREG
      ? createHash('sha256').update(readFileSync(full)).digest('hex')
      : undefined
  return {
    path,
    stat,
    xattrs: new Map(xattrs.map(({ name, value }) => [name, value])),
    ...(target === undefined ? {} : { target }),
    ...(sha256 === undefined ? {} : { sha256 }),
  }
}

/** What of a tree is printed, so that trees that differ in nothing else compare equal. */
export interface DumpOptions {
  /** Default true. False prints whole seconds: what Docker's layer tars keep. */
  readonly nanoseconds?: boolean
  /** Default true. Of directories it is never printed: each file system counts it in its own way. */
  readonly nlink?: boolean
  /** Default true. */
  readonly mtime?: boolean
  /** Default true. False leaves the root's own line out. */
  readonly root?: boolean
  /** Which attributes are printed; default all but isKernelXattr. */
  readonly xattrs?: (name: string) => boolean
  /** Paths (relative) to leave out, with all below them. */
  readonly skip?: (path: Buffer) => boolean
}

/** What the kernel puts on an upper or the machine on any file, and no layer means to say. */
export function isKernelXattr(name: string): boolean {
  return /^(trusted|user)\.overlay\.(origin|impure|nlink|uuid|upper|protattr)$|^security\.selinux$/.test(name)
}

/** The tree below `root` as lines: path, type, mode, owner, time, size, content's hash, xattrs, links. */
export async function dumpTree(root: Bytes, options: DumpOptions = {}): Promise<string[]> {
  const { skip = () => false } = options
  const skipped: Buffer[] = []
  const firstNames = new Map<string, Buffer>()
  const lines: string[] = []
  for (const entry of await readTree(root)) {
    if (options.root === false && entry.path.equals(Buffer.from('.'))) continue
    if (skip(entry.path) || skipped.some((path) => isBelow(entry.path, path))) skipped.push(entry.path)
    else lines.push(lineOf(entry, options, firstNames))
  }
  return lines
}

function isBelow(path: Buffer, ancestor: Buffer): boolean {
  return (
    path.length > ancestor.length &&
    path[ancestor.length] === 0x2f &&
    path.subarray(0, ancestor.length).equals(ancestor)
  )
}

const TYPE_NAMES = new Map([
  [S_IFREG, 'file'],
  [S_IFDIR, 'dir'],
  [S_IFLNK, 'symlink'],
  [S_IFCHR, 'char'],
  [S_IFBLK, 'block'],
  [S_IFIFO, 'fifo'],
  [constants.S_IFSOCK, 'socket'],
])

function lineOf(entry: TreeEntry, options: DumpOptions, firstNames: Map<string, Buffer>): string {
  const { stat } = entry
  const type = stat.mode & S_IFMT
  const inode = `${stat.devMajor}:${stat.devMinor}:${stat.ino}`
  const first = firstNames.get(inode)
  if (first === undefined) firstNames.set(inode, entry.path)
  const nanoseconds = options.nanoseconds === false ? '' : `.${stat.mtimeNsec.toString().padStart(9, '0')}`
  const wanted = options.xattrs ?? ((name: string) => !isKernelXattr(name))
  const xattrs = [...entry.xattrs].filter(([name]) => wanted(name)).sort(([a], [b]) => (a < b ? -1 : 1))
  return [
    printable(entry.path),
    TYPE_NAMES.get(type) ?? type.toString(8),
    (stat.mode & 0o7777).toString(8).padStart(4, '0'),
    `${stat.uid}:${stat.gid}`,
    ...(options.mtime === false ? [] : [`${stat.mtimeSec}${nanoseconds}`]),
    ...(type === S_IFREG ? [`${stat.size}`, `sha256:${entry.sha256?.slice(0, 16) ?? ''}`] : []),
    ...(type === S_IFCHR || type === S_IFBLK ? [`${stat.rdevMajor}:${stat.rdevMinor}`] : []),
    ...xattrs.map(([name, value]) => `${name}=${printable(value)}`),
    ...(entry.target === undefined ? [] : ['->', printable(entry.target)]),
    ...(type === S_IFDIR || options.nlink === false ? [] : [`nlink=${stat.nlink}`]),
    ...(first === undefined || type === S_IFDIR || options.nlink === false
      ? []
      : [`same-as=${printable(first)}`]),
  ].join(' ')
}

/** Bytes as text that loses nothing: printable ASCII as it is, the rest and the backslash as \xNN. */
export function printable(value: Uint8Array): string {
  let text = ''
  for (const byte of value) {
    const plain = byte > 0x20 && byte < 0x7f && byte !== 0x5c
    text += plain ? String.fromCharCode(byte) : `\\x${byte.toString(16).padStart(2, '0')}`
  }
  return text
}
