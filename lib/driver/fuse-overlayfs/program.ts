/** The program fuse-overlayfs: started by an argv of its own and never by a shell. */
import { type ChildProcess, execFile, spawn, type SpawnOptions } from 'node:child_process'
import { promisify } from 'node:util'
import { expectProgram } from '../../fs/find-program.ts'
import { binding } from '../../native/binding.ts'
import { CAP } from '../../native/flags.ts'

export const PROGRAM = 'fuse-overlayfs'

/** Its path. @throws ERR_NO_PROGRAM */
export function fuseProgram(): string {
  const install = `apt-get install ${PROGRAM}, or the same with dnf, apk or pacman`
  return expectProgram(PROGRAM, `the program ${PROGRAM}`, install)
}

export interface StartOptions {
  readonly cwd: string
  /** A file for what the program prints. */
  readonly output: number
  /** A descriptor that it keeps open as long as it runs. */
  readonly keep?: number
  /**
   * Whether a project's limit is to bind it: ext4 lets a process with CAP_SYS_RESOURCE pass any, so it has not got that.
   */
  readonly limited?: boolean
}

/** A program that was started. */
export interface Started {
  /** Settles when it has ended; by then it is no zombie. @throws when it could not be started */
  readonly end: Promise<number | NodeJS.Signals>
}

/**
 * Starts the program, which outlives this process if it runs by then. It is told nothing of our environment, and is in
 * a session of its own, so that a Ctrl-C is not for it.
 */
export function start(
  program: string,
  args: readonly string[],
  { cwd, output, keep, limited = false }: StartOptions,
): Started {
  const kept = keep === undefined ? [] : [keep]
  const options: SpawnOptions = {
    cwd,
    env: {},
    detached: true,
    stdio: ['ignore', output, output, ...kept],
  }
  const begin = (): ChildProcess => spawn(program, args, options)
  const child = limited ? binding.withoutCapability(CAP.CAP_SYS_RESOURCE, begin) : begin()
  child.unref()
  const end = new Promise<number | NodeJS.Signals>((resolve, reject) => {
    child.once('error', reject)
    child.once('exit', (code, signal) => resolve(code ?? signal ?? 'SIGKILL'))
  })
  // Whoever starts a daemon has no use for its end.
  end.catch(() => undefined)
  return { end }
}

/** As it says of itself, e.g. `1.10`. */
export async function programVersion(): Promise<string> {
  const { stdout } = await promisify(execFile)(fuseProgram(), ['--version'], { env: {} })
  return /fuse-overlayfs:? (?:version )?(\d\S*)/.exec(stdout)?.[1] ?? 'unknown'
}
