/**
 * What a layer holds while it is being unpacked, in memory: which names are there, as what, and who gave them.
 *
 * The folder that a layer is unpacked into starts empty, so this is all there is in it, and what an entry means —
 * where its symlinked parents lead, what it replaces, which folders are only implied — is decided here, without a
 * look at the disk. The kernel still resolves every path inside the layer: were this wrong, an operation would fail.
 *
 * Names are kept as latin1 strings, a character a byte: small, and good as keys.
 */
import { OverlaidError } from '../../errors.ts'
import type { Bytes } from '../../native/binding.ts'
import { S } from '../../native/flags.ts'
import type { OpMeta } from '../../native/file-op.ts'
import { components } from '../../tar/name.ts'

export interface DirNode {
  readonly kind: 'dir'
  readonly children: Map<string, Node>
  /** The archive has an entry for it. */
  given: boolean
  /** Whited out in this same layer: nothing of the folder below counts. */
  fresh: boolean
  /** Hides what lower layers have in it. */
  opaque: boolean
  /** What it gets when nothing is put into it any more. */
  meta: OpMeta
}

/** Of a folder that is only implied, until settleLayer() knows better. */
const IMPLIED_META: OpMeta = { mode: S.S_IFDIR | 0o755, uid: 0, gid: 0, mtimeSec: 0, mtimeNsec: 0 }

/** A file, device or fifo; hard links share one. */
export interface LeafNode {
  readonly kind: 'leaf'
  /** Apparent bytes. */
  readonly size: number
  /** Whether the archive had content for it, which is needed to write the archive out again. */
  readonly hasBody: boolean
  links: number
}

export interface SymlinkNode {
  readonly kind: 'symlink'
  readonly target: string
  readonly size: number
  readonly hasBody: false
  links: number
}

export interface WhiteoutNode {
  readonly kind: 'whiteout'
}

/** A hard link whose target is in a lower layer. */
export interface LowerNode {
  readonly kind: 'lower'
  readonly target: string
}

export type Node = DirNode | LeafNode | SymlinkNode | WhiteoutNode | LowerNode

/** Where an entry goes: `path` has no symlink in its parents. */
export interface Place {
  readonly parent: DirNode
  readonly name: string
  readonly path: string
}

/** One component of a walk: the folder there, or nothing yet. */
interface Step {
  readonly name: string
  readonly dir: DirNode | undefined
  readonly whitedOut: boolean
}

/** The kernel's MAXSYMLINKS. */
const MAX_LINKS = 40
/** PATH_MAX without its NUL: links can lead further than any system call goes. */
const MAX_PATH = 4095

/** A folder that replaces a whiteout, when `fresh`, hides what is below; `meta` when the archive gives it. */
export function newDir(fresh: boolean, meta?: OpMeta): DirNode {
  const given = meta !== undefined
  return { kind: 'dir', children: new Map(), given, fresh, opaque: fresh, meta: meta ?? IMPLIED_META }
}

/** A folder where entries go. */
export interface Folder {
  readonly dir: DirNode
  /** Without symlinks in it. */
  readonly path: string
  /** The path and a slash; nothing for the root. */
  readonly prefix: Uint8Array
}

/** Folders that are remembered by name. */
const MAX_KNOWN = 4096

export class LayerTree {
  readonly root: DirNode = newDir(false)
  /** Apparent bytes of what is in the tree, each inode once. */
  size = 0
  /** What names lead to. New entries change none of it, since every component exists already; {@link drop} does. */
  readonly #known = new Map<string, Folder>()

