/** What a verb of the command is, and what it is given to work with. */
import type { Readable, Writable } from 'node:stream'
import type { Store, StoreOptions } from '../store/store.ts'
import type { Output } from './output.ts'

/** A stream that may be a terminal. */
export type MaybeTerminal<S> = S & { readonly isTTY?: boolean; readonly columns?: number }

/** What the command needs of the process it runs in; main.ts gives the real one, tests give another. */
export interface Host {
  readonly env: Readonly<Record<string, string | undefined>>
  /** A function, since only to look at process.stdin opens it. */
  readonly stdin: () => MaybeTerminal<Readable>
  readonly stdout: MaybeTerminal<Writable>
  readonly stderr: MaybeTerminal<Writable>
  /** Aborted by a signal, or by the reader of stdout going away; the reason is an {@link Interrupt}. */
  readonly signal: AbortSignal
  readonly now: () => Date
  readonly openStore: (root: string, options: StoreOptions) => Promise<Store>
}

/** What a verb's run() gets. */
export interface Context {
  readonly host: Host
  readonly out: Output
  readonly signal: AbortSignal
  /** The data root that the global options name. */
  readonly root: string
  /** What the global options say of the driver. */
  readonly selection: Pick<StoreOptions, 'driver' | 'driverOrder'>
  /** Opens the store the global options name. Readers say so: they then need no more than leave to read. */
  readonly openStore: (access: 'read' | 'write') => Promise<Store>
}

/** An option in commander's spelling (`-o, --output <file>`), with how its value is checked. */
export interface VerbOption {
  readonly flags: string
  readonly does: string
  readonly choices?: readonly string[]
  readonly default?: string
  /** May be given several times; its value is then an array. */
  readonly many?: boolean
}

/** An example for `--help`: the command after `overlaid`, and what it does. */
export type Example = readonly [command: string, does: string]

/** One verb: what it takes, and what it does. `Args` and `Options` are what commander makes of the schema. */
export interface Verb<Args extends readonly unknown[] = readonly unknown[], Options = object> {
  /** In commander's spelling, in order: `<ref...>`, `[dest]`. */
  readonly args?: readonly (readonly [syntax: string, does: string])[]
  readonly options?: readonly VerbOption[]
  readonly examples: readonly Example[]
  /** What else the help should say. */
  readonly notes?: string
  /** Does it. A number is the exit status, when the verb did its work and the answer is bad news. */
  run(context: Context, args: Args, options: Options): Promise<number | void>
}
