/**
 * Unpacks a layer's archive into an empty folder, in the form of an overlayfs upper directory.
 *
 * What an archive leaves open until the layers below are known — folders it only implies, hard links to files that
 * it does not bring, what there is to hide — is noted, and {@link settleLayer} settles it. So layers of one image
 * unpack side by side.
 *
 * Safe by construction: every operation goes by fileops, which opens each parent inside the layer and creates each
 * last component with O_EXCL or O_NOFOLLOW. Names that are absolute or climb with `..` stay inside the layer.
 */
import { hasCode, OverlaidError, type SyscallError } from '../../errors.ts'
import type { Bytes, FileOp, OpMeta } from '../../native/binding.ts'
import { S } from '../../native/flags.ts'
import { parseWhiteout, type Whiteout } from '../../oci/whiteout.ts'
import type { TarEntry, TarHeader, TarLimits, TarObserver } from '../../tar/entry.ts'
import { cleanParts } from '../../tar/name.ts'
import { readTar } from '../../tar/reader.ts'
import { badTar, quoteName } from '../../tar/syntax.ts'
import { writeBody } from './apply-body.ts'
import { lastMetaOf, metaOf } from './apply-meta.ts'
import { OpQueue } from './apply-queue.ts'
import {
  type DirNode,
  hasBodies,
  hasContent,
  LayerTree,
  type LeafNode,
  type LowerNode,
  type Node,
  pathBytes,
  type Place,
  visitTree,
} from './apply-tree.ts'

/** A folder that the archive needs but never gives, for {@link settleLayer}. */
export interface ImpliedDir {
  readonly path: Buffer
  /** Whited out by this same layer, so that nothing below it counts. */
  readonly fresh: boolean
}

/** A hard link whose target this layer does not bring. */
export interface LowerLink {
  readonly path: Buffer
  /** As a member's name, cleaned; its parents may be symlinks. */
  readonly target: Buffer
}

/** What a layer's archive leaves open until its parent is known. Plain data; paths are relative, without links. */
export interface ApplyNotes {
  /** Apparent bytes of what was unpacked: non-directories, each inode once (moby's rule). */
  readonly size: number
  /** Parents before children; an empty path is the layer's root. */
  readonly implied: readonly ImpliedDir[]
  readonly whiteouts: readonly Buffer[]
  /** Directories that are to hide what is below; {@link settleLayer} marks those that have something to hide. */
  readonly opaque: readonly Buffer[]
  /** In the archive's order. */
  readonly links: readonly LowerLink[]
  /** The archive makes the root itself opaque, which the kernel has no mark for. */
  readonly rootOpaque: boolean
}

export interface ApplyLayerOptions {
  readonly limits?: TarLimits
  readonly observer?: TarObserver
  readonly signal?: AbortSignal
}

/**
 * Unpacks an uncompressed layer tar into the empty folder `diffFd`. On failure the folder is left half filled.
 *
 * @throws ERR_BAD_TAR (a path twice among it), ERR_UNSAFE_PATH, ERR_LIMIT_EXCEEDED, ERR_UNSUPPORTED_FS (an
 *   attribute that the file system cannot carry), a SyscallError (ENOSPC), the signal's reason
 */
export async function applyLayer(
  diffFd: number,
  tar: AsyncIterable<Buffer>,
  options: ApplyLayerOptions,
): Promise<ApplyNotes> {
  const queue = new OpQueue(diffFd, options.signal)
  const applier = new Applier(queue)
  try {
    for await (const entry of readTar(tar, options)) await applier.add(entry)
    return await applier.finish()
  } catch (error) {
    throw explained(error)
  } finally {
    await queue.quiet()
  }
}

/** Linux's dev_t has 12 bits of major and 20 of minor number: more would become another device. */
const MAX_MAJOR = 0xfff
const MAX_MINOR = 0xfffff

class Applier {
  readonly #queue: OpQueue
  readonly #tree = new LayerTree()
  /** Metadata that folders get at the end, by path. */
  readonly #lastMeta = new Map<string, FileOp>()
  /** In the archive's order, with the paths they are at. */
  readonly #lowerLinks = new Map<LowerNode, string>()

