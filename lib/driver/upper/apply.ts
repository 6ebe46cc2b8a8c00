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
import { S } from '../../native/flags.ts'
import type { OpMeta } from '../../native/file-op.ts'
import { runReader } from '../../native/tar-run.ts'
import { parseWhiteout, type Whiteout } from '../../oci/whiteout.ts'
import { byteSource, type ByteStream } from '../../tar/byte-source.ts'
import { ChunkPool } from '../../tar/chunk-pool.ts'
import type { TarHeader, TarLimits, TarObserver, TarSink } from '../../tar/entry.ts'
import { feed } from '../../tar/feed.ts'
import { cleanParts, cleanPath } from '../../tar/name.ts'
import { AT, FILE_FLAG, type PlainRun } from '../../tar/plain-run.ts'
import { TarScanner } from '../../tar/scanner.ts'
import { badTar, quoteName } from '../../tar/syntax.ts'
import { type Body, bodyOf } from './apply-body.ts'
import { metaOf } from './apply-meta.ts'
import { type ApplyNotes, notesOf } from './apply-notes.ts'
import { OpQueue } from './apply-queue.ts'
import {
  type DirNode,
  type Folder,
  hasBodies,
  hasContent,
  LayerTree,
  type LeafNode,
  type LowerNode,
  newDir,
  type Node,
  type Place,
  visitTree,
} from './apply-tree.ts'
import { type Marks, OVERLAY_MARKS } from './marks.ts'

export interface ApplyLayerOptions {
  /** What deleted names become; default overlayfs' own. */
  readonly marks?: Marks
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
  tar: ByteStream,
  options: ApplyLayerOptions,
): Promise<ApplyNotes> {
  const { observer, signal, marks = OVERLAY_MARKS } = options
  const source = byteSource(tar)
  const pool = new ChunkPool()
  const queue = new OpQueue(diffFd, pool, signal)
  const applier = new Applier(queue, pool, marks)
  const scanner = new TarScanner(applier, { ...options, readRun: runReader() })
  try {
    await feed(source, scanner, { pool, observer, signal, afterPiece: () => queue.room() })
    return await applier.finish()
  } catch (error) {
    throw explained(error)
  } finally {
    await queue.quiet()
    const closed = source.close()
    // After an abort a source may not answer any more.
    if (signal?.aborted !== true) await closed
  }
}

/** Linux's dev_t has 12 bits of major and 20 of minor number: more would become another device. */
const MAX_MAJOR = 0xfff
const MAX_MINOR = 0xfffff

class Applier implements TarSink {
  readonly #queue: OpQueue
  readonly #pool: ChunkPool
  readonly #marks: Marks
  readonly #tree = new LayerTree()
  /** In the archive's order, with the paths they are at. */
  readonly #lowerLinks = new Map<LowerNode, string>()
  /** Of the file that is coming in. */
  #body: Body | undefined

  constructor(queue: OpQueue, pool: ChunkPool, marks: Marks) {
    this.#queue = queue
    this.#pool = pool
    this.#marks = marks
  }

  member(header: TarHeader, offset: number): 'file' | 'record' {
    const path = cleanPath(header.name)
    const slash = path.lastIndexOf('/')
    const folder = path.slice(0, Math.max(slash, 0))
    const name = path.slice(slash + 1)
    if (name === '') return this.#addRoot(header)
    const mark = markOf(header, name)
    if (mark.kind === 'reserved' || isReserved(folder)) return 'record'
    const entry: Entry = { header, offset }
    if (mark.kind !== 'none') return this.#addMark(entry, folder, mark)
    this.#addMember(entry, folder, name)
    return 'file'
  }

  /** Files with new names, most of all there is, are quick; the rest goes its way one by one. */
  run(run: PlainRun): void {
    let folder: Folder | undefined
    for (let i = 0; i < run.count; i++) {
      if (run.word(i, AT.type) !== FILE_FLAG) {
        folder = undefined
        this.#runMember(run, i)
        continue
      }
      if (folder === undefined || run.word(i, AT.sameFolder) === 0) folder = this.#enter(run.folder(i))
      const name = run.bases[i] as string
      if (folder.dir.children.has(name)) {
        folder = undefined
        this.#runMember(run, i)
        continue
      }
      this.#tree.putFile(folder.dir, name, run.word(i, AT.size))
      this.#queue.runFile(folder, run, i)
    }
  }

