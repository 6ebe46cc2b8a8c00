/** A failure as stderr shows it: in words, or with --json as one object. */
import { OverlaidError, exitStatus } from '../errors.ts'
import { escapeControl } from './format.ts'
import { Interrupt } from './interrupt.ts'
import { colorsFor, type OutputFlags } from './output.ts'
import type { Host } from './verb.ts'

/** All that an error may know, whoever threw it: overlaid, Node's fs, or a bug. */
type Facts = Error & {
  readonly code?: string
  readonly errno?: number
  readonly syscall?: string
  readonly path?: string
  readonly dest?: string
  readonly flags?: readonly string[]
  readonly detail?: readonly string[]
  readonly hint?: string
}

/** Wrong usage; commander's own complaints become this too. */
export function usageError(message: string, hint?: string): OverlaidError {
  return new OverlaidError('ERR_INVALID_ARGUMENT', message, hint === undefined ? {} : { hint })
}

/** Tells stderr about `error` and returns the exit status for it. */
export function report(error: unknown, host: Host, flags: OutputFlags): number {
  const errors = flatten(error)
  const first = errors[0] ?? asError(undefined)
  // The reader of stdout left: like a process that SIGPIPE ends, say nothing.
  if (first instanceof Interrupt && first.signal === 'SIGPIPE') return first.status
  const text = flags.json
    ? `${asJSON(errors, flags)}\n`
    : errors.map((each) => asText(each, host, flags)).join('')
  host.stderr.write(text)
  return first instanceof Interrupt ? first.status : exitStatus(first)
}

function flatten(error: unknown): Facts[] {
  return error instanceof AggregateError ? error.errors.flatMap(flatten) : [asError(error)]
}

function asError(thrown: unknown): Facts {
  return thrown instanceof Error ? thrown : new Error(String(thrown))
}

function asJSON(errors: readonly Facts[], flags: OutputFlags): string {
  const [first = asError(undefined), ...others] = errors
  const { errno, syscall, path, dest, hint } = first
  const detail = [...(first.detail ?? []), ...others.map((other) => other.message)]
  const facts = {
    code: first.code ?? 'ERR_INTERNAL',
    message: first.message,
    ...defined({ errno, syscall, path: text(path), dest: text(dest) }),
    ...(detail.length > 0 ? { detail } : {}),
    ...defined({ hint }),
    ...(flags.debug ? { stack: stackOf(first) } : {}),
  }
  return JSON.stringify({ error: facts })
}

function asText(error: Facts, host: Host, flags: OutputFlags): string {
  const { red, dim } = colorsFor(host, host.stderr)
  const lines = [`${red('overlaid:')} ${escapeControl(error.message)}`]
  for (const detail of error.detail ?? []) lines.push(`  ${escapeControl(detail)}`)
  if (error.hint !== undefined) lines.push(`${dim('hint:')} ${escapeControl(error.hint)}`)
  if (flags.debug) lines.push(...debugLines(error))
  // A bug rather than a refusal has no code; without its stack it can't be reported.
  else if (error.code === undefined && !(error instanceof Interrupt))
    lines.push(...stackOf(error).split('\n'))
  return `${lines.join('\n')}\n`
}

/** Everything else that is known, in the order in which one asks. */
function debugLines(error: Facts): string[] {
  const { code, syscall, errno, flags, path, dest } = error
  const facts = defined({ code, errno, syscall, flags: flags?.join('|'), path: text(path), dest: text(dest) })
  const known = Object.entries(facts).map(([name, value]) => `  ${name}: ${escapeControl(String(value))}`)
  return [...known, ...stackOf(error).split('\n')]
}

/** The stack, and those of the errors that led to it. */
function stackOf(error: Error): string {
  const own = error.stack ?? `${error.name}: ${error.message}`
  return error.cause instanceof Error ? `${own}\ncaused by ${stackOf(error.cause)}` : own
}

/** node:fs puts a path that was given as a Buffer into its error as that Buffer. */
function text(path: string | Buffer | undefined): string | undefined {
  return path === undefined ? undefined : String(path)
}

function defined<T extends object>(facts: T): Partial<T> {
  return Object.fromEntries(Object.entries(facts).filter(([, value]) => value !== undefined)) as Partial<T>
}