  constructor(queue: OpQueue) {
    this.#queue = queue
  }

  async add(entry: TarEntry): Promise<void> {
    const parts = cleanParts(entry.header.name)
    const name = parts.pop()
    if (name === undefined) {
      this.#addRoot(entry)
      return
    }
    const mark = markOf(entry.header, name)
    const skipped = mark.kind === 'reserved' || parts.some((part) => part.startsWith('.wh..wh.'))
    if (skipped) entry.inline()
    else if (mark.kind === 'none') await this.#addMember(entry, parts, name)
    else await this.#addMark(entry, parts, mark)
    await this.#queue.breathe()
  }

  /** Anything but a directory cannot be the root and is left out, as containerd does. */
  #addRoot(entry: TarEntry): void {
    const { header } = entry
    entry.inline()
    if (header.type !== 'dir') return
    this.#tree.root.given = true
    const path = Buffer.from('.')
    this.#queue.structure({ op: 'meta', path, ...metaOf(header) })
    this.#lastMeta.set('', lastMetaOf(path, header))
  }

  /** A whiteout or opaque mark. Its body, should it have one, is kept with the archive's record. */
  async #addMark(entry: TarEntry, parts: string[], mark: Whiteout): Promise<void> {
    entry.inline()
    if (mark.kind === 'invalid') throw unsafeWhiteout(entry)
    const at = this.#tree.peek(parts)
    // Below what this layer deletes or replaces by a file there is nothing left to hide.
    if (at === undefined) return
    const { dir, path } = this.#enter(parts)
    if (mark.kind === 'opaque') dir.opaque = true
    if (mark.kind === 'whiteout')
      await this.#whiteOut(placeIn(dir, path, mark.name.toString('latin1')), entry.header)
  }

  /** Hides `place` of the layers below, and nothing that this layer brings. */
  async #whiteOut(place: Place, header: TarHeader): Promise<void> {
    const existing = place.parent.children.get(place.name)
    if (existing?.kind === 'dir' && hasContent(existing)) {
      existing.fresh = true
      existing.opaque = true
      return
    }
    if (existing !== undefined && existing.kind !== 'dir') return
    if (existing !== undefined) await this.#remove(place)
    this.#tree.put(place, { kind: 'whiteout' })
    this.#queue.structure({
      op: 'node',
      path: pathBytes(place.path),
      major: 0,
      minor: 0,
      ...metaOf(header),
      mode: S.S_IFCHR,
      xattrs: [],
    })
  }

  async #addMember(entry: TarEntry, parts: string[], name: string): Promise<void> {
    const { header } = entry
    const { dir, path } = this.#enter(parts)
    const place = placeIn(dir, path, name)
    if (header.type === 'dir') await this.#addDir(place, header)
    else if (header.type === 'hardlink') await this.#addLink(place, entry)
    else {
      await this.#makeRoom(place, entry)
      await this.#addLeaf(place, entry)
    }
  }

  /** The folder that `parts` lead to; the folders missing on the way are implied. */
  #enter(parts: string[]): { dir: DirNode; path: string } {
    return this.#tree.enter(parts, (path, dir) => {
      const bytes = pathBytes(path)
      // There is a whiteout in its place.
      if (dir.fresh) this.#queue.structure({ op: 'remove', path: bytes })
      this.#queue.structure({ op: 'dir', path: bytes, ...IMPLIED_META })
    })
  }

  async #addDir(place: Place, header: TarHeader): Promise<void> {
    const existing = place.parent.children.get(place.name)
    const path = pathBytes(place.path)
    const fresh = existing?.kind === 'whiteout'
    let dir = existing?.kind === 'dir' ? existing : undefined
    if (dir === undefined) {
      if (existing !== undefined) await this.#replace(place, existing, header)
      dir = { kind: 'dir', children: new Map(), given: true, fresh, opaque: fresh }
      this.#tree.put(place, dir)
    }
    dir.given = true
    this.#queue.structure({ op: 'dir', path, ...metaOf(header) })
    this.#lastMeta.set(place.path, lastMetaOf(path, header))
  }

  async #addLink(place: Place, entry: TarEntry): Promise<void> {
    const parts = cleanParts(entry.header.linkname)
    const name = parts.pop()
    if (name === undefined) throw badTar('a hard link to the root', placeOf(entry))
    const at = this.#tree.peek(parts)
    const target = at?.dir?.children.get(name)
    if (target?.kind === 'dir') throw badTar('a hard link to a directory', placeOf(entry))
    if (target !== undefined && target === place.parent.children.get(place.name)) return
    await this.#makeRoom(place, entry)
    if (at === undefined || target === undefined || target.kind === 'whiteout' || target.kind === 'lower') {
      const node: LowerNode = { kind: 'lower', target: [...parts, name].join('/') }
      this.#tree.put(place, node)
      this.#lowerLinks.set(node, place.path)
      return
    }
    this.#tree.put(place, target)
    const path = pathBytes(place.path)
    this.#queue.link({
      op: 'link',
      path,
      target: pathBytes(at.path === '' ? name : `${at.path}/${name}`),
    })
  }

  /** Removes what an earlier entry put there, when nothing of the archive is lost by it. */
  async #makeRoom(place: Place, entry: TarEntry): Promise<void> {
    const existing = place.parent.children.get(place.name)
    if (existing !== undefined) await this.#replace(place, existing, entry.header)
  }

  async #replace(place: Place, existing: Node, header: TarHeader): Promise<void> {
    // The archive could not be written out again without the first body; moby refuses such layers too.
    if (hasBodies(existing)) {
      const path = Buffer.from(place.path, 'latin1')
      throw new OverlaidError(
        'ERR_BAD_TAR',
        `bad tar: entry ${quoteName(header.name)} replaces ${quoteName(path)} of the same archive`,
      )
    }
    await this.#remove(place)
  }

  async #remove(place: Place): Promise<void> {
    const existing = place.parent.children.get(place.name)
    this.#tree.drop(place)
    // A hard link that is still to be made is on no disk yet.
    if (existing === undefined || existing.kind === 'lower') return
    if (existing.kind === 'dir') this.#forgetLastMeta(place.path)
    // Whiteouts come and go in order with their like; all else may be in the making.
    if (existing.kind !== 'whiteout') await this.#queue.barrier()
    this.#queue.structure({ op: 'remove', path: pathBytes(place.path), recursive: true })
  }

  #forgetLastMeta(path: string): void {
    for (const known of this.#lastMeta.keys()) {
      if (known === path || known.startsWith(`${path}/`)) this.#lastMeta.delete(known)
    }
  }

  async #addLeaf(place: Place, entry: TarEntry): Promise<void> {
    const { header } = entry
    const path = pathBytes(place.path)
    const meta = metaOf(header)
    const node = nodeOf(header)
    this.#tree.put(place, node)
    if (header.type === 'file') await writeBody(this.#queue, entry, path, meta)
    else this.#queue.structure(specialOp(entry, path, meta))
  }

  async finish(): Promise<ApplyNotes> {
    // Children before parents; the order is all that matters, as each sets the time of one folder only.
    await this.#queue.finish([...this.#lastMeta.values()].reverse())
    return notesOf(this.#tree, this.#lowerLinks)
  }
}

