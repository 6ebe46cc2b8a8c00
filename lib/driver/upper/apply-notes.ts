/** What unpacking leaves to be settled when the layers below are known. */
import { type LayerTree, type LowerNode, type Node, visitTree } from './apply-tree.ts'

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

/** @param lowerLinks in the archive's order, with the paths they are at */
export function notesOf(tree: LayerTree, lowerLinks: ReadonlyMap<LowerNode, string>): ApplyNotes {
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
