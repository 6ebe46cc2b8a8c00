/**
 * Extended attributes in PAX records: star's `SCHILY.xattr.<name>` with the raw value, which GNU tar, Go and
 * docker write and read, and libarchive's `LIBARCHIVE.xattr.<name, URL-encoded>` with the value in base64.
 */
import type { PaxRecords } from './pax.ts'
import { TarSyntaxError } from './syntax.ts'

export const SCHILY = 'SCHILY.xattr.'
const LIBARCHIVE = 'LIBARCHIVE.xattr.'

/** XATTR_NAME_MAX and XATTR_SIZE_MAX of linux/limits.h: more the kernel does not take. */
const MAX_NAME = 255
const MAX_VALUE = 65_536

const NONE: ReadonlyMap<string, Buffer> = new Map()

/** The attributes among `records`. bsdtar gives each in both forms: the raw one counts. @throws TarSyntaxError */
export function xattrsOf(records: PaxRecords): ReadonlyMap<string, Buffer> {
  if (records.size === 0) return NONE
  const xattrs = new Map<string, Buffer>()
  for (const [key, value] of records) {
    if (key.startsWith(LIBARCHIVE)) {
      const name = urlDecode(key.slice(LIBARCHIVE.length))
      if (!records.has(SCHILY + name)) xattrs.set(name, Buffer.from(value.toString('latin1'), 'base64'))
    } else if (key.startsWith(SCHILY)) {
      xattrs.set(key.slice(SCHILY.length), Buffer.from(value))
    }
  }
  for (const [name, value] of xattrs) verify(name, value)
  return xattrs.size === 0 ? NONE : xattrs
}

function urlDecode(name: string): string {
  try {
    return decodeURIComponent(name)
  } catch (error) {
    if (!(error instanceof URIError)) throw error
    throw new TarSyntaxError(`the xattr name ${JSON.stringify(name)} is not URL-encoded UTF-8`)
  }
}

function verify(name: string, value: Buffer): void {
  const length = Buffer.byteLength(name)
  if (length === 0 || length > MAX_NAME || name.includes('\0') || name.includes('\ufffd')) {
    throw new TarSyntaxError('an xattr name is empty, too long or not UTF-8')
  }
  if (value.length > MAX_VALUE) {
    throw new TarSyntaxError(
      `the xattr ${name} has ${String(value.length)} bytes, more than the kernel takes`,
    )
  }
}