  #runMember(run: PlainRun, index: number): void {
    const header = run.header(index)
    this.member(header, run.base + run.word(index, AT.headerStart))
    const start = run.word(index, AT.bodyStart)
    if (header.size > 0) this.body(run.bytes, start, start + header.size)
    this.end()
  }

  body(bytes: Buffer, start: number, end: number): void {
    this.#body?.add(bytes, start, end)
  }

  end(): void {
    this.#body?.end()
    this.#body = undefined
  }

  /** Anything but a directory cannot be the root and is left out, as containerd does. */
  #addRoot(header: TarHeader): 'record' {
    const { root } = this.#tree
    if (header.type === 'dir') {
      root.given = true
      root.meta = metaOf(header)
    }
    return 'record'
  }

  /** A whiteout or opaque mark. Its body, should it have one, is kept with the archive's record. */
  #addMark(entry: Entry, folder: string, mark: Whiteout): 'record' {
    if (mark.kind === 'invalid') throw unsafeWhiteout(entry)
    const at = this.#tree.peek(cleanParts(folder))
    // Below what this layer deletes or replaces by a file there is nothing left to hide.
    if (at === undefined) return 'record'
    const { dir, path } = this.#enter(folder)
    if (mark.kind === 'opaque') dir.opaque = true
    if (mark.kind === 'whiteout') {
      this.#whiteOut(placeIn(dir, path, mark.name.toString('latin1')), entry.header)
    }
    return 'record'
  }

  /** Hides `place` of the layers below, and nothing that this layer brings. */
  #whiteOut(place: Place, header: TarHeader): void {
    const existing = place.parent.children.get(place.name)
    if (existing?.kind === 'dir' && hasContent(existing)) {
      existing.fresh = true
      existing.opaque = true
      return
    }
    if (existing !== undefined && existing.kind !== 'dir') return
    if (existing !== undefined) this.#remove(place)
    this.#tree.put(place, { kind: 'whiteout' })
    const meta: OpMeta = { ...metaOf(header), mode: S.S_IFCHR, xattrs: [] }
    this.#queue.structure.node(place.path, 0, this.#marks.whiteoutMinor, meta)
  }

  #addMember(entry: Entry, folder: string, name: string): void {
    const { header } = entry
    const { dir, path } = this.#enter(folder)
    const place = placeIn(dir, path, name)
    if (header.type === 'dir') this.#addDir(place, header)
    else if (header.type === 'hardlink') this.#addLink(place, entry)
    else {
      this.#makeRoom(place, entry)
      this.#addLeaf(place, path, entry)
    }
  }

  /** The folder that `name` leads to; the folders missing on the way are implied. */
  #enter(name: string): Folder {
    return this.#tree.enter(name, (path, dir) => {
      // There is a whiteout in its place.
      if (dir.fresh) this.#queue.structure.remove(path)
      this.#queue.structure.dir(path)
    })
  }

  #addDir(place: Place, header: TarHeader): void {
    const existing = place.parent.children.get(place.name)
    const meta = metaOf(header)
    if (existing?.kind === 'dir') {
      existing.given = true
      existing.meta = meta
      return
    }
    if (existing !== undefined) this.#replace(place, existing, header)
    this.#tree.put(place, newDir(existing?.kind === 'whiteout', meta))
    this.#queue.structure.dir(place.path)
  }

  #addLink(place: Place, entry: Entry): void {
    const parts = cleanParts(entry.header.linkname.toString('latin1'))
    const name = parts.pop()
    if (name === undefined) throw badTar('a hard link to the root', placeOf(entry))
    const at = this.#tree.peek(parts)
    const target = at?.dir?.children.get(name)
    if (target?.kind === 'dir') throw badTar('a hard link to a directory', placeOf(entry))
    if (target !== undefined && target === place.parent.children.get(place.name)) return
    this.#makeRoom(place, entry)
    if (at === undefined || target === undefined || target.kind === 'whiteout' || target.kind === 'lower') {
      const node: LowerNode = { kind: 'lower', target: [...parts, name].join('/') }
      this.#tree.put(place, node)
      this.#lowerLinks.set(node, place.path)
      return
    }
    this.#tree.put(place, target)
    this.#queue.links.link(place.path, at.path === '' ? name : `${at.path}/${name}`)
  }

  /** Removes what an earlier entry put there, when nothing of the archive is lost by it. */
  #makeRoom(place: Place, entry: Entry): void {
    const existing = place.parent.children.get(place.name)
    if (existing !== undefined) this.#replace(place, existing, entry.header)
  }

  #replace(place: Place, existing: Node, header: TarHeader): void {
    // The archive could not be written out again without the first body; moby refuses such layers too.
    if (hasBodies(existing)) {
      const path = Buffer.from(place.path, 'latin1')
      throw new OverlaidError(
        'ERR_BAD_TAR',
        `bad tar: entry ${quoteName(header.name)} replaces ${quoteName(path)} of the same archive`,
      )
    }
    this.#remove(place)
  }

  #remove(place: Place): void {
    const existing = place.parent.children.get(place.name)
    this.#tree.drop(place)
    // A hard link that is still to be made is on no disk yet.
    if (existing === undefined || existing.kind === 'lower') return
    // Whiteouts come and go in order with their like; all else may be in the making.
    if (existing.kind !== 'whiteout') this.#queue.barrier()
    this.#queue.structure.remove(place.path, { recursive: true })
  }

  #addLeaf(place: Place, folder: string, entry: Entry): void {
    const { header } = entry
    const meta = metaOf(header)
    this.#tree.put(place, nodeOf(header))
    if (header.type !== 'file') this.#addSpecial(entry, place.path, meta)
    else this.#body = bodyOf({ queue: this.#queue, pool: this.#pool, folder, path: place.path }, header, meta)
  }

  #addSpecial(entry: Entry, path: string, meta: OpMeta): void {
    const { type, linkname, devMajor, devMinor } = entry.header
    if (type === 'symlink') {
      if (linkname.length === 0) throw badTar('a symlink to nothing', placeOf(entry))
      this.#queue.structure.symlink(path, linkname, meta)
      return
    }
    const isMark = type === 'char' && devMajor === 0 && devMinor === this.#marks.whiteoutMinor
    if (isMark || devMajor > MAX_MAJOR || devMinor > MAX_MINOR) {
      const text = `the device number ${String(devMajor)}:${String(devMinor)} does not exist`
      throw badTar(text, placeOf(entry))
    }
    const isFifo = type === 'fifo'
    this.#queue.structure.node(path, isFifo ? 0 : devMajor, isFifo ? 0 : devMinor, meta)
  }

  async finish(): Promise<ApplyNotes> {
    const { root } = this.#tree
    await this.#queue.finish((next) => {
      visitTree(root, (path, node) => {
        if (node.kind === 'dir') next().meta(path, node.meta)
      })
      if (root.given) next().meta('.', root.meta)
    })
    return notesOf(this.#tree, this.#lowerLinks)
  }
}

/** A member, and where it begins in the archive. */
interface Entry {
  readonly header: TarHeader
  readonly offset: number
}

/** Below one of AUFS' own folders. */
function isReserved(folder: string): boolean {
  return folder.includes('.wh..wh.') && folder.split('/').some((part) => part.startsWith('.wh..wh.'))
}

function placeIn(parent: DirNode, path: string, name: string): Place {
  return { parent, name, path: path === '' ? name : `${path}/${name}` }
}

function placeOf({ offset, header }: Entry): { offset: number; entry: Buffer } {
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

function unsafeWhiteout({ header, offset }: Entry): OverlaidError {
  const name = quoteName(header.name)
  const text = `the whiteout ${name} at byte ${String(offset)} would delete its own folder or the one above`
  return new OverlaidError('ERR_UNSAFE_PATH', text, { path: header.name.toString() })
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
