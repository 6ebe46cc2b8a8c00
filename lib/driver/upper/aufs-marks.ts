/** Gives an unpacked layer the marks that an archive has: AUFS' files. */
import { type FileOp, fileops, type OpMeta } from '../../native/file-op.ts'
import { S } from '../../native/flags.ts'
import { OPAQUE_MARK, whiteoutName } from '../../oci/whiteout.ts'
import { pathBytes } from './apply-tree.ts'
import { PASSING_MARKS } from './marks.ts'
import type { Settled } from './settle.ts'
import { type Found, splitLast, TreeLook } from './settle-look.ts'

/** NAME_MAX, less what a whiteout's name begins with. */
const MAX_NAME = 255 - whiteoutName(Buffer.alloc(0)).length

/**
 * Turns what was unpacked and settled with {@link PASSING_MARKS} into the form that fuse-overlayfs has wherever it can
 * make no devices, and dockerd's driver of that name everywhere: it is good on any file system. What names are too long
 * for it become 0:0 devices, which fuse-overlayfs knows too.
 */
export async function toAufsMarks(diffFd: number, { whiteouts, opaque }: Settled): Promise<void> {
  const look = new TreeLook(diffFd, PASSING_MARKS.whiteoutMinor)
  const ops: FileOp[] = []
  const changed = new Set<string>()
  for (const path of whiteouts) {
    changed.add(splitLast(path).parent)
    ops.push({ op: 'remove', path: pathBytes(path) }, markAt(path, await there(look, path)))
  }
  for (const path of opaque) {
    changed.add(path)
    ops.push(opaqueAt(path, await there(look, path)))
  }
  // The folders' times, as they were.
  for (const path of changed) {
    const { mtimeSec, mtimeNsec } = (await there(look, path)).stat
    ops.push({ op: 'meta', path: pathBytes(path === '' ? '.' : path), mtimeSec, mtimeNsec })
  }
  await fileops(diffFd, ops)
}

async function there(look: TreeLook, path: string): Promise<Found> {
  const found = await look.find(path)
  if (found === undefined) throw new RangeError(`${path} was there a moment ago`)
  return found
}

function markAt(path: string, { stat }: Found): FileOp {
  const { parent, name } = splitLast(path)
  const meta = { uid: stat.uid, gid: stat.gid, mtimeSec: stat.mtimeSec, mtimeNsec: stat.mtimeNsec }
  if (name.length > MAX_NAME) {
    return { op: 'node', path: pathBytes(path), major: 0, minor: 0, ...meta, mode: S.S_IFCHR }
  }
  const mark = whiteoutName(Buffer.from(name, 'latin1')).toString('latin1')
  return emptyFile(within(parent, mark), { ...meta, mode: S.S_IFREG | 0o600 })
}

function opaqueAt(path: string, { stat }: Found): FileOp {
  const meta = { uid: stat.uid, gid: stat.gid, mtimeSec: 0, mtimeNsec: 0 }
  return emptyFile(within(path, OPAQUE_MARK.toString('latin1')), { ...meta, mode: S.S_IFREG | 0o600 })
}

function emptyFile(path: string, meta: OpMeta): FileOp {
  return { op: 'file', path: pathBytes(path), data: [], ...meta }
}

function within(dir: string, name: string): string {
  return dir === '' ? name : `${dir}/${name}`
}