  /**
   * Finds the folder that `name`, a clean path, leads to and makes what is missing on the way; each that was made is
   * told to `made`, parents first. Symlinks of this layer are followed, inside it.
   */
  enter(name: string, made: (path: string, dir: DirNode) => void): Folder {
    const known = this.#known.get(name)
    if (known !== undefined) return known
    let dir = this.root
    let path = ''
    const parts = components(name)
    for (const step of this.#walk(parts)) {
      path = path === '' ? step.name : `${path}/${step.name}`
      const next = step.dir ?? newDir(step.whitedOut)
      if (step.dir === undefined) {
        dir.children.set(step.name, next)
        made(path, next)
      }
      dir = next
    }
    if (path.length > MAX_PATH) throw unfollowable(parts, 'the path is too long')
    const folder = { dir, path, prefix: Buffer.from(path === '' ? '' : `${path}/`, 'latin1') }
    if (this.#known.size >= MAX_KNOWN) this.#known.clear()
    this.#known.set(name, folder)
    return folder
  }

  /** Where `parts` lead, without making anything. Undefined below a name that this layer whites out or is no folder. */
  peek(parts: readonly string[]): { path: string; dir: DirNode | undefined } | undefined {
    const steps = this.#walk(parts, 'lenient')
    if (steps === undefined || steps.some(({ whitedOut }) => whitedOut)) return undefined
    const last = steps.at(-1)
    return { path: steps.map(({ name }) => name).join('/'), dir: last === undefined ? this.root : last.dir }
  }

  put(place: Place, node: Node): void {
    if (node.kind === 'leaf' || node.kind === 'symlink') {
      if (node.links++ === 0) this.size += node.size
    }
    place.parent.children.set(place.name, node)
  }

  /** A file at a name that is free. */
  putFile(dir: DirNode, name: string, size: number): void {
    dir.children.set(name, { kind: 'leaf', size, hasBody: size > 0, links: 1 })
    this.size += size
  }

  /** Takes a node out, with all below it. */
  drop(place: Place): void {
    const node = place.parent.children.get(place.name)
    place.parent.children.delete(place.name)
    this.#known.clear()
    if (node !== undefined) this.#forget(node)
  }

  #forget(node: Node): void {
    if (node.kind === 'dir') for (const child of node.children.values()) this.#forget(child)
    if ((node.kind === 'leaf' || node.kind === 'symlink') && --node.links === 0) this.size -= node.size
  }

  #walk(parts: readonly string[]): Step[]
  #walk(parts: readonly string[], mode: 'lenient'): Step[] | undefined
  #walk(parts: readonly string[], mode?: 'lenient'): Step[] | undefined {
    const rest = [...parts].reverse()
    const steps: Step[] = []
    for (let links = 0; ;) {
      const name = rest.pop()
      if (name === undefined) return steps
      if (name === '..') {
        steps.pop()
        continue
      }
      const last = steps.at(-1)
      const dir = last === undefined ? this.root : last.dir
      const node = dir?.children.get(name)
      if (node?.kind === 'symlink') {
        if (++links > MAX_LINKS) throw unfollowable(parts, 'too many symlinks')
        if (node.target.startsWith('/')) steps.length = 0
        rest.push(...components(node.target).reverse())
      } else if (node === undefined || node.kind === 'dir' || node.kind === 'whiteout') {
        steps.push({
          name,
          dir: node?.kind === 'dir' ? node : undefined,
          whitedOut: node?.kind === 'whiteout',
        })
      } else {
        if (mode === 'lenient') return undefined
        throw unfollowable(parts, `${JSON.stringify(name)} is not a directory`)
      }
    }
  }
}

function unfollowable(parts: readonly string[], why: string): OverlaidError {
  const path = Buffer.from(parts.join('/'), 'latin1').toString()
  return new OverlaidError('ERR_BAD_TAR', `bad tar: cannot go into ${JSON.stringify(path)}: ${why}`, { path })
}

/** A path of the tree for the binding's UTF-8 strings: ASCII as it is, since making a Buffer of each name shows. */
export function pathBytes(path: string): Bytes {
  return /^[\0-\x7f]*$/.test(path) ? path : Buffer.from(path, 'latin1')
}

/** Whether anything but whiteouts is in the folder or below, or it was given itself. */
export function hasContent(dir: DirNode): boolean {
  if (dir.given) return true
  for (const child of dir.children.values()) {
    if (child.kind === 'dir' ? hasContent(child) : child.kind !== 'whiteout') return true
  }
  return false
}

/** Whether content of the archive is in the node or below it. */
export function hasBodies(node: Node): boolean {
  if (node.kind !== 'dir') return node.kind === 'leaf' && node.hasBody
  for (const child of node.children.values()) if (hasBodies(child)) return true
  return false
}

/** Calls `visit` for every node below the root, parents first. */
export function visitTree(dir: DirNode, visit: (path: string, node: Node) => void, below = ''): void {
  for (const [name, node] of dir.children) {
    visit(below + name, node)
    if (node.kind === 'dir') visitTree(node, visit, `${below}${name}/`)
  }
}
