/** What overlayfs' marks on the entries of an upper directory say. */
import type { Stat, Xattr } from '../../native/binding.ts'
import { S } from '../../native/flags.ts'

/** The prefix of the marks: `user.overlay.` where the upper was mounted with `userxattr`. */
export type MarkPrefix = 'trusted.overlay.' | 'user.overlay.'

/** What of an entry tells its marks. */
export interface Marked {
  readonly stat: Pick<Stat, 'mode' | 'rdevMajor' | 'rdevMinor' | 'size'>
  readonly xattrs: readonly Xattr[]
}

export function isDirectory({ stat }: Pick<Marked, 'stat'>): boolean {
  return (stat.mode & S.S_IFMT) === S.S_IFDIR
}

export function isRegular({ stat }: Pick<Marked, 'stat'>): boolean {
  return (stat.mode & S.S_IFMT) === S.S_IFREG
}

/**
 * Whether the name is deleted: a 0:0 character device, or (6.7) an empty file with the `whiteout` attribute in a
 * directory whose `opaque` says `x`. The kernel makes the first kind only.
 */
export function isWhiteout(entry: Marked, prefix: MarkPrefix, inXattrWhiteouts: boolean): boolean {
  const { mode, rdevMajor, rdevMinor, size } = entry.stat
  if ((mode & S.S_IFMT) === S.S_IFCHR) return rdevMajor === 0 && rdevMinor === 0
  return inXattrWhiteouts && isRegular(entry) && size === 0 && markOf(entry, prefix, 'whiteout') !== undefined
}

/** Whether the directory hides what lower layers have in it. */
export function isOpaque(entry: Marked, prefix: MarkPrefix): boolean {
  return markOf(entry, prefix, 'opaque')?.toString() === 'y'
}

/** Whether the directory's whiteouts may be files with an attribute. */
export function holdsXattrWhiteouts(xattrs: readonly Xattr[], prefix: MarkPrefix): boolean {
  return xattrs.find(({ name }) => name === `${prefix}opaque`)?.value.toString() === 'x'
}

/** Whether the directory's lower content is that of another name (`redirect_dir=on`): it was renamed. */
export function isRedirected(entry: Marked, prefix: MarkPrefix): boolean {
  return isDirectory(entry) && markOf(entry, prefix, 'redirect') !== undefined
}

/** Whether the file is its metadata alone (`metacopy=on`) and its data is in a lower layer. */
export function isMetacopy(entry: Marked, prefix: MarkPrefix): boolean {
  return isRegular(entry) && markOf(entry, prefix, 'metacopy') !== undefined
}

function markOf(entry: Marked, prefix: MarkPrefix, mark: string): Buffer | undefined {
  return entry.xattrs.find(({ name }) => name === `${prefix}${mark}`)?.value
}