/** Until settleLayer() knows better. */
const IMPLIED_META: OpMeta = { mode: S.S_IFDIR | 0o755, uid: 0, gid: 0, mtimeSec: 0, mtimeNsec: 0 }

function placeIn(parent: DirNode, path: string, name: string): Place {
  return { parent, name, path: path === '' ? name : `${path}/${name}` }
}

function placeOf({ offset, header }: TarEntry): { offset: number; entry: Buffer } {
  return { offset, entry: header.name }
}

/**
 * A character device 0:0 is what overlayfs has for a whiteout: unpacked as it is, it would be one. Tars of an upper
 * directory have them, and dockerd shows them as deletions, so they are taken for what they become.
 */
function isWhiteoutDevice({ type, devMajor, devMinor }: TarHeader): boolean {
  return type === 'char' && devMajor === 0 && devMinor === 0
}

function markOf(header: TarHeader, name: string): Whiteout {
  const bytes = (): Buffer => Buffer.from(name, 'latin1')
  if (isWhiteoutDevice(header)) return { kind: 'whiteout', name: bytes() }
  return name.startsWith('.wh.') ? parseWhiteout(bytes()) : { kind: 'none' }
}

function nodeOf(header: TarHeader): LeafNode | Extract<Node, { kind: 'symlink' }> {
  const { type, linkname, size, sparse } = header
  if (type === 'symlink') {
    return {
      kind: 'symlink',
      target: linkname.toString('latin1'),
      size: linkname.length,
      hasBody: false,
      links: 0,
    }
  }
  // A sparse file's bytes are kept with the archive's record.
  return { kind: 'leaf', size: sparse?.realSize ?? size, hasBody: size > 0 && sparse === undefined, links: 0 }
}

