/** Looks at single names of a tree without following links, by descriptors below its root. */
import { closeSync, constants } from 'node:fs'
import { hasCode } from '../../errors.ts'
import { binding, type ScannedEntry, type Stat, type Xattr } from '../../native/binding.ts'
import { AT, S } from '../../native/flags.ts'
import { OVERLAY_MARKS } from './marks.ts'

export type FoundKind = 'dir' | 'symlink' | 'file' | 'whiteout' | 'other'

export interface Found {
  readonly kind: FoundKind
  readonly stat: Stat
}

const OPEN_PARENT = constants.O_DIRECTORY | constants.O_NOFOLLOW

/** `path` cut before its last component; the root's own are the root and `.`. */
export function splitLast(path: string): { parent: string; name: string } {
  const slash = path.lastIndexOf('/')
  return { parent: slash < 0 ? '' : path.slice(0, slash), name: path === '' ? '.' : path.slice(slash + 1) }
}

/** Paths so that a folder comes before what is in it. */
export function parentsFirst(paths: Iterable<string>): string[] {
  const depth = (path: string): number => (path === '' ? 0 : path.split('/').length)
  return [...paths].sort((a, b) => depth(a) - depth(b))
}

/** A tree below a root; paths are latin1 strings, a character a byte, relative to it, the root's own is empty. */
export class TreeLook {
  readonly root: number
  readonly #whiteoutMinor: number

  /** @param whiteoutMinor of the device that stands for a deleted name */
  constructor(root: number, whiteoutMinor: number) {
    this.root = root
    this.#whiteoutMinor = whiteoutMinor
  }

  kindOf(stat: Stat): FoundKind {
    return kindOf(stat, this.#whiteoutMinor)
  }

  /** What is at `path`; undefined when nothing is, or one of its parents is no directory. */
  async find(path: string): Promise<Found | undefined> {
    const stat = await this.#at(path, statAt)
    return stat === undefined ? undefined : { kind: this.kindOf(stat), stat }
  }

  /** A symlink's target. It must be there. */
  async readLink(path: string): Promise<string> {
    const target = await this.#at(path, (parentFd, name) => binding.readlinkat(parentFd, name))
    return (target ?? Buffer.alloc(0)).toString('latin1')
  }

  async xattrs(path: string): Promise<readonly Xattr[]> {
    return (await this.#at(path, xattrsAt)) ?? []
  }

  /** The entries of a directory, sorted by name; it must be there. */
  async list(path: string): Promise<ScannedEntry[]> {
    const fd = await this.#open(path)
    try {
      return await binding.scandirat(fd, '', { xattrs: false })
    } finally {
      closeSync(fd)
    }
  }

  #open(path: string): Promise<number> {
    return binding.openInRoot(this.root, path === '' ? '.' : Buffer.from(path, 'latin1'), OPEN_PARENT, 0)
  }

  async #at<T>(path: string, look: (parentFd: number, name: Buffer) => Promise<T>): Promise<T | undefined> {
    const { parent, name } = splitLast(path)
    let fd: number | undefined
    try {
      fd = await this.#open(parent)
      return await look(fd, Buffer.from(name, 'latin1'))
    } catch (error) {
      if (hasCode(error, 'ENOENT', 'ENOTDIR', 'ELOOP')) return undefined
      throw error
    } finally {
      if (fd !== undefined) closeSync(fd)
    }
  }
}

function statAt(parentFd: number, name: Buffer): Promise<Stat> {
  return binding.statx(parentFd, name, AT.AT_SYMLINK_NOFOLLOW)
}

/** By name below the parent's descriptor: descriptors opened with O_PATH have no attributes. */
async function xattrsAt(parentFd: number, name: Buffer): Promise<Xattr[]> {
  const at = Buffer.concat([Buffer.from(`/proc/self/fd/${String(parentFd)}/`), name])
  const names = await binding.llistxattr(at)
  const pairs = await Promise.all(
    names.map(async (key) => ({ name: key, value: await binding.lgetxattr(at, key) })),
  )
  return pairs.flatMap(({ name: key, value }) => (value === undefined ? [] : [{ name: key, value }]))
}

/** All that a copy of a name needs to know. */
export interface FullFound extends Found {
  readonly xattrs: readonly Xattr[]
  /** A symlink's. */
  readonly target: Buffer | undefined
}

/** Everything about `name` in a directory of a merged tree that is open. @throws ENOENT */
export async function lookAt(parentFd: number, name: Buffer): Promise<FullFound> {
  const stat = await statAt(parentFd, name)
  const kind = kindOf(stat, OVERLAY_MARKS.whiteoutMinor)
  const target = kind === 'symlink' ? await binding.readlinkat(parentFd, name) : undefined
  return { kind, stat, xattrs: await xattrsAt(parentFd, name), target }
}

function kindOf({ mode, rdevMajor, rdevMinor }: Stat, whiteoutMinor: number): FoundKind {
  const type = mode & S.S_IFMT
  if (type === S.S_IFDIR) return 'dir'
  if (type === S.S_IFLNK) return 'symlink'
  if (type === S.S_IFREG) return 'file'
  return type === S.S_IFCHR && rdevMajor === 0 && rdevMinor === whiteoutMinor ? 'whiteout' : 'other'
}
