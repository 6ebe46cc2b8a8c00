/**
 * Puts an upper directory onto a tree: what a layer means where there is no overlayfs to show it.
 *
 * Both lie in one folder, so names move from the one to the other; where the kernel refuses that (EXDEV, two btrfs
 * subvolumes), they are copied, and what they hold is shared by reflink there.
 */
import { constants } from 'node:fs'
import { copyTree } from '../../fs/copy-tree.ts'
import { walk, type WalkEntry } from '../../fs/walk.ts'
import { hasCode } from '../../errors.ts'
import { binding, type Xattr } from '../../native/binding.ts'
import { OwnedFd } from '../../native/fd.ts'
import { type FileOp, fileops } from '../../native/file-op.ts'
import { AT, S } from '../../native/flags.ts'
import { MACHINES_XATTR } from '../machines-xattr.ts'
import type { Settled } from '../upper/settle.ts'

export interface Merge {
  /** The folder that both are in, and their names there. */
  readonly rootFd: number
  readonly upper: string
  readonly tree: string
  readonly settled: Settled
  readonly signal?: AbortSignal | undefined
}

/** Takes the upper directory apart. On failure the tree is neither the one nor the other. */
export async function mergeUpper(merge: Merge): Promise<void> {
  const plan = await planOf(merge)
  await fileops(merge.rootFd, plan.removals)
  await moveAll(merge, plan.moves)
  for (const { path, names } of plan.foreign) await removeXattrs(merge, path, names)
  await fileops(merge.rootFd, plan.folders.reverse())
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

async function planOf(merge: Merge): Promise<Plan> {
  const { tree, settled } = merge
  const plan: Plan = { removals: [], moves: [], folders: [], foreign: [] }
  for (const path of settled.whiteouts) plan.removals.push(removal(within(tree, latin1(path))))
  await withBoth(merge, async (upperFd, treeFd) => {
    const own = await xattrsOf(upperFd)
    plan.folders.push(await rootMeta(upperFd, tree, own))
    const names = foreignXattrs(own, await xattrsOf(treeFd))
    if (names.length > 0) plan.foreign.push({ path: Buffer.alloc(0), names })
    await planBelow(plan, merge, upperFd, treeFd)
  })
  return plan
}

async function withBoth(
  { rootFd, upper, tree }: Merge,
  work: (upperFd: number, treeFd: number) => Promise<void>,
): Promise<void> {
  using upperFd = new OwnedFd(await binding.openInRoot(rootFd, upper, OPEN_FOLDER, 0))
  using treeFd = new OwnedFd(await binding.openInRoot(rootFd, tree, OPEN_FOLDER, 0))
  await work(upperFd.fd, treeFd.fd)
}

async function planBelow(plan: Plan, merge: Merge, upperFd: number, treeFd: number): Promise<void> {
  const { tree, settled, signal } = merge
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
        plan.folders.push(metaOf(within(tree, path), entry))
        const names = foreignXattrs(entry.xattrs, entry.besideXattrs)
        if (names.length > 0) plan.foreign.push({ path, names })
        continue
      }
      // rename(2) replaces what is no folder, and in one step.
      if (beside !== undefined && (isFolder || isDirectory(beside.mode))) {
        plan.removals.push(removal(within(tree, path)))
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
async function rootMeta(upperFd: number, tree: string, xattrs: readonly Xattr[]): Promise<FileOp> {
  const { mode, uid, gid, mtimeSec, mtimeNsec } = await binding.statx(upperFd, '', AT.AT_EMPTY_PATH)
  return { op: 'meta', path: Buffer.from(tree), mode, uid, gid, mtimeSec, mtimeNsec, xattrs }
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

async function removeXattrs({ rootFd, tree }: Merge, path: Buffer, names: readonly string[]): Promise<void> {
  using folder = new OwnedFd(await binding.openInRoot(rootFd, within(tree, path), OPEN_FOLDER, 0))
  for (const name of names) await binding.lremovexattr(`/proc/self/fd/${String(folder.fd)}/.`, name)
}

async function moveAll(merge: Merge, moves: readonly Buffer[]): Promise<void> {
  const { rootFd, upper, tree, signal } = merge
  const ops = moves.map((path): FileOp => ({
    op: 'rename',
    path: within(upper, path),
    dest: within(tree, path),
  }))
  try {
    await fileops(rootFd, ops)
  } catch (error) {
    // The first one says it of all: upper and tree are on two devices.
    if (!hasCode(error, 'EXDEV')) throw error
    // A copy replaces nothing.
    await fileops(
      rootFd,
      moves.map((path) => removal(within(tree, path))),
    )
    await withBoth(merge, (from, to) => copyTree(from, to, { only: moves, ...(signal && { signal }) }))
  }
}

function within(dir: string, path: Buffer): Buffer {
  if (path.length === 0) return Buffer.from(dir)
  return Buffer.concat([Buffer.from(`${dir}/`), path])
}

function latin1(path: string): Buffer {
  return Buffer.from(path, 'latin1')
}
