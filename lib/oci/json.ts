/**
 * JSON documents that came from outside: strict where two programs could read the same bytes differently.
 *
 * A digest fixes the bytes, not what a parser makes of them. Keys given twice (JavaScript keeps the last, Go
 * merges objects), invalid UTF-8 (replaced silently by most decoders) and absurd nesting are refused, so that
 * what overlaid reads is what dockerd and containerd read.
 */
import * as v from 'valibot'
import { OverlaidError } from '../errors.ts'
import { type AnyDigest, digestProblem } from './digest.ts'

/** As containerd's: no manifest, index or config is larger. Bytes. */
export const MAX_JSON_BYTES: number = 4 * 1024 * 1024
/** Real documents have at most 6 levels; Go's decoder stops at 10,000, which a recursive writer does not survive. */
const MAX_DEPTH = 100

const QUOTE = 0x22
const BACKSLASH = 0x5c

/**
 * The value of a JSON document.
 * @param what names it in messages
 * @throws ERR_LIMIT_EXCEEDED over 4 MiB; ERR_BAD_MANIFEST when it is not UTF-8, not JSON or ambiguous
 */
export function parseJSON(bytes: Buffer, what: string): unknown {
  checkSize(bytes.length, what)
  const text = decodeText(bytes, what)
  const value = parseText(text, what)
  checkKeys(text, what)
  return value
}

/** @throws ERR_LIMIT_EXCEEDED when a document of `size` bytes is not worth reading */
export function checkSize(size: number, what: string): void {
  if (size <= MAX_JSON_BYTES) return
  throw new OverlaidError('ERR_LIMIT_EXCEEDED', `${what} has ${String(size)} bytes, over the limit of 4 MiB`)
}

function decodeText(bytes: Buffer, what: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch (cause) {
    // TypeError, the only one a fatal decoder throws: invalid UTF-8.
    throw new OverlaidError('ERR_BAD_MANIFEST', `${what} is not valid UTF-8`, { cause })
  }
}

function parseText(text: string, what: string): unknown {
  try {
    return JSON.parse(text) as unknown
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause)
    throw new OverlaidError('ERR_BAD_MANIFEST', `${what} is not JSON: ${reason}`, { cause })
  }
}

/** Refuses a key given twice in one object, and deep nesting. `text` is known to be JSON. */
function checkKeys(text: string, what: string): void {
  const open: (Set<string> | undefined)[] = []
  for (let at = 0; at < text.length; at++) {
    const char = text[at]
    if (char === '{' || char === '[') {
      open.push(char === '{' ? new Set() : undefined)
      if (open.length > MAX_DEPTH) throw new OverlaidError('ERR_BAD_MANIFEST', `${what} is nested too deeply`)
    } else if (char === '}' || char === ']') {
      open.pop()
    } else if (char === '"') {
      const end = endOfString(text, at)
      const keys = open.at(-1)
      if (keys !== undefined && isKey(text, end)) addKey(keys, text.slice(at, end), what)
      at = end - 1
    }
  }
}

/** The offset after the closing quote of the string that opens at `at`. */
function endOfString(text: string, at: number): number {
  let i = at + 1
  while (text.charCodeAt(i) !== QUOTE) i += text.charCodeAt(i) === BACKSLASH ? 2 : 1
  return i + 1
}

function isKey(text: string, end: number): boolean {
  let i = end
  while (' \t\r\n'.includes(text.charAt(i)) && i < text.length) i++
  return text[i] === ':'
}

function addKey(keys: Set<string>, literal: string, what: string): void {
  // Compared as decoded: an escape in a key does not make it another key.
  const key = JSON.parse(literal) as string
  if (keys.has(key)) {
    throw new OverlaidError(
      'ERR_BAD_MANIFEST',
      `${what} has the key ${literal.slice(0, 100)} twice in one object`,
    )
  }
  keys.add(key)
}

/**
 * `value` in the form of `schema`.
 * @throws ERR_BAD_MANIFEST with the path of the first field that is wrong
 */
export function decode<T>(schema: v.GenericSchema<unknown, T>, value: unknown, what: string): T {
  const result = v.safeParse(schema, value)
  if (result.success) return result.output
  const [issue] = result.issues
  const path = v.getDotPath(issue)
  throw new OverlaidError('ERR_BAD_MANIFEST', `${what}: ${path === null ? '' : `${path}: `}${issue.message}`)
}

/** A field that may be absent or null, which docker's writers use for the same thing; undefined either way. */
export function maybe<T>(schema: v.GenericSchema<unknown, T>): v.GenericSchema<unknown, T | undefined> {
  return v.pipe(
    v.nullish(schema),
    v.transform((value) => value ?? undefined),
  )
}

/** A field that is a digest of one kind. */
export function digestField<T extends AnyDigest>(): v.GenericSchema<unknown, T> {
  return v.pipe(
    v.string(),
    v.rawCheck(({ dataset, addIssue }) => {
      const problem = dataset.typed ? digestProblem(dataset.value) : undefined
      if (problem !== undefined) addIssue({ message: problem })
    }),
    v.transform((text) => text as T),
  )
}
