/** What the command says: the result on stdout in one of its two forms, everything else on stderr. */
import { createColors } from 'picocolors'
import { escapeControl } from './format.ts'
import { Interrupt } from './interrupt.ts'
import { table, type TableRow } from './table.ts'
import type { Host, MaybeTerminal } from './verb.ts'
import type { Writable } from 'node:stream'

/** The global options that shape output. */
export interface OutputFlags {
  readonly json: boolean
  readonly quiet: boolean
  readonly debug: boolean
}

export type Colors = ReturnType<typeof createColors>

/** A verb's way to the terminal, pipe or file it was started on. */
export interface Output extends OutputFlags {
  /** Whether stdout is a terminal. */
  readonly isTerminal: boolean
  /** For stdout; they do nothing when it is no terminal, or NO_COLOR is set. */
  readonly colors: Colors
  /** The one result: `value` as JSON, or the lines that `human` makes of it. */
  readonly result: (
    value: unknown,
    human: () => readonly string[] | Promise<readonly string[]>,
  ) => Promise<void>
  /** Lines of a table, for `result`; see table.ts. */
  readonly table: (head: readonly string[], rows: readonly TableRow[]) => Promise<string[]>
  /** Bytes as they are, when the reader has taken them. @throws Interrupt when the reader has gone. */
  readonly write: (bytes: string | Buffer) => Promise<void>
  /** A name as a line may show it: as it is, on a terminal without what would drive it. */
  readonly name: (text: string) => string
  /** A warning on stderr, unless --quiet. */
  readonly warn: (message: string) => void
}

/** Output onto the host's streams. */
export function createOutput(host: Host, flags: OutputFlags): Output {
  const isTerminal = host.stdout.isTTY === true
  const write = (bytes: string | Buffer): Promise<void> => writeTo(host.stdout, bytes)
  return {
    ...flags,
    isTerminal,
    colors: colorsFor(host, host.stdout),
    write,
    table,
    name: (text) => (isTerminal ? escapeControl(text) : text),
    async result(value, human) {
      if (flags.json) return await write(`${JSON.stringify(value)}\n`)
      const lines = await human()
      if (lines.length > 0) await write(`${lines.join('\n')}\n`)
    },
    warn(message) {
      if (flags.quiet) return
      const text = `${colorsFor(host, host.stderr).yellow('warning:')} ${escapeControl(message)}`
      host.stderr.write(`${flags.json ? JSON.stringify({ warning: message }) : text}\n`)
    },
  }
}

/** Colours for `stream`: off when it is no terminal or the environment asks for none (https://no-color.org). */
export function colorsFor(host: Host, stream: MaybeTerminal<Writable>): Colors {
  const refused = (host.env['NO_COLOR'] ?? '') !== '' || host.env['TERM'] === 'dumb'
  return createColors(stream.isTTY === true && !refused)
}

function writeTo(stream: Writable, bytes: string | Buffer): Promise<void> {
  return new Promise((resolve, reject) => {
    stream.write(bytes, (error) => {
      if (!error) return resolve()
      // A stream that met EPIPE is destroyed, and answers the writes after it with that.
      const { code } = error as NodeJS.ErrnoException
      reject(code === 'EPIPE' || code === 'ERR_STREAM_DESTROYED' ? new Interrupt('SIGPIPE') : error)
    })
  })
}
