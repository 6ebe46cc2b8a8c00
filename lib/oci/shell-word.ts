/**
 * Words as a Dockerfile has them: quotes, backslashes, `$NAME`, `${NAME}`, `${NAME:-word}`, `${NAME:+word}`.
 * @see BuildKit frontend/dockerfile/shell, lex.go
 */
import { OverlaidError } from '../errors.ts'

const NAME = /[A-Za-z_][A-Za-z0-9_]*|[0-9]+/y

/** Cuts text at white space outside quotes. Quotes and backslashes stay in the words: {@link expandWord} takes them. */
export function splitWords(text: string): string[] {
  const words: string[] = []
  let word = ''
  let quote = ''
  for (let i = 0; i < text.length; i++) {
    const char = text.charAt(i)
    if (quote === '' && /\s/.test(char)) {
      if (word !== '') words.push(word)
      word = ''
      continue
    }
    word += char
    if (char === '\\' && quote !== "'") word += text.charAt(++i)
    else if (char === quote) quote = ''
    else if (quote === '' && (char === '"' || char === "'")) quote = char
  }
  if (word !== '') words.push(word)
  return words
}

/**
 * `text` without its quotes, variables replaced by their values; an unset one is empty.
 * @throws ERR_INVALID_ARGUMENT for a quote or a brace that is not closed
 */
export function expandWord(text: string, env: ReadonlyMap<string, string>): string {
  const cursor: Cursor = { text, at: 0, env }
  return expandUntil(cursor, '')
}

interface Cursor {
  readonly text: string
  readonly env: ReadonlyMap<string, string>
  at: number
}

/** Expands up to the character `stop`, which is consumed; up to the end when `stop` is empty. */
function expandUntil(cursor: Cursor, stop: '' | '}'): string {
  let result = ''
  while (cursor.at < cursor.text.length) {
    const char = cursor.text.charAt(cursor.at++)
    if (char === stop) return result
    if (char === "'") result += literal(cursor)
    else if (char === '"') result += doubleQuoted(cursor)
    else if (char === '$') result += variable(cursor)
    else if (char === '\\') result += cursor.text.charAt(cursor.at++)
    else result += char
  }
  if (stop !== '') throw unclosed(cursor, '{')
  return result
}

function literal(cursor: Cursor): string {
  const end = cursor.text.indexOf("'", cursor.at)
  if (end < 0) throw unclosed(cursor, "'")
  const text = cursor.text.slice(cursor.at, end)
  cursor.at = end + 1
  return text
}

function doubleQuoted(cursor: Cursor): string {
  let result = ''
  while (cursor.at < cursor.text.length) {
    const char = cursor.text.charAt(cursor.at++)
    if (char === '"') return result
    if (char === '$') result += variable(cursor)
    else if (char === '\\') result += escaped(cursor)
    else result += char
  }
  throw unclosed(cursor, '"')
}

/** In double quotes a backslash escapes a quote, a dollar and a backslash, and is itself before anything else. */
function escaped(cursor: Cursor): string {
  const next = cursor.text.charAt(cursor.at++)
  return '"$\\'.includes(next) ? next : `\\${next}`
}

/** What stands for the variable whose dollar was just read; a dollar that begins none is itself. */
function variable(cursor: Cursor): string {
  const braced = cursor.text[cursor.at] === '{'
  if (braced) cursor.at++
  NAME.lastIndex = cursor.at
  const name = NAME.exec(cursor.text)?.[0]
  if (name === undefined) {
    if (braced)
      throw new OverlaidError('ERR_INVALID_ARGUMENT', `bad variable in ${JSON.stringify(cursor.text)}`)
    return '$'
  }
  cursor.at += name.length
  const value = cursor.env.get(name) ?? ''
  return braced ? modified(cursor, value) : value
}

/** The rest of `${NAME…}` after the name. */
function modified(cursor: Cursor, value: string): string {
  const modifier = cursor.text.slice(cursor.at, cursor.at + 2)
  if (modifier.startsWith('}')) {
    cursor.at++
    return value
  }
  if (modifier !== ':-' && modifier !== ':+') {
    throw new OverlaidError(
      'ERR_INVALID_ARGUMENT',
      `unsupported modifier ${JSON.stringify(modifier)} in ${JSON.stringify(cursor.text)}`,
    )
  }
  cursor.at += 2
  const word = expandUntil(cursor, '}')
  if (modifier === ':-') return value === '' ? word : value
  return value === '' ? '' : word
}

function unclosed(cursor: Cursor, what: string): OverlaidError {
  return new OverlaidError('ERR_INVALID_ARGUMENT', `${what} is not closed in ${JSON.stringify(cursor.text)}`)
}
