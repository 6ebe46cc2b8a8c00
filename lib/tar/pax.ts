/**
 * PAX extended header records: `<length> <key>=<value>\n`, the length in decimal counting the whole record.
 * Values are bytes: an xattr's is binary, a name's whatever the file system had.
 *
 * @see POSIX.1-2017, pax, "pax Extended Header"
 */
import { TarSyntaxError } from './syntax.ts'

/** Records by key. An empty value leaves the header's own (Go, GNU tar), except an xattr's, which may be empty. */
export type PaxRecords = Map<string, Buffer>

/** Keys whose values are C strings in the header block: no NUL may hide in them. */
const TEXT_KEYS: ReadonlySet<string> = new Set(['path', 'linkpath', 'uname', 'gname'])

/** Reads the body of an `x` or `g` member. A key given twice counts the second time. @throws TarSyntaxError */
export function parsePax(body: Buffer): PaxRecords {
  const records: PaxRecords = new Map()
  const sparse: Buffer[] = []
  for (let at = 0; at < body.length;) {
    const end = recordEnd(body, at)
    const { key, value } = parseRecord(body.subarray(body.indexOf(0x20, at) + 1, end - 1))
    if (key === 'GNU.sparse.offset' || key === 'GNU.sparse.numbytes') pushSparse(sparse, key, value)
    else records.set(key, value)
    at = end
  }
  // Sparse format 0.0 repeats its keys, which PAX forbids: turned into 0.1's single list, as GNU tar did later.
  if (sparse.length > 0) records.set('GNU.sparse.map', Buffer.from(sparse.join(',')))
  return records
}

/** Where the record at `at` ends. */
function recordEnd(body: Buffer, at: number): number {
  const space = body.indexOf(0x20, at)
  const length = space < 0 ? Number.NaN : parseDecimal(body.subarray(at, space))
  const end = at + length
  if (Number.isNaN(length) || length < 5 || end > body.length || end <= space + 1 || body[end - 1] !== 0x0a) {
    throw new TarSyntaxError('a PAX record has a wrong length')
  }
  return end
}

function parseRecord(record: Buffer): { key: string; value: Buffer } {
  const equals = record.indexOf(0x3d)
  if (equals <= 0) throw new TarSyntaxError('a PAX record has no key')
  const bytes = record.subarray(0, equals)
  const key = bytes.toString('utf8')
  const value = record.subarray(equals + 1)
  if (bytes.includes(0)) throw new TarSyntaxError('a PAX key contains a NUL')
  if (TEXT_KEYS.has(key) && value.includes(0)) throw new TarSyntaxError(`the PAX ${key} contains a NUL`)
  return { key, value }
}

function pushSparse(list: Buffer[], key: string, value: Buffer): void {
  const expected = list.length % 2 === 0 ? 'GNU.sparse.offset' : 'GNU.sparse.numbytes'
  if (key !== expected || value.includes(0x2c)) throw new TarSyntaxError('the sparse map is out of order')
  list.push(value)
}

/** A non-negative decimal, NaN when it is anything else or passes 2^53. */
export function parseDecimal(value: Buffer): number {
  if (value.length === 0 || value.length > 16) return Number.NaN
  let total = 0
  for (const byte of value) {
    if (byte < 0x30 || byte > 0x39) return Number.NaN
    total = total * 10 + (byte - 0x30)
  }
  return Number.isSafeInteger(total) ? total : Number.NaN
}

/** A time in whole seconds and the nanoseconds to add to them, these 0 to 999,999,999. */
export interface PaxTime {
  readonly sec: number
  readonly nsec: number
}

/** Reads `[-]seconds[.fraction]`; digits past nanoseconds are cut. @throws TarSyntaxError */
export function parsePaxTime(value: Buffer): PaxTime {
  const match = /^(-?)(\d{1,16})(?:\.(\d*))?$/.exec(value.toString('latin1'))
  const sec = Number(match?.[2])
  if (match === null || !Number.isSafeInteger(sec)) throw new TarSyntaxError('a PAX time is not a number')
  const nsec = Number((match[3] ?? '').slice(0, 9).padEnd(9, '0'))
  if (match[1] === '') return { sec, nsec }
  return nsec === 0 ? { sec: 0 - sec, nsec } : { sec: -sec - 1, nsec: 1e9 - nsec }
}

/** `[-]seconds[.fraction]` with no more digits than needed, as Go's archive/tar writes it. */
export function formatPaxTime({ sec, nsec }: PaxTime): string {
  if (nsec === 0) return String(sec)
  const sign = sec < 0 ? '-' : ''
  const [whole, rest] = sec < 0 ? [-(sec + 1), 1e9 - nsec] : [sec, nsec]
  return `${sign}${String(whole)}.${String(rest).padStart(9, '0')}`.replace(/0+$/, '')
}

/** One record. */
export function formatPaxRecord(key: string, value: Uint8Array): Buffer {
  const rest = Buffer.concat([Buffer.from(` ${key}=`), value, Buffer.from('\n')])
  // The length counts its own digits: one guess, and one more where the guess itself took another digit.
  let length = rest.length + String(rest.length).length
  if (String(length).length !== String(rest.length).length) length = rest.length + String(length).length
  return Buffer.concat([Buffer.from(String(length)), rest])
}

/** Records sorted by the keys' bytes, so that equal headers give equal bytes. */
export function formatPax(records: ReadonlyMap<string, Uint8Array>): Buffer {
  const keyed = [...records].map(([key, value]) => ({ sort: Buffer.from(key), key, value }))
  keyed.sort((a, b) => Buffer.compare(a.sort, b.sort))
  return Buffer.concat(keyed.map(({ key, value }) => formatPaxRecord(key, value)))
}
