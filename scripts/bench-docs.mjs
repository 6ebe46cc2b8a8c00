/** Writes docs/benchmarks.md from the results in bench-results/. */
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { format, resolveConfig } from 'prettier'
import { notes, resultTable } from '../test/bench/support/markdown.mjs'

/** @typedef {import('../test/bench/support/result.ts').Result} Result */

const ROOT = join(import.meta.dirname, '..')
const RESULTS = join(ROOT, 'bench-results')
const PAGE = join(ROOT, 'docs/benchmarks.md')

/** Sections in the order of a layer's life; a result that is not named comes last. */
const ORDER = [
  'apply',
  'load',
  'pull',
  'mount',
  'container',
  'callers',
  'alive',
  'changes',
  'diff',
  'remove',
  'drivers',
  'start',
  'memory',
]

/** @returns {Result[]} */
function readResults() {
  const files = existsSync(RESULTS) ? readdirSync(RESULTS).filter((name) => name.endsWith('.json')) : []
  return files.map((name) => JSON.parse(readFileSync(join(RESULTS, name), 'utf8')))
}

/**
 * The page's sections by their ids, without what comes before them: each follows a comment with its id.
 * @param {string} page
 * @returns {Map<string, string>}
 */
export function sectionsOf(page) {
  const found = page.matchAll(/^<!-- (\S+) -->\n+(## [^]*?)(?=\n+<!-- \S+ -->\n|\n*$(?![^]))/gm)
  return new Map([...found].map(([, id = '', text = '']) => [id, text]))
}

/** @param {string} id */
function placeOf(id) {
  const at = ORDER.findIndex((start) => id.startsWith(start))
  return at < 0 ? ORDER.length : at
}

const HEAD = `# Benchmarks

Written by \`npm run bench\` from its results; run it to have the numbers of your machine. Each table says when and where
it was measured: a run of some benchmarks leaves the others' tables as they are.

    npm run bench                          # all, five rounds; as root, most of an hour
    npm run bench -- --only diff,apply     # those whose file in test/bench begins so
    npm run bench -- --rounds 9            # more rounds; one round is a smoke test on small workloads
    npm run bench -- --compare main        # this tree and another commit, in turns, as ratios
    npm run bench -- --docs                # this page again, from the results in bench-results/

How to read it:

- Trust ratios, not times. The contenders of a table take turns in one run, each turn on a fresh file system,
  ext4 unless the contender names another, and the first turn's output is compared: trees, lists or names must be equal
  before a time counts.
- The number is the median of the rounds, with the smallest and the largest beside it. "× base" is how many times better
  than the contender in bold: 2 is half of its time, or twice its rate.
- "runs" says what the clock ran around. _process_: a whole command, its start included. _in process_: calls in a program
  that runs already and has done the like before, where a row does not say that it is the first. _daemon_: a client's
  request to a daemon that runs already.
- "durability" says what was synced when the clock stopped: _none_, nothing, as tar leaves it; _full_, all of it, our
  default; _its own_, what that daemon chose, which is its records and seldom its files.
- A contender whose tool is missing is named below its table.
- Archives to measure with are made once, without our code, and kept below \`~/.cache/overlaid\` (3 GB); file systems are in
  memory where /dev/shm has 12 GiB, or in \`BENCH_DIR\`.

To add a benchmark write \`test/bench/<name>.bench.ts\`: a \`race()\` of contenders, each a function that works in an empty
folder and returns numbers and what is to be compared. What uses the library in process is a task in \`test/bench/library\`,
through the package's public names, so that another commit's build can be measured by it too. C and Go programs beside it
are compiled when first needed.
`

/** @param {Result} result @returns {string} */
function section(result) {
  const when = `${result.date.slice(0, 10)}, ${result.machine}`
  return [
    `## ${result.title}`,
    '',
    result.about,
    '',
    resultTable(result),
    '',
    notes(result),
    '',
    `_${when}_`,
  ].join('\n')
}

/**
 * Sections of benchmarks that were not run this time stay as they are: each says when and where it was measured.
 * @throws Error when there are no results
 */
export async function writeDocs() {
  // A smoke test's workloads are others.
  const results = readResults().filter(({ rounds }) => rounds > 1)
  if (results.length === 0) throw new Error('bench-results/ has no results: npm run bench')
  const sections = existsSync(PAGE) ? sectionsOf(readFileSync(PAGE, 'utf8')) : new Map()
  for (const result of results) sections.set(result.id, section(result))
  const sorted = [...sections].sort(
    ([a], [b]) => placeOf(a) - placeOf(b) || a.localeCompare(b, 'en', { numeric: true }),
  )
  const text = [HEAD, ...sorted.map(([id, body]) => `<!-- ${id} -->\n\n${body}`)].join('\n\n')
  mkdirSync(join(ROOT, 'docs'), { recursive: true })
  const options = await resolveConfig(PAGE)
  writeFileSync(PAGE, await format(text, { ...options, parser: 'markdown' }))
  console.log(`wrote docs/benchmarks.md, ${String(results.length)} tables new`)
}
