/** A member's metadata as the operations of the binding take it. */
import { S } from '../../native/flags.ts'
import type { OpMeta } from '../../native/file-op.ts'
import type { EntryType, TarHeader } from '../../tar/entry.ts'
import { MACHINES_XATTR } from '../machines-xattr.ts'

type OpXattr = NonNullable<OpMeta['xattrs']>[number]

const TYPE_BITS: Readonly<Partial<Record<EntryType, number>>> = {
  file: S.S_IFREG,
  dir: S.S_IFDIR,
  symlink: S.S_IFLNK,
  char: S.S_IFCHR,
  block: S.S_IFBLK,
  fifo: S.S_IFIFO,
}

/** Owner, attributes, mode and times that the archive gives. */
export function metaOf(header: TarHeader): OpMeta {
  const { mode, uid, gid, mtimeSec, mtimeNsec } = header
  const xattrs = xattrsOf(header)
  return {
    mode: (TYPE_BITS[header.type] ?? 0) | mode,
    uid,
    gid,
    mtimeSec,
    mtimeNsec,
    ...(xattrs.length > 0 && { xattrs }),
  }
}

/** The kernel's namespaces; of `system.` only ACLs are data. macOS archives have names of their own, for no Linux. */
const KNOWN = /^(user|trusted|security)\.|^system\.posix_acl_(access|default)$/

/** Whether an attribute is not unpacked. */
export function isForeignXattr(name: string): boolean {
  return MACHINES_XATTR.test(name) || !KNOWN.test(name)
}

/** The kernel has user.* on files and directories only (xattr(7)). */
function xattrsOf({ type, xattrs }: TarHeader): OpXattr[] {
  if (xattrs.size === 0) return []
  const takesUser = type === 'file' || type === 'dir'
  return [...xattrs]
    .filter(([name]) => !isForeignXattr(name) && (takesUser || !name.startsWith('user.')))
    .map(([name, value]) => ({ name, value }))
}
