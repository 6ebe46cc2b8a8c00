/**
 * Puts an upper directory onto a tree: what a layer means where there is no overlayfs to show it.
 *
 * Where both lie in one home, names move from the one to the other. Where the kernel refuses that (EXDEV, two btrfs
 * subvolumes), or they are two mounts, they are copied, and what they hold is shared by reflink where that is possible.
 */
import { constants } from 'node:fs'
import { copyTree } from '../../fs/copy-tree.ts'
import { openFolder } from '../../fs/folder.ts'
import { walk, type WalkEntry } from '../../fs/walk.ts'
import { hasCode } from '../../errors.ts'
import { binding, type Xattr } from '../../native/binding.ts'
import { OwnedFd } from '../../native/fd.ts'
import { type FileOp, fileops } from '../../native/file-op.ts'
import { AT, S } from '../../native/flags.ts'
import { MACHINES_XATTR } from '../machines-xattr.ts'
import type { Settled } from '../upper/settle.ts'

export interface Merge {
  readonly home: string
  /** Two folders by their paths, in the home or elsewhere. */
  readonly upper: string
  readonly tree: string
  readonly settled: Settled
  readonly signal?: AbortSignal | undefined
}

/** A merge with both folders open. */
interface Merging extends Merge {
  readonly upperFd: number
  readonly treeFd: number
}

/** Takes the upper directory apart. On failure the tree is neither the one nor the other. */
export async function mergeUpper(merge: Merge): Promise<void> {
  using upper = openFolder(merge.upper)
  using tree = openFolder(merge.tree)
  const merging = { ...merge, upperFd: upper.fd, treeFd: tree.fd }
  const plan = await planOf(merging)
  await fileops(tree.fd, plan.removals)
  await moveAll(merging, plan.moves)
  for (const { path, names } of plan.foreign) await removeXattrs(tree.fd, path, names)
  await fileops(tree.fd, plan.folders.reverse())
}

interface Plan {
  readonly removals: FileOp[]
  /** Paths that go with all that is below them. */
  readonly moves: Buffer[]
  /** Metadata of folders that both have; parents first. */
  readonly folders: FileOp[]
  /** Attributes that the tree's folder has and the layer's has not. */
  readonly foreign: { readonly path: Buffer; readonly names: readonly string[] }[]
}

const OPEN_FOLDER = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW

async function planOf(merging: Merging): Promise<Plan> {
  const { upperFd, treeFd, settled } = merging
  const plan: Plan = { removals: [], moves: [], folders: [], foreign: [] }
  for (const path of settled.whiteouts) plan.removals.push(removal(latin1(path)))
  const own = await xattrsOf(upperFd)
  plan.folders.push(await rootMeta(upperFd, own))
  const names = foreignXattrs(own, await xattrsOf(treeFd))
  if (names.length > 0) plan.foreign.push({ path: Buffer.from('.'), names })
  await planBelow(plan, merging)
  return plan
}

async function planBelow(plan: Plan, { upperFd, treeFd, settled, signal }: Merging): Promise<void> {
  const reading = { xattrs: true, besideFd: treeFd, ...(signal && { signal }) }
  let skipBelow = Infinity
  for await (const entries of walk(upperFd, reading)) {
    for (const entry of entries) {
      if (entry.depth > skipBelow) continue
      skipBelow = Infinity
      const { path, beside } = entry
      const text = path.toString('latin1')
      if (settled.whiteouts.has(text)) continue
      const isFolder = isDirectory(entry.stat.mode)
      if (beside !== undefined && isFolder && isDirectory(beside.mode) && !settled.opaque.has(text)) {
        plan.folders.push(metaOf(path, entry))
        const names = foreignXattrs(entry.xattrs, entry.besideXattrs)
        if (names.length > 0) plan.foreign.push({ path, names })
        continue
      }
      // rename(2) replaces what is no folder, and in one step.
      if (beside !== undefined && (isFolder || isDirectory(beside.mode))) {
        plan.removals.push(removal(path))
      }
      plan.moves.push(path)
      skipBelow = entry.depth
    }
  }
}

function isDirectory(mode: number): boolean {
  return (mode & S.S_IFMT) === S.S_IFDIR
}

function removal(path: Buffer): FileOp {
  return { op: 'remove', path, recursive: true, missingOk: true }
}

function metaOf(path: Buffer, { stat, xattrs }: WalkEntry): FileOp {
  const { mode, uid, gid, mtimeSec, mtimeNsec } = stat
  return { op: 'meta', path, mode, uid, gid, mtimeSec, mtimeNsec, xattrs }
}

/** The walk leaves the root out. */
async function rootMeta(upperFd: number, xattrs: readonly Xattr[]): Promise<FileOp> {
  const { mode, uid, gid, mtimeSec, mtimeNsec } = await binding.statx(upperFd, '', AT.AT_EMPTY_PATH)
  return { op: 'meta', path: '.', mode, uid, gid, mtimeSec, mtimeNsec, xattrs }
}

async function xattrsOf(fd: number): Promise<Xattr[]> {
  const xattrs: Xattr[] = []
  for (const name of await binding.flistxattr(fd)) {
    const value = await binding.fgetxattr(fd, name)
    if (value !== undefined) xattrs.push({ name, value })
  }
  return xattrs
}

/** What the machine gives a file it gives to the tree's as well. */
function foreignXattrs(own: readonly Xattr[], trees: readonly Xattr[]): string[] {
  const names = new Set(own.map(({ name }) => name))
  return trees.map(({ name }) => name).filter((name) => !names.has(name) && !MACHINES_XATTR.test(name))
}

async function removeXattrs(treeFd: number, path: Buffer, names: readonly string[]): Promise<void> {
  using folder = new OwnedFd(await binding.openInRoot(treeFd, path, OPEN_FOLDER, 0))
  for (const name of names) await binding.lremovexattr(`/proc/self/fd/${String(folder.fd)}/.`, name)
}

async function moveAll(merging: Merging, moves: readonly Buffer[]): Promise<void> {
  const { upperFd, treeFd, signal } = merging
  if (await renamed(merging, moves)) return
  // A copy replaces nothing.
  await fileops(
    treeFd,
    moves.map((path) => removal(path)),
  )
  await copyTree(upperFd, treeFd, { only: moves, ...(signal && { signal }) })
}

/** Whether names could move: where they cannot, the first one says it of all. */
async function renamed({ home, upper, tree }: Merging, moves: readonly Buffer[]): Promise<boolean> {
  if (![upper, tree].every((path) => path.startsWith(`${home}/`))) return false
  const at = (path: string, name: Buffer): Buffer =>
    Buffer.concat([Buffer.from(`${path.slice(home.length + 1)}/`), name])
  using root = openFolder(home)
  try {
    const ops = moves.map((path): FileOp => ({ op: 'rename', path: at(upper, path), dest: at(tree, path) }))
    await fileops(root.fd, ops)
    return true
  } catch (error) {
    if (!hasCode(error, 'EXDEV')) throw error
    return false
  }
}

function latin1(path: string): Buffer {
  return Buffer.from(path, 'latin1')
}