function specialOp(entry: TarEntry, path: Bytes, meta: OpMeta): FileOp {
  const { type, linkname, devMajor, devMinor } = entry.header
  if (type === 'symlink') {
    if (linkname.length === 0) throw badTar('a symlink to nothing', placeOf(entry))
    return { op: 'symlink', path, target: linkname, ...meta }
  }
  if (type === 'fifo') return { op: 'node', path, major: 0, minor: 0, ...meta }
  if (devMajor > MAX_MAJOR || devMinor > MAX_MINOR) {
    throw badTar(`the device number ${String(devMajor)}:${String(devMinor)} does not exist`, placeOf(entry))
  }
  return { op: 'node', path, major: devMajor, minor: devMinor, ...meta }
}

function unsafeWhiteout({ header, offset }: TarEntry): OverlaidError {
  const name = quoteName(header.name)
  const text = `the whiteout ${name} at byte ${String(offset)} would delete its own folder or the one above`
  return new OverlaidError('ERR_UNSAFE_PATH', text, { path: header.name.toString() })
}

function notesOf(tree: LayerTree, lowerLinks: ReadonlyMap<LowerNode, string>): ApplyNotes {
  const implied: ImpliedDir[] = tree.root.given ? [] : [{ path: Buffer.alloc(0), fresh: false }]
  const whiteouts: Buffer[] = []
  const opaque: Buffer[] = []
  const present = new Set<Node>()
  visitTree(tree.root, (path, node) => {
    if (node.kind === 'whiteout') whiteouts.push(Buffer.from(path, 'latin1'))
    if (node.kind === 'lower') present.add(node)
    if (node.kind !== 'dir') return
    if (!node.given) implied.push({ path: Buffer.from(path, 'latin1'), fresh: node.fresh })
    if (node.opaque) opaque.push(Buffer.from(path, 'latin1'))
  })
  const links = [...lowerLinks]
    .filter(([node]) => present.has(node))
    .map(([{ target }, path]) => ({
      path: Buffer.from(path, 'latin1'),
      target: Buffer.from(target, 'latin1'),
    }))
  return { size: tree.size, implied, whiteouts, opaque, links, rootOpaque: tree.root.opaque }
}

/** An attribute that cannot be set says which and where; all else is left as it is. */
function explained(error: unknown): unknown {
  const { syscall = '', dest = '', path = '' } = error as Partial<SyscallError>
  if (!syscall.includes('setxattr') || !hasCode(error, 'EOPNOTSUPP', 'ENOTSUP', 'E2BIG', 'ERANGE'))
    return error
  return new OverlaidError(
    'ERR_UNSUPPORTED_FS',
    `the file system cannot carry the attribute ${dest} of ${path}`,
    {
      path,
      cause: error,
      hint: 'use a file system with extended attributes for the data root, such as ext4, xfs or btrfs',
    },
  )
}
