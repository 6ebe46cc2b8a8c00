/** Runs the command in this process, on streams that are kept, over a store that the test makes up. */
import { Readable, Writable } from 'node:stream'
import type { Store, StoreOptions } from '../../../lib/store/store.ts'
import { main } from '../../../lib/cli/program.ts'

export interface RunOptions {
  /** What the verb meets of the store; anything else it calls is a TypeError, which fails the test. */
  readonly store?: object
  readonly openStore?: (root: string, options: StoreOptions) => Promise<Store>
  readonly env?: Record<string, string>
  /** Streams that are terminals. */
  readonly terminal?: readonly ('stdin' | 'stdout' | 'stderr')[]
  readonly stdin?: Readable
  readonly stdout?: Writable
  readonly signal?: AbortSignal
}

export interface RunResult {
  readonly status: number
  readonly stdout: string
  readonly bytes: Buffer
  readonly stderr: string
  /** Each opening of the store. */
  readonly opened: readonly { readonly root: string; readonly options: StoreOptions }[]
  /** Whether each store that was opened was closed. */
  readonly closed: boolean
}

/** A fixed present for ages. */
export const NOW = new Date('2026-11-20T12:00:00Z')

class Sink extends Writable {
  readonly chunks: Buffer[] = []
  isTTY = false
  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.chunks.push(chunk)
    done()
  }
  // What cli-progress needs of a terminal.
  cursorTo(): void {}
  moveCursor(): void {}
  clearLine(): void {}
  clearScreenDown(): void {}
}

export async function run(argv: readonly string[], options: RunOptions = {}): Promise<RunResult> {
  const { terminal = [], env = {}, store = {} } = options
  const sinks = { stdout: new Sink(), stderr: new Sink() }
  for (const name of ['stdout', 'stderr'] as const) sinks[name].isTTY = terminal.includes(name)
  const stdin = Object.assign(options.stdin ?? Readable.from([]), { isTTY: terminal.includes('stdin') })
  const opened: { root: string; options: StoreOptions }[] = []
  let open = 0
  const dispose = { [Symbol.asyncDispose]: async () => void (open -= 1) }
  const status = await main(argv, {
    env,
    stdin: () => stdin,
    stdout: options.stdout ?? sinks.stdout,
    stderr: sinks.stderr,
    signal: options.signal ?? new AbortController().signal,
    now: () => NOW,
    openStore: async (root, storeOptions) => {
      opened.push({ root, options: storeOptions })
      if (options.openStore !== undefined) return await options.openStore(root, storeOptions)
      open += 1
      return Object.assign(Object.create(null) as object, store, dispose) as unknown as Store
    },
  })
  const bytes = Buffer.concat(sinks.stdout.chunks)
  return {
    status,
    bytes,
    stdout: bytes.toString(),
    stderr: Buffer.concat(sinks.stderr.chunks).toString(),
    opened,
    closed: open === 0,
  }
}

/** `sha256:` and 64 times the digit. */
export function digest(digit: string): string {
  return `sha256:${digit.repeat(64)}`
}

export async function* chunks(...parts: readonly (string | Buffer)[]): AsyncGenerator<Buffer> {
  for (const part of parts) yield Buffer.from(part)
}
