/** How numbers, times and names are shown to people: docker's words for them, so that columns compare. */

export { humanSize } from '../fs/human-size.ts'

const MINUTE = 60
const HOUR = 60 * MINUTE
const DAY = 24 * HOUR

/** The age of `created` (RFC 3339) at `now`, as docker words it: `3 weeks ago`; `N/A` when it is not a time. */
export function humanAge(created: string | undefined, now: Date): string {
  const then = Date.parse(created ?? '')
  if (Number.isNaN(then)) return 'N/A'
  return `${humanDuration(Math.max(0, now.getTime() - then) / 1000)} ago`
}

/** The thresholds are those of docker's go-units HumanDuration. */
function humanDuration(seconds: number): string {
  const minutes = Math.floor(seconds / MINUTE)
  const hours = Math.floor(seconds / HOUR + 0.5)
  const days = Math.floor(hours / 24)
  if (seconds < 1) return 'Less than a second'
  if (seconds < MINUTE) return plural(Math.floor(seconds), 'second')
  if (minutes === 1) return 'About a minute'
  if (minutes < 60) return plural(minutes, 'minute')
  if (hours === 1) return 'About an hour'
  if (hours < 48) return plural(hours, 'hour')
  if (days < 14) return plural(days, 'day')
  if (days < 60) return plural(Math.floor(days / 7), 'week')
  if (days < 730) return plural(Math.floor(days / 30), 'month')
  return plural(Math.floor(seconds / DAY / 365), 'year')
}

/** `1 layer`, `2 layers`. */
export function plural(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`
}

/** The first 12 hex digits of an id or digest, as docker shortens them. */
export function shortID(id: string): string {
  return id.slice(id.indexOf(':') + 1).slice(0, 12)
}

/** `text`, cut to `width` characters with an ellipsis as the last of them. */
export function truncate(text: string, width: number): string {
  return text.length <= width ? text : `${text.slice(0, width - 1)}…`
}

/** Repository and tag as the two columns docker prints; a name with a digest, or none at all, has no tag. */
export function splitName(name: string | undefined): readonly [repository: string, tag: string] {
  if (name === undefined) return ['<none>', '<none>']
  const at = name.indexOf('@')
  if (at >= 0) return [name.slice(0, at), '<none>']
  const colon = name.lastIndexOf(':')
  // A colon before the last slash belongs to the registry's port.
  if (colon <= name.lastIndexOf('/')) return [name, '<none>']
  return [name.slice(0, colon), name.slice(colon + 1)]
}

/**
 * `text` with control characters (C0, DEL, C1) and the marks that reorder text spelled out: a file's or image's
 * name must not drive the reader's terminal.
 */
export function escapeControl(text: string): string {
  return text.replace(/[\p{Cc}\u202a-\u202e\u2066-\u2069]/gu, (char) => {
    const named = { '\n': '\\n', '\t': '\\t', '\r': '\\r', '\u001b': '\\e' }[char]
    const code = char.charCodeAt(0)
    return named ?? (code < 0x100 ? `\\x${hex(code, 2)}` : `\\u${hex(code, 4)}`)
  })
}

/** Bytes of a name for a terminal: UTF-8 where it is that, `\xNN` for each byte that is not, nothing that acts. */
export function escapeBytes(bytes: Buffer): string {
  const text = bytes.toString('utf8')
  if (Buffer.from(text, 'utf8').equals(bytes)) return escapeControl(text)
  return Array.from(bytes, (byte) =>
    byte >= 0x80 ? `\\x${hex(byte, 2)}` : escapeControl(String.fromCharCode(byte)),
  ).join('')
}

function hex(value: number, digits: number): string {
  return value.toString(16).padStart(digits, '0')
}
