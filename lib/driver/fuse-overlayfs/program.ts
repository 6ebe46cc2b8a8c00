/** The program fuse-overlayfs: the only one that is ever started, by an argv of its own and never by a shell. */
import { spawn } from 'node:child_process'
import { accessSync, constants } from 'node:fs'
import { isAbsolute, join } from 'node:path'
import { OverlaidError } from '../../errors.ts'

export const PROGRAM = 'fuse-overlayfs'

/** The first of its name in PATH. @throws ERR_NO_PROGRAM */
export function findProgram(): string {
  const folders = (process.env['PATH'] ?? '/usr/local/bin:/usr/bin:/bin').split(':').filter(isAbsolute)
  const found = folders.map((folder) => join(folder, PROGRAM)).find(isExecutable)
  if (found !== undefined) return found
  throw new OverlaidError('ERR_NO_PROGRAM', `the program ${PROGRAM} is not installed: it is in no folder of PATH`, {
    hint: `install it: apt-get install ${PROGRAM}, or the same with dnf, apk or pacman`,
  })
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    // Any errno: it is not there, or not for us; the next folder may have one.
    return false
  }
}

export interface RunOptions {
  readonly cwd: string
  /** A descriptor that the program, and what it leaves running, keeps open. */
  readonly keep?: number
}

/** How it ended, with what it printed. */
export interface Ended {
  readonly status: number | NodeJS.Signals
  readonly output: string
}

/** Longer than any version and any complaint. */
const MAX_OUTPUT = 8192

/**
 * Runs the program until it ends; what it leaves in the background goes on. It is told nothing of our environment, and
 * is in a session of its own, so that a Ctrl-C is not for it.
 */
export function run(program: string, args: readonly string[], { cwd, keep }: RunOptions): Promise<Ended> {
  const kept = keep === undefined ? [] : [keep]
  const child = spawn(program, args, {
    cwd,
    env: {},
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe', ...kept],
  })
  let output = ''
  const { stdout, stderr } = child as typeof child & Record<'stdout' | 'stderr', NodeJS.ReadableStream>
  for (const stream of [stdout, stderr]) {
    stream.on('data', (chunk: Buffer) => (output = (output + chunk.toString()).slice(0, MAX_OUTPUT)))
  }
  return new Promise((resolve, reject) => {
    child.once('error', reject)
    // Not at `exit`, when the last words may still be on their way; the daemon has let go of both.
    child.once('close', (code, signal) => resolve({ status: code ?? signal ?? 'SIGKILL', output: output.trim() }))
  })
}

/** As it says of itself, e.g. `1.10`. */
export async function programVersion(): Promise<string> {
  const { output } = await run(findProgram(), ['--version'], { cwd: '/' })
  return /version (\S+)/.exec(output)?.[1] ?? 'unknown'
}
