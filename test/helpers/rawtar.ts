/**
 * Tar archives written byte by byte, without lib/tar: an independent oracle for the readers, and a way to make
 * archives that a well-behaved writer refuses to make.
 */

/** One member, or bytes put in the archive as they are. */
export type TarSpec = MemberSpec | Buffer

export interface MemberSpec {
  readonly name: string | Buffer
  /** Default: `dir` when the name ends in a slash, else `file`. */
  readonly type?: 'file' | 'dir' | 'symlink' | 'hardlink' | 'char' | 'block' | 'fifo'
  readonly mode?: number
  readonly uid?: number
  readonly gid?: number
  /** Seconds; default 1,700,000,000. */
  readonly mtime?: number
  readonly body?: string | Buffer
  readonly linkname?: string | Buffer
  readonly devMajor?: number
  readonly devMinor?: number
  readonly xattrs?: Readonly<Record<string, string | Buffer>>
  /** More PAX records, written as given. */
  readonly pax?: Readonly<Record<string, string | Buffer>>
}

const FLAGS = { file: '0', hardlink: '1', symlink: '2', char: '3', block: '4', dir: '5', fifo: '6' } as const
const BLOCK = 512

/** The archive of `specs` with its two closing blocks. */
export function rawTar(specs: readonly TarSpec[]): Buffer {
  return Buffer.concat([...specs.map((s) => (Buffer.isBuffer(s) ? s : member(s))), Buffer.alloc(2 * BLOCK)])
}

/** A member's header blocks, body and padding. Names over 100 bytes and xattrs go in a PAX header. */
export function member(spec: MemberSpec): Buffer {
  const name = bytes(spec.name)
  const linkname = bytes(spec.linkname ?? '')
  const body = bytes(spec.body ?? '')
  const type = spec.type ?? (name.at(-1) === 0x2f ? 'dir' : 'file')
  const records: [string, Buffer][] = []
  if (name.length > 100) records.push(['path', name])
  if (linkname.length > 100) records.push(['linkpath', linkname])
  for (const [key, value] of Object.entries(spec.xattrs ?? {})) {
    records.push([`SCHILY.xattr.${key}`, bytes(value)])
  }
  for (const [key, value] of Object.entries(spec.pax ?? {})) records.push([key, bytes(value)])
  const head = rawHeader({ ...spec, name, linkname, size: body.length, flag: FLAGS[type] })
  return Buffer.concat([paxMember(records), head, padded(body)])
}

/** A PAX extended header member of `records`, or nothing when there are none. */
export function paxMember(records: readonly (readonly [string, Buffer])[], flag: 'x' | 'g' = 'x'): Buffer {
  if (records.length === 0) return Buffer.alloc(0)
  const body = Buffer.concat(records.map(([key, value]) => paxRecord(key, value)))
  const head = rawHeader({ name: Buffer.from('PaxHeaders.0/x'), size: body.length, flag })
  return Buffer.concat([head, padded(body)])
}

function paxRecord(key: string, value: Buffer): Buffer {
  const rest = Buffer.concat([Buffer.from(` ${key}=`), value, Buffer.from('\n')])
  // The length counts its own digits, so look for the number that is true of itself.
  let length = rest.length + 1
  while (String(length).length + rest.length !== length) length = String(length).length + rest.length
  return Buffer.concat([Buffer.from(String(length)), rest])
}

export interface RawHeader {
  readonly name: Buffer
  readonly size: number
  readonly flag: string
  readonly linkname?: Buffer
  readonly mode?: number
  readonly uid?: number
  readonly gid?: number
  readonly mtime?: number
  readonly devMajor?: number
  readonly devMinor?: number
}

/** One 512-byte ustar header with a right checksum. Fields that do not fit are cut. */
export function rawHeader(h: RawHeader): Buffer {
  const block = Buffer.alloc(BLOCK)
  h.name.copy(block, 0, 0, 100)
  octal(block, 100, 8, h.mode ?? (h.flag === '5' ? 0o755 : 0o644))
  octal(block, 108, 8, h.uid ?? 0)
  octal(block, 116, 8, h.gid ?? 0)
  octal(block, 124, 12, h.size)
  octal(block, 136, 12, h.mtime ?? 1_700_000_000)
  block.write(h.flag, 156, 'latin1')
  h.linkname?.copy(block, 157, 0, 100)
  block.write('ustar\x0000', 257, 'latin1')
  octal(block, 329, 8, h.devMajor ?? 0)
  octal(block, 337, 8, h.devMinor ?? 0)
  return checksummed(block)
}

/** Sets the checksum of a header block, in place. */
export function checksummed(block: Buffer): Buffer {
  block.fill(' ', 148, 156)
  const sum = block.reduce((total, byte) => total + byte, 0)
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1')
  return block
}

function octal(block: Buffer, offset: number, length: number, value: number): void {
  block.write(
    `${value
      .toString(8)
      .padStart(length - 1, '0')
      .slice(-(length - 1))}\0`,
    offset,
    'latin1',
  )
}

/** `body` with the NULs that fill its last block. */
export function padded(body: Buffer): Buffer {
  return Buffer.concat([body, Buffer.alloc((BLOCK - (body.length % BLOCK)) % BLOCK)])
}

function bytes(value: string | Buffer): Buffer {
  return typeof value === 'string' ? Buffer.from(value) : value
}
