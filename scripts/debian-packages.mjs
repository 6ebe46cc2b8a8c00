/**
 * Debian packages as folders, without touching this machine's own packages: apt works on an empty status file and
 * an archive folder of its own, so what it downloads is the whole closure, and nothing is installed.
 */
import { execFileSync } from 'node:child_process'
import { mkdirSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'

/** Where downloads and finished images are kept between runs: below `$XDG_CACHE_HOME`, else `~/.cache`. */
export const CACHE = join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'overlaid')

/**
 * Runs a command; its stdout. What it says on stderr is shown only when it fails.
 * @param {string} command
 * @param {readonly string[]} args
 * @returns {string}
 */
export function run(command, args) {
  try {
    return execFileSync(command, [...args], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
      maxBuffer: 1 << 28,
    })
  } catch (error) {
    const { stderr = '' } = /** @type {{ stderr?: string }} */ (error)
    throw new Error(`${command} failed: ${stderr.trim().split('\n').slice(-3).join('; ')}`, { cause: error })
  }
}

/**
 * Whether a command is there at all.
 * @param {string} command
 * @returns {boolean}
 */
export function hasCommand(command) {
  try {
    execFileSync('sh', ['-c', 'command -v "$1"', 'sh', command], { stdio: 'ignore' })
    return true
  } catch {
    // Exit status 1 (or 127 of a bare sh): not found.
    return false
  }
}

/**
 * Downloads packages with all that they depend on.
 * @param {readonly (readonly string[])[]} sets
 * @returns {string[][]} for each set its closure: the .deb files' paths, sorted
 */
export function downloadPackages(sets) {
  const folder = join(CACHE, 'packages')
  mkdirSync(join(folder, 'archives/partial'), { recursive: true })
  writeFileSync(join(folder, 'status'), '')
  try {
    return download(folder, sets)
  } catch (error) {
    // A machine on which `apt-get update` never ran has no lists to find a package in: fetch some, for us alone.
    if (hasPrivateLists(folder)) throw error
    mkdirSync(join(folder, 'lists/partial'), { recursive: true })
    run('apt-get', [...aptOptions(folder), '-qq', 'update'])
    return download(folder, sets)
  }
}

/**
 * @param {string} folder
 * @param {readonly (readonly string[])[]} sets
 */
function download(folder, sets) {
  const install = [...aptOptions(folder), '-qq', '-y', '--no-install-recommends', 'install']
  run('apt-get', [...install, '--download-only', ...sets.flat()])
  return sets.map((names) => closure(folder, run('apt-get', [...install, '--simulate', ...names])))
}

/** @param {string} folder */
function hasPrivateLists(folder) {
  return readdirSync(folder).includes('lists')
}

/**
 * @param {string} folder
 * @returns {string[]}
 */
function aptOptions(folder) {
  const lists = hasPrivateLists(folder) ? [`Dir::State::lists=${join(folder, 'lists')}`] : []
  const settings = [
    `Dir::State::status=${join(folder, 'status')}`,
    `Dir::Cache::archives=${join(folder, 'archives')}`,
    // The user _apt, as whom apt downloads when it is root, may not write below a home.
    'APT::Sandbox::User=root',
    ...lists,
  ]
  return settings.flatMap((setting) => ['-o', setting])
}

/**
 * The archive files of what apt would install: "Inst NAME (VERSION ORIGIN [ARCH])", one a package.
 * @param {string} folder
 * @param {string} simulation
 */
function closure(folder, simulation) {
  const packages = [...simulation.matchAll(/^Inst (\S+) \((\S+) .*\[(\S+)\]\)/gm)]
  return packages
    .map(([, name = '', version = '', arch = '']) => `${name}_${version.replaceAll(':', '%3a')}_${arch}.deb`)
    .map((file) => join(folder, 'archives', file))
    .sort()
}

/**
 * Unpacks packages on top of each other, owners, modes and times included. Their maintainer scripts do not run.
 * @param {readonly string[]} files
 * @param {string} dir made anew
 * @param {readonly string[]} [merged] names that are links into /usr: `bin` becomes `bin -> usr/bin` and is followed
 */
export function unpackPackages(files, dir, merged = []) {
  rmSync(dir, { recursive: true, force: true })
  mkdirSync(dir, { recursive: true })
  for (const name of merged) {
    mkdirSync(join(dir, 'usr', name), { recursive: true })
    symlinkSync(`usr/${name}`, join(dir, name))
  }
  const unpack = 'dpkg-deb --fsys-tarfile "$1" | tar -xpf - --keep-directory-symlink -C "$2"'
  for (const file of files) run('sh', ['-c', unpack, 'sh', file, dir])
}
