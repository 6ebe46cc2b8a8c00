/**
 * Runs the benchmarks (test/bench/*.bench.ts) and writes docs/benchmarks.md from their results.
 *
 *     npm run bench                          all of them
 *     npm run bench -- --only diff,apply     those whose file's name begins so
 *     npm run bench -- --rounds 9            instead of 5; 1 is a smoke test
 *     npm run bench -- --compare v0.1.0      this tree's build and that of a git ref, in turns; the peers don't run
 *     npm run bench -- --docs                runs nothing: the page from the results that are there
 *
 * vitest runs them, though they are no tests: the helpers that start daemons and make file systems are TypeScript and
 * the tests' own, and it brings what a runner needs else: choosing, time limits, and an end that is clean when one of
 * them fails. What is measured runs in processes of its own, so vitest is not part of any number.
 */
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { writeDocs } from './bench-docs.mjs'

const ROOT = join(import.meta.dirname, '..')

const { values: options } = parseArgs({
  options: {
    only: { type: 'string', default: '' },
    rounds: { type: 'string' },
    compare: { type: 'string' },
    docs: { type: 'boolean', default: false },
  },
})

/** Files of benchmarks, those asked for. */
function chosenFiles() {
  const files = readdirSync(join(ROOT, 'test/bench')).filter((name) => name.endsWith('.bench.ts'))
  const wanted = options.only.split(',')
  const chosen = files.filter((name) => wanted.some((start) => name.startsWith(start)))
  if (chosen.length === 0) throw new Error(`--only ${options.only}: there are ${files.join(', ')}`)
  return chosen.map((name) => join('test/bench', name))
}

/** @param {Record<string, string>} env @returns {number} the exit status */
function runBenchmarks(env) {
  const rounds = options.rounds === undefined ? {} : { BENCH_ROUNDS: options.rounds }
  // Files first: one after an option without a value would be taken for its value.
  const vitest = ['vitest', 'run', ...chosenFiles(), '--project', 'bench']
  const { status } = spawnSync('npx', [...vitest, '--no-file-parallelism', '--disable-console-intercept'], {
    cwd: ROOT,
    stdio: 'inherit',
    env: { ...process.env, ...rounds, ...env },
  })
  return status ?? 1
}

/**
 * Builds another commit in a tree of its own, which is gone after.
 * @param {string} ref
 * @param {(tree: string) => number} use
 */
function withTree(ref, use) {
  // Ctrl-C ends vitest or the build; this process has to take the tree away after them.
  process.on('SIGINT', () => {})
  const commit = git('rev-parse', '--verify', `${ref}^{commit}`)
  const tree = mkdtempSync(join(tmpdir(), 'overlaid-compare-'))
  try {
    git('worktree', 'add', '--detach', tree, commit)
    execFileSync(process.execPath, ['scripts/setup.mjs'], { cwd: tree, stdio: 'inherit' })
    return use(tree)
  } finally {
    rmSync(tree, { recursive: true, force: true })
    git('worktree', 'prune')
  }
}

/** @param {string[]} args */
function git(...args) {
  return execFileSync('git', args, { cwd: ROOT, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] }).trim()
}

const { compare } = options
if (options.docs) {
  await writeDocs()
} else if (compare !== undefined) {
  process.exitCode = withTree(compare, (tree) => runBenchmarks({ BENCH_COMPARE: `${compare}=${tree}` }))
} else {
  process.exitCode = runBenchmarks({})
  // A smoke test's numbers are none.
  if (process.exitCode === 0 && (options.rounds ?? process.env['BENCH_ROUNDS']) !== '1') await writeDocs()
}
