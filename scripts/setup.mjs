/**
 * Makes a fresh clone ready, and a stale one fresh: dependencies, addon, dist. Uses nothing but Node itself, since it
 * runs before anything is installed. What is up to date is left alone, so that a second run takes no time.
 */
import { execFileSync, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'

const ROOT = join(import.meta.dirname, '..')
const STAMPS = join(ROOT, 'node_modules/.cache/overlaid-setup.json')
const LEAST_NODE = [20, 19]

/** A reason to stop that the reader can do something about: printed without a stack. */
class Stop extends Error {}

/**
 * One thing that is made of others.
 * @typedef {{ name: string, output: string, inputs: string[], make: () => void }} Part
 */

/** @type {Part[]} */
const PARTS = [
  {
    name: 'dependencies',
    output: 'node_modules/.package-lock.json',
    inputs: ['package-lock.json'],
    // No install script is needed: ours would build the addon before the compiler is looked at.
    make: () => sh('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error']),
  },
  {
    name: 'native addon',
    output: 'build/Release/overlaid.node',
    inputs: ['binding.gyp', 'native', 'package-lock.json'],
    make: buildAddon,
  },
  {
    name: 'JavaScript',
    output: 'dist/index.js',
    inputs: ['lib', 'scripts/bundle.mjs', 'tsconfig.json', 'package-lock.json'],
    make: () => sh('npm', ['run', '--silent', 'build']),
  },
]

function checkMachine() {
  if (process.platform !== 'linux') {
    throw new Stop(
      `overlaid mounts with Linux's overlayfs; this is ${process.platform}. Use a Linux machine or VM.`,
    )
  }
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)
  const [leastMajor = 0, leastMinor = 0] = LEAST_NODE
  if (major < leastMajor || (major === leastMajor && minor < leastMinor)) {
    throw new Stop(`overlaid needs Node ${LEAST_NODE.join('.')} or later; this is ${process.version}.`)
  }
}

/** What node-gyp needs, looked for by using it. */
function checkCompiler() {
  const compiler = process.env['CXX'] ?? 'c++'
  const source = '#include <concepts>\nint main() {}'
  const wanted = [
    { name: 'python3', package: 'python3', ok: works('python3', ['--version']) },
    { name: 'make', package: 'make', ok: works('make', ['--version']) },
    {
      name: 'a C++20 compiler',
      package: 'g++',
      ok: works(compiler, ['-std=c++20', '-fsyntax-only', '-xc++', '-'], source),
    },
  ]
  const missing = wanted.filter((tool) => !tool.ok)
  if (missing.length === 0) return
  const names = missing.map((tool) => tool.name).join(' and ')
  const packages = missing.map((tool) => tool.package).join(' ')
  throw new Stop(`The addon can't be built: ${names} missing. On Debian: apt-get install ${packages}`)
}

/** @param {string} command @param {string[]} args @param {string} [input] */
function works(command, args, input = '') {
  return spawnSync(command, args, { input, stdio: ['pipe', 'ignore', 'ignore'] }).status === 0
}

function buildAddon() {
  checkCompiler()
  // Headers that came with this node save node-gyp a download.
  const prefix = dirname(dirname(process.execPath))
  const local = existsSync(join(prefix, 'include/node/node_api.h')) && !process.env['npm_config_nodedir']
  sh('npm', [
    'run',
    '--silent',
    'build:native',
    '--',
    '--loglevel=error',
    ...(local ? [`--nodedir=${prefix}`] : []),
  ])
}

/**
 * Runs a command quietly; what it said is shown only when it fails.
 * @param {string} command
 * @param {string[]} args
 */
function sh(command, args) {
  try {
    execFileSync(command, args, {
      cwd: ROOT,
      stdio: ['ignore', 'pipe', 'pipe'],
      encoding: 'utf8',
      maxBuffer: 1 << 28,
    })
  } catch (error) {
    const { stdout = '', stderr = '' } = /** @type {{ stdout?: string, stderr?: string }} */ (error)
    process.stderr.write(`\n${stdout}${stderr}\n`)
    throw new Stop(`${[command, ...args].join(' ')} failed; its output is above.`)
  }
}

/** The digest of files and folders, names included. @param {string[]} paths */
function digestOf(paths) {
  const hash = createHash('sha256').update(process.versions.modules).update(process.arch)
  for (const path of paths.map((name) => join(ROOT, name))) {
    const isFolder = statSync(path).isDirectory()
    const names = isFolder ? readdirSync(path, { recursive: true, encoding: 'utf8' }).sort() : ['']
    const files = names.map((name) => join(path, name)).filter((file) => statSync(file).isFile())
    for (const file of files) hash.update(`${relative(ROOT, file)}\0`).update(readFileSync(file))
  }
  return hash.digest('hex')
}

/** @returns {Record<string, string>} */
function readStamps() {
  return existsSync(STAMPS) ? JSON.parse(readFileSync(STAMPS, 'utf8')) : {}
}

/** The inputs and the output's own time: another build in the same place (with sanitizers, say) is stale too. @param {Part} part */
function stampOf(part) {
  const output = join(ROOT, part.output)
  return existsSync(output) ? `${digestOf(part.inputs)} ${String(statSync(output).mtimeMs)}` : ''
}

/** @param {Part} part */
function refresh(part) {
  const stamp = stampOf(part)
  if (stamp !== '' && readStamps()[part.name] === stamp) return
  const start = Date.now()
  process.stderr.write(`setup: ${part.name} … `)
  part.make()
  mkdirSync(dirname(STAMPS), { recursive: true })
  writeFileSync(STAMPS, JSON.stringify({ ...readStamps(), [part.name]: stampOf(part) }, undefined, 2))
  process.stderr.write(`${((Date.now() - start) / 1000).toFixed(0)} s\n`)
}

try {
  checkMachine()
  PARTS.forEach(refresh)
} catch (error) {
  if (!(error instanceof Stop)) throw error
  process.stderr.write(`${error.message}\n`)
  process.exitCode = 1
}
