/**
 * How long files and functions are, and how much of the code is comment and test. Prints a table and the longest of
 * each; fails only past the hard stops, which tell that a file or function has more than one job.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { extname, join, relative } from 'node:path'
import ts from 'typescript'

const ROOT = join(import.meta.dirname, '..')
const HARD_FILE = 400
const HARD_FUNCTION = 60
const SHOWN = 5

/** @typedef {{ name: string, lines: number }} Measured */

/** @param {string} dir @param {readonly string[]} extensions @returns {string[]} */
function filesOf(dir, extensions) {
  return readdirSync(join(ROOT, dir), { recursive: true, encoding: 'utf8' })
    .filter((name) => extensions.includes(extname(name)))
    .map((name) => join(ROOT, dir, name))
}

/** @param {string} text */
const lineCount = (text) => text.split('\n').length - 1

/** @param {string} text Lines that are comment alone, in TypeScript or C++. */
const commentLines = (text) => text.split('\n').filter((line) => /^\s*(\/\/|\/?\*)/.test(line)).length

/** Functions with a body, by the lines from their first to their last. @param {string} file @returns {Measured[]} */
function functionsOf(file) {
  const source = ts.createSourceFile(file, readFileSync(file, 'utf8'), ts.ScriptTarget.Latest, true)
  /** @type {Measured[]} */
  const found = []
  /** @param {import('typescript').Node} node */
  const visit = (node) => {
    if (ts.isFunctionLike(node) && 'body' in node && node.body) {
      const from = source.getLineAndCharacterOfPosition(node.getStart()).line
      const to = source.getLineAndCharacterOfPosition(node.end).line
      const name = node.name?.getText() ?? 'function'
      found.push({ name: `${relative(ROOT, file)}:${String(from + 1)} ${name}`, lines: to - from + 1 })
    }
    ts.forEachChild(node, visit)
  }
  visit(source)
  return found
}

/** @param {readonly number[]} sorted @param {number} share */
const quantile = (sorted, share) =>
  sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0

/** @param {readonly Measured[]} measured */
function summary(measured) {
  const lines = measured.map((one) => one.lines).sort((a, b) => a - b)
  return [quantile(lines, 0.5), quantile(lines, 0.9), lines.at(-1) ?? 0].join(' / ')
}

/** @param {string} title @param {readonly Measured[]} measured @param {number} hard */
function longest(title, measured, hard) {
  const shown = [...measured].sort((a, b) => b.lines - a.lines).slice(0, SHOWN)
  for (const { name, lines } of shown) console.log(`  ${title} ${String(lines).padStart(4)}  ${name}`)
  return measured.filter((one) => one.lines > hard)
}

const areas = [
  { name: 'lib', files: filesOf('lib', ['.ts']) },
  { name: 'native', files: filesOf('native', ['.cc', '.h']) },
  { name: 'test', files: filesOf('test', ['.ts', '.mjs']) },
  { name: 'scripts', files: filesOf('scripts', ['.mjs']) },
]
/** @type {Record<string, number>} */
const total = {}
/** @type {Measured[]} */
const tooLong = []
console.log('area     files  lines  comment  file median/p90/max  function median/p90/max')
for (const { name, files } of areas) {
  const texts = files.map((file) => readFileSync(file, 'utf8'))
  const lines = texts.reduce((sum, text) => sum + lineCount(text), 0)
  const comments = texts.reduce((sum, text) => sum + commentLines(text), 0)
  const sizes = files.map((file, i) => ({ name: relative(ROOT, file), lines: lineCount(texts[i] ?? '') }))
  // clang-tidy measures the functions of native/.
  const functions = name === 'native' ? [] : files.flatMap(functionsOf)
  total[name] = lines
  const share = `${String(Math.round((100 * comments) / Math.max(lines, 1)))} %`
  const cells = [String(files.length).padStart(5), String(lines).padStart(6), share.padStart(8)]
  console.log(`${name.padEnd(8)} ${cells.join(' ')}  ${summary(sizes).padEnd(19)}  ${summary(functions)}`)
  // A test file may be a long list of cases; what it must not be is one long function.
  const hardFile = name === 'test' ? Infinity : HARD_FILE
  tooLong.push(...longest('file    ', sizes, hardFile))
  // A describe block's callback is as long as its file.
  if (name !== 'test') tooLong.push(...longest('function', functions, HARD_FUNCTION))
}
const code = (total['lib'] ?? 0) + (total['native'] ?? 0)
console.log(`test : code = ${((total['test'] ?? 0) / code).toFixed(2)}`)
for (const { name, lines } of tooLong) console.error(`too long: ${name}, ${String(lines)} lines`)
process.exitCode = tooLong.length > 0 ? 1 : 0
