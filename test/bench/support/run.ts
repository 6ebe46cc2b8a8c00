/** Running what is measured: whole commands, and tasks of our library in a process of their own. */
import { spawnSync } from 'node:child_process'
import { closeSync, openSync } from 'node:fs'
import { join } from 'node:path'
import { KIB, MIB } from '../../helpers/sizes.ts'
import type { Build } from './builds.ts'
import type { Metric } from './result.ts'
import { cProgram } from './tools.ts'

/** Time as most benchmarks give it. */
export const TIME: Metric = { name: 'time', unit: 'ms', better: 'less' }
export const PEAK: Metric = { name: 'peak memory', unit: 'MiB', better: 'less' }

const NS_PER_MS = 1e6
/** Of output that is read as text. */
const MAX_OUTPUT = 1 << 28

// Not an interface: it is a sample's values as it is, which have an index signature.
export type Taken = { readonly time: number; readonly 'peak memory': number }

interface CommandOptions {
  readonly env?: Readonly<Record<string, string>>
  /** A file that gets its stdout; default: nowhere. */
  readonly output?: string
  readonly cwd?: string
}

/** Runs a command to its end: ms, and the peak of its memory in MiB. @throws when it fails: that may be fast */
export function command(argv: readonly string[], options: CommandOptions = {}): Taken {
  const { env = {}, output = '/dev/null', cwd } = options
  const out = openSync(output, 'w')
  try {
    const {
      status,
      stderr,
      output: pipes,
    } = spawnSync(cProgram('measure'), argv, {
      env: { ...process.env, ...env },
      stdio: ['ignore', out, 'pipe', 'pipe'],
      encoding: 'utf8',
      maxBuffer: MAX_OUTPUT,
      ...(cwd !== undefined && { cwd }),
    })
    if (status !== 0) throw new Error(`${argv.join(' ')}: exit status ${String(status)}\n${stderr}`)
    const [ns = NaN, kib = NaN] = (pipes[3] ?? '').split(' ').map(Number)
    return { time: ns / NS_PER_MS, 'peak memory': (kib * KIB) / MIB }
  } finally {
    closeSync(out)
  }
}

/** The stdout of a program, for what measures by itself. @throws with its stderr when it fails */
export function textOf(argv: readonly string[], env: Readonly<Record<string, string>> = {}): string {
  const [program = '', ...args] = argv
  const { status, stdout, stderr } = spawnSync(program, args, {
    env: { ...process.env, ...env },
    encoding: 'utf8',
    maxBuffer: MAX_OUTPUT,
  })
  if (status !== 0) throw new Error(`${argv.join(' ')}: exit status ${String(status)}\n${stderr}`)
  return stdout
}

/** The JSON that a program prints. */
export function jsonOf<T>(argv: readonly string[], env?: Readonly<Record<string, string>>): T {
  return JSON.parse(textOf(argv, env)) as T
}

/** Runs `library/<name>.mjs` with a build of the library in a process of its own; what the task returned. */
export function task<T>(build: Build, name: string, parameters: object): T {
  const script = join(import.meta.dirname, '../library', `${name}.mjs`)
  return jsonOf([process.execPath, script, build.root, JSON.stringify(parameters)])
}
