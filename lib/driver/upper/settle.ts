/**
 * Settles what a layer's archive left open, once the layers below are known. The peers disagree on each; this does
 * what the entries mean on a running system:
 *
 * 1. A folder that the archive only implies (`tmp/y` without `tmp`) is the folder below, with its owner, mode, time
 *    and attributes; with nothing below it is root's, 0755. The root is such a folder too.
 * 2. An implied folder over a symlink below follows the link, inside the root; one that the archive gives hides it.
 * 3. A hard link to a file below copies the file up.
 * 4. A whiteout where there is no folder below to hide anything in is removed: overlayfs hides whiteouts in merged
 *    folders only, elsewhere they would be listed. A folder that is implied by such whiteouts alone goes with them,
 *    and if the layer deletes what is below it, the whiteout of that stays.
 * 5. A folder that is opaque gets its mark where there is a folder below to hide.
 * 6. An opaque root becomes a whiteout for each name in the root below: the kernel does not look at the root's mark.
 */
import type { FileOp } from '../../native/file-op.ts'
import type { ApplyNotes } from './apply-notes.ts'
import { isForeignXattr } from './apply-meta.ts'
import { pathBytes } from './apply-tree.ts'
import { type Marks, OVERLAY_MARKS } from './marks.ts'
import { DEFAULT_DIR, SettlingLayer } from './settle-layer.ts'
import { settleLinks } from './settle-links.ts'
import { parentsFirst, splitLast } from './settle-look.ts'
import { settleMoves } from './settle-moves.ts'

export interface SettleOptions {
  /** Those that it was unpacked with; default overlayfs' own. */
  readonly marks?: Marks
  readonly signal?: AbortSignal
}

/** What settling came to. Paths are relative, of a character a byte. */
export interface Settled {
  /** Bytes that this added to {@link ApplyNotes.size}. */
  readonly added: number
  /** Deleted names, and folders that hide all that is below them. */
  readonly whiteouts: ReadonlySet<string>
  readonly opaque: ReadonlySet<string>
}

/**
 * Settles the unpacked layer `diffFd`. Once for each unpacking, of base layers too.
 *
 * @param parentRootFd - the parent's merged content, read-only; undefined for a base layer
 * @throws ERR_BAD_TAR for a hard link to nothing, or two entries that fall together; then the layer is useless
 */
export async function settleLayer(
  diffFd: number,
  parentRootFd: number | undefined,
  notes: ApplyNotes,
  { marks = OVERLAY_MARKS, signal }: SettleOptions = {},
): Promise<Settled> {
  const layer = new SettlingLayer(diffFd, parentRootFd, notes, marks)
  if (notes.rootOpaque) await hideRoot(layer)
  await settleMoves(layer, signal)
  const added = await settleLinks(layer, signal)
  await dropWhiteouts(layer)
  await dropEmptyDirs(layer)
  await layer.markOpaque()
  await giveImpliedMetadata(layer)
  await layer.restoreTimes()
  return { added, whiteouts: layer.whiteouts, opaque: layer.opaque }
}

/** Does by single whiteouts what an opaque mark on the root would do. */
async function hideRoot(layer: SettlingLayer): Promise<void> {
  for (const { name } of (await layer.below?.list('')) ?? []) {
    const path = name.toString('latin1')
    const own = await layer.upper.find(path)
    if (own === undefined) await layer.addWhiteout(path)
    else if (own.kind === 'dir') {
      if (layer.implied.has(path)) layer.implied.set(path, { fresh: true })
      layer.makeOpaque(path)
    }
  }
}

async function dropWhiteouts(layer: SettlingLayer): Promise<void> {
  for (const path of [...layer.whiteouts]) {
    const { parent } = splitLast(path)
    const merges = (await layer.lowerAt(parent))?.kind === 'dir' && !layer.opaque.has(parent)
    if (!merges) await layer.removeWhiteout(path)
  }
}

/** Removes implied folders with nothing in them; where one took the place of a whiteout, that is put back. */
async function dropEmptyDirs(layer: SettlingLayer): Promise<void> {
  for (const path of parentsFirst(layer.implied.keys()).reverse()) {
    const fresh = layer.implied.get(path)?.fresh === true
    const lower = await layer.lowerAt(path)
    if (path === '' || (lower?.kind === 'dir' && !fresh)) continue
    if ((await layer.upper.list(path)).length > 0) continue
    await layer.removeDir(path)
    if (fresh && lower !== undefined) await layer.addWhiteout(path)
  }
}

async function giveImpliedMetadata(layer: SettlingLayer): Promise<void> {
  const ops: FileOp[] = []
  for (const path of parentsFirst(layer.implied.keys()).reverse()) ops.push(await impliedMeta(layer, path))
  await layer.run(ops)
}

async function impliedMeta(layer: SettlingLayer, path: string): Promise<FileOp> {
  const at = pathBytes(path === '' ? '.' : path)
  const lower = layer.implied.get(path)?.fresh === true ? undefined : await layer.lowerAt(path)
  if (lower?.kind !== 'dir') return { op: 'meta', path: at, ...DEFAULT_DIR }
  const { mode, uid, gid, mtimeSec, mtimeNsec } = lower.stat
  const xattrs = ((await layer.below?.xattrs(path)) ?? []).filter(({ name }) => !isForeignXattr(name))
  return { op: 'meta', path: at, mode, uid, gid, mtimeSec, mtimeNsec, xattrs }
}
