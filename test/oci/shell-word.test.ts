import { execFileSync } from 'node:child_process'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { expandWord, splitWords } from '../../lib/oci/shell-word.ts'

const env = new Map([
  ['A', 'one'],
  ['B_2', 'two words'],
  ['EMPTY', ''],
])

describe('splitWords', () => {
  it.each([
    ['', []],
    ['  \t ', []],
    ['a  b\tc\nd', ['a', 'b', 'c', 'd']],
    ['"a b" c', ['"a b"', 'c']],
    ["'a b'c d", ["'a b'c", 'd']],
    ['a\\ b c', ['a\\ b', 'c']],
    ['"a\\" b" c', ['"a\\" b"', 'c']],
    ["'a\\' b", ["'a\\'", 'b']],
    [`"it's" b`, [`"it's"`, 'b']],
    ['"open a', ['"open a']],
    ['a\\', ['a\\']],
  ])('cuts %j', (text, words) => {
    expect(splitWords(text)).toEqual(words)
  })
})

describe('expandWord', () => {
  it.each([
    ['plain', 'plain'],
    ['$A', 'one'],
    ['${A}x', 'onex'],
    ['$Ax', ''],
    ['$B_2', 'two words'],
    ['$A$A', 'oneone'],
    ['$NONE', ''],
    ['$', '$'],
    ['a$', 'a$'],
    ['$-', '$-'],
    ['$1', ''],
    ['\\$A', '$A'],
    ["'$A'", '$A'],
    ['"$A"', 'one'],
    ['"\\$A\\n\\\\"', '$A\\n\\'],
    ['\\a\\"', 'a"'],
    [`"a"'b'c`, 'abc'],
    ['${NONE:-d}', 'd'],
    ['${EMPTY:-d}', 'd'],
    ['${A:-d}', 'one'],
    ['${A:+x}', 'x'],
    ['${NONE:+x}', ''],
    ['${NONE:-$A}', 'one'],
    ['${NONE:-${NONE:-deep}}', 'deep'],
    ['${NONE:-"a }"}', 'a }'],
    ['a\\', 'a'],
  ])('makes of %j', (text, expected) => {
    expect(expandWord(text, env)).toBe(expected)
  })

  it.each(['"a', "'a", '"a\\"', '${A', '${', '${}', '${A-x}', '${A:?x}', '${NONE:-x', '${NONE:-"}'])(
    'refuses %j',
    (text) => {
      expect(() => expandWord(text, env)).toThrowError(
        expect.objectContaining({ code: 'ERR_INVALID_ARGUMENT' }),
      )
    },
  )

  it('gives back any text that is quoted', () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        const quoted = `"${text.replaceAll(/["$\\]/g, '\\$&')}"`
        expect(expandWord(quoted, env)).toBe(text)
        if (!text.includes("'")) expect(expandWord(`'${text}'`, env)).toBe(text)
      }),
    )
  })

  it('agrees with the shell on what both know', () => {
    // Without characters that mean something to the shell only, and without dollars in front of digits.
    const piece = fc.constantFrom(
      'a',
      'B',
      '_',
      ' ',
      '"',
      "'",
      '$A',
      '${A}',
      '${EMPTY:-x}',
      '${A:+y}',
      '$NONE',
      '\\$',
      '.',
    )
    const words = fc.array(piece, { maxLength: 8 }).map((pieces) => pieces.join(''))
    const texts = fc.sample(words, { numRuns: 300, seed: 1 }).filter((text) => {
      try {
        return expandWord(text, env) !== undefined && !/[ ]/.test(unquoted(text))
      } catch {
        return false
      }
    })
    const script = texts.map((text) => `printf '%s\\0' ${text === '' ? "''" : text}`).join('\n')
    const shell = execFileSync('sh', ['-fc', script], { env: Object.fromEntries(env), encoding: 'utf8' })
    const words_ = texts.map((text) => expandWord(text, env))
    expect(texts.length).toBeGreaterThan(100)
    expect(shell).toBe(words_.map((word) => `${word}\0`).join(''))
  })
})

/** The text outside quotes, where a space would end the word for the shell. */
function unquoted(text: string): string {
  return text.replaceAll(/\\.|"(?:[^"\\]|\\.)*"|'[^']*'/g, '')
}
