/** Layer archives as they come from elsewhere: made of a list of members, without the driver. */
import type { EntryType } from '../tar/entry.ts'
import { type TarSource, writeTar } from '../tar/writer.ts'
import { collect } from './streams.ts'
import { DEFAULT_MTIME } from './tree.ts'

/** A member; what is left out has defaults. */
export interface LayerMember {
  readonly name: string
  /** Default: `dir` when the name ends in a slash, `symlink` where there is a linkname, else `file`. */
  readonly type?: EntryType
  /** Default 0755 of directories, 0644 of all else. */
  readonly mode?: number
  readonly uid?: number
  readonly gid?: number
  readonly body?: string | Buffer
  readonly linkname?: string
}

/** The archive of these members, in their order. */
export function layerTar(members: readonly LayerMember[]): Promise<Buffer> {
  return collect(writeTar(members.map(sourceOf)))
}

function sourceOf({ name, type, mode, uid = 0, gid = 0, body = '', linkname }: LayerMember): TarSource {
  const bytes = Buffer.from(body)
  const isDir = name.endsWith('/')
  const member = {
    name: Buffer.from(name),
    type: type ?? (isDir ? 'dir' : linkname === undefined ? 'file' : 'symlink'),
    mode: mode ?? (isDir ? 0o755 : 0o644),
    uid,
    gid,
    size: bytes.length,
    mtimeSec: DEFAULT_MTIME,
    ...(linkname === undefined ? {} : { linkname: Buffer.from(linkname) }),
  }
  return { member, body: () => [bytes] }
}
