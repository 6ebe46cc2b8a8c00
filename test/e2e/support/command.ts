/** Runs the built command as a process of its own, as a shell would. */
import { spawn, type ChildProcess } from 'node:child_process'
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

/** The program that package.json's `bin` names. */
export const COMMAND: string = fileURLToPath(new URL('../../../dist/cli/main.cjs', import.meta.url))

export interface CommandResult {
  /** Exit status; null when a signal killed it. */
  readonly status: number | null
  readonly stdout: string
  readonly bytes: Buffer
  readonly stderr: string
}

export interface CommandOptions {
  readonly input?: Buffer
  readonly env?: Record<string, string>
  /** A program, with its arguments, that starts the command: setpriv, script, strace. */
  readonly under?: readonly string[]
}

/** Starts the command on the data root `root`; the caller feeds and ends it. */
export function start(root: string, argv: readonly string[], options: CommandOptions = {}): ChildProcess {
  if (!existsSync(COMMAND)) throw new Error(`${COMMAND} is missing: npm run build`)
  const [program = '', ...args] = [...(options.under ?? []), process.execPath, COMMAND, ...argv]
  // A variable of the developer's shell must not decide what is tested.
  const clean = Object.entries(process.env).filter(
    ([name]) => !/^(OVERLAID_|NO_COLOR$|NODE_OPTIONS$)/.test(name),
  )
  const env = { ...Object.fromEntries(clean), OVERLAID_ROOT: root, ...options.env }
  return spawn(program, args, { stdio: ['pipe', 'pipe', 'pipe'], env })
}

/** Waits for a started command. */
export function finish(child: ChildProcess): Promise<CommandResult> {
  const stdout: Buffer[] = []
  const stderr: Buffer[] = []
  child.stdout?.on('data', (chunk: Buffer) => stdout.push(chunk))
  child.stderr?.on('data', (chunk: Buffer) => stderr.push(chunk))
  return new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (status) => {
      const bytes = Buffer.concat(stdout)
      resolve({ status, bytes, stdout: bytes.toString(), stderr: Buffer.concat(stderr).toString() })
    })
  })
}

/** Runs the command to its end. */
export async function overlaid(
  root: string,
  argv: readonly string[],
  options: CommandOptions = {},
): Promise<CommandResult> {
  const child = start(root, argv, options)
  // EPIPE: the command may end without having read what it was given.
  child.stdin?.on('error', () => {})
  child.stdin?.end(options.input)
  return await finish(child)
}

/** Runs it with --json and returns the document. @throws when it fails */
export async function json<T>(root: string, ...argv: string[]): Promise<T> {
  const { status, stdout, stderr } = await overlaid(root, ['--json', ...argv])
  if (status !== 0) throw new Error(`overlaid ${argv.join(' ')}: exit ${String(status)}\n${stderr}`)
  return JSON.parse(stdout) as T
}
