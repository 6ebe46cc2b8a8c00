/** Every check that needs no test run: one line each, the output of those that fail, exit status 1 if any did. */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { hasCommand } from './debian-packages.mjs'

const ROOT = join(import.meta.dirname, '..')
const packed = mkdtempSync(join(tmpdir(), 'overlaid-pack-'))
const native = readdirSync(join(ROOT, 'native'))
  .filter((name) => /\.(cc|h)$/.test(name))
  .map((name) => join('native', name))

/** @type {[name: string, command: string, ...args: string[]][]} */
const STEPS = [
  ['format', 'npx', 'prettier', '--check', '--log-level=warn', '.'],
  ['format native', 'clang-format', '--dry-run', '--Werror', ...native],
  ['lint', 'npx', 'eslint', '.'],
  ['size', 'node', 'scripts/size.mjs'],
  ['types', 'npx', 'tsc', '-p', 'tsconfig.json', '--noEmit'],
  ['types of tests', 'npx', 'tsc', '-p', 'tsconfig.test.json'],
  ['unused code', 'npx', 'knip', '--no-progress'],
  ['API documentation', 'npx', 'typedoc', '--emit', 'none', '--logLevel', 'Warn'],
  // In a function with `await using` TypeScript 6.0 leaves the .ts of an import() as it is.
  ['imports of the build', 'sh', '-c', `! grep -rnE "import\\('[^']*\\.ts'\\)" dist --include=*.js`],
  // Without scripts: what is checked is the list of files and the types, not the prebuilt addon.
  ['pack', 'npm', 'pack', '--silent', '--ignore-scripts', '--pack-destination', packed],
  ['publint', 'sh', '-c', `npx publint run --strict ${packed}/*.tgz`],
  ['types of the package', 'sh', '-c', `npx attw --profile esm-only ${packed}/*.tgz`],
]

/** @param {[name: string, command: string, ...args: string[]]} step */
function passes([name, command, ...args]) {
  if (!hasCommand(command)) {
    // Where everything must be there, a step that can't run has failed.
    console.log(
      `${process.env['CI'] === 'true' ? 'FAILED ' : 'skipped'} ${name}: ${command} is not installed`,
    )
    return process.env['CI'] !== 'true'
  }
  const start = Date.now()
  const { status, stdout, stderr } = spawnSync(command, args, {
    cwd: ROOT,
    encoding: 'utf8',
    maxBuffer: 1 << 28,
  })
  console.log(
    `${status === 0 ? 'ok     ' : 'FAILED '} ${name} (${((Date.now() - start) / 1000).toFixed(1)} s)`,
  )
  if (status !== 0) console.log(`${stdout}${stderr}`)
  return status === 0
}

try {
  const failed = STEPS.filter((step) => !passes(step))
  console.log(`${String(STEPS.length - failed.length)} checks passed, ${String(failed.length)} failed`)
  process.exitCode = failed.length === 0 ? 0 : 1
} finally {
  rmSync(packed, { recursive: true })
}
