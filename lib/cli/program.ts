/** The command line: parses it, runs the verb, and turns whatever comes of it into an exit status. */
import { resolve } from 'node:path'
import { Command, CommanderError, Option } from 'commander'
import { EXIT } from '../errors.ts'
import { createOutput, type OutputFlags } from './output.ts'
import { report, usageError } from './report.ts'
import type { Context, Host, Verb, VerbOption } from './verb.ts'
import { VERBS } from './verbs.ts'
import { packageVersion } from './version.ts'

/** The options that stand before or after any verb. */
interface GlobalOptions {
  readonly root?: string
  readonly driver?: string
  readonly driverOrder?: string
  readonly durability?: string
  readonly json?: boolean
  readonly quiet?: boolean
  readonly debug?: boolean
}

const DEFAULT_ROOT = '/var/lib/overlaid'

/**
 * Runs the command with `argv` (without node and script) and resolves to its exit status. Everything it says, it
 * says on the host's streams; it never throws.
 */
export async function main(argv: readonly string[], host: Host): Promise<number> {
  const flags = scanFlags(argv)
  const outcome: Outcome = { status: EXIT.ok }
  try {
    await createProgram(host, flags, outcome).parseAsync(argv, { from: 'user' })
    // A verb that finished all the same when a signal came: what it did is done, but it was told to stop.
    host.signal.throwIfAborted()
    return outcome.status
  } catch (error) {
    return fail(error, host, flags)
  }
}

interface Outcome {
  status: number
}

function fail(error: unknown, host: Host, flags: OutputFlags): number {
  if (error instanceof CommanderError) {
    if (error.exitCode === 0) return EXIT.ok
    // Help that nobody asked for: it has been printed, and is the complaint.
    if (error.code === 'commander.help' && !flags.json) return EXIT.usage
    return report(fromCommander(error), host, flags)
  }
  // Once aborted, what fails fails for that: an EBADF of a closed stdin must not hide it.
  return report(host.signal.aborted ? host.signal.reason : error, host, flags)
}

function fromCommander({ code, message }: CommanderError): Error {
  if (code === 'commander.help') return usageError('a verb is missing', 'overlaid --help lists them')
  const [complaint = '', ...suggestion] = message.replace(/^error: /, '').split('\n')
  return usageError(complaint, suggestion.join(' ').replace(/^\((.*)\)$/, '$1') || undefined)
}

/** The flags that must be known to report that the command line is wrong. */
function scanFlags(argv: readonly string[]): OutputFlags {
  const end = argv.indexOf('--')
  const before = new Set(end < 0 ? argv : argv.slice(0, end))
  return { json: before.has('--json'), quiet: before.has('--quiet'), debug: before.has('--debug') }
}

function createProgram(host: Host, flags: OutputFlags, outcome: Outcome): Command {
  const program = new Command('overlaid')
    .description('Image layers stored once, merged by the kernel, mounted as container root file systems.')
    .usage('[options] <verb> [...]')
    .configureOutput({
      writeOut: (text) => void host.stdout.write(text),
      writeErr: (text) => void (flags.json || host.stderr.write(text)),
      outputError: () => {}, // reported by fail()
      getOutHelpWidth: () => host.stdout.columns ?? 100,
      getErrHelpWidth: () => host.stderr.columns ?? 100,
    })
    .configureHelp({ subcommandTerm: (command) => command.name(), showGlobalOptions: true })
    .exitOverride()
    .helpCommand(false)
    .helpOption('--help', 'show help, with examples')
  addGlobalOptions(program, host)
  for (const { name, summary, group } of VERBS) {
    program.command(name).description(summary).helpGroup(group)
  }
  program.hook('preSubcommand', async (_program, command) => {
    const found = VERBS.find(({ name }) => name === command.name())
    if (found !== undefined) configure(command, (await found.load()).verb, host, flags, outcome)
  })
  addHelpVerb(program)
  return program
}

function addGlobalOptions(program: Command, host: Host): void {
  program
    .option('--root <dir>', `the data root (default: $OVERLAID_ROOT, else ${DEFAULT_ROOT})`)
    .option(
      '--driver <name>',
      "storage driver (default: $OVERLAID_DRIVER, else the root's own, else the best that works)",
    )
    .option(
      '--driver-order <release>',
      "try drivers in that Docker release's order, e.g. 20.10 (default: $OVERLAID_DRIVER_ORDER, else today's)",
    )
    .addOption(
      new Option(
        '--durability <mode>',
        'whether changes are synced to disk (default: $OVERLAID_DURABILITY, else full)',
      ).choices(['full', 'none']),
    )
    .option('--json', 'print JSON, errors included')
    .option('--quiet', 'no progress and no warnings')
    .option('--debug', 'print the stack and all facts of an error')
    .option('--version', 'print the version')
  program.on('option:version', () => {
    host.stdout.write(`${packageVersion()}\n`)
    throw new CommanderError(EXIT.ok, 'commander.version', '')
  })
}

/** `overlaid help VERB`. Commander's own would show a verb before it is loaded. */
function addHelpVerb(program: Command): void {
  program
    .command('help')
    .description('show help for a verb')
    .helpGroup('Help:')
    .argument('[verb]')
    .action(async (verb: string | undefined) => {
      if (verb !== undefined && !VERBS.some(({ name }) => name === verb)) {
        throw usageError(`unknown command '${verb}'`, 'overlaid --help lists the verbs')
      }
      await program.parseAsync(verb === undefined ? ['--help'] : [verb, '--help'], { from: 'user' })
    })
}

/** Gives the command what the verb's schema says, and its run() as the action. */
function configure(command: Command, verb: Verb, host: Host, flags: OutputFlags, outcome: Outcome): void {
  for (const [syntax, does] of verb.args ?? []) command.argument(syntax, does)
  for (const option of verb.options ?? []) command.addOption(toCommander(option))
  command.addHelpText('after', helpTail(verb))
  command.action(async () => {
    const globals = command.optsWithGlobals<GlobalOptions>()
    const context = createContext(host, globals, flags)
    outcome.status = (await verb.run(context, command.processedArgs, command.opts())) ?? EXIT.ok
  })
}

function toCommander({ flags, does, choices, default: value, many }: VerbOption): Option {
  const option = new Option(flags, does)
  if (choices !== undefined) option.choices(choices)
  if (value !== undefined) option.default(value)
  if (many === true)
    option.argParser((each: string, before: string[] | undefined) => [...(before ?? []), each])
  return option
}

function helpTail({ notes, examples }: Verb): string {
  const width = Math.max(...examples.map(([command]) => command.length))
  const lines = examples.flatMap(([command, does]) => {
    const line = `  $ overlaid ${command.padEnd(Math.min(width, 44))}`
    return command.length > 44 ? [line, `      ${does}`] : [`${line}   ${does}`]
  })
  return ['', ...(notes === undefined ? [] : [notes, '']), 'Examples:', ...lines].join('\n')
}

function createContext(host: Host, globals: GlobalOptions, flags: OutputFlags): Context {
  const out = createOutput(host, flags)
  const selection = driverSelection(globals, host)
  const durability = durabilityOf(globals, host)
  // resolve('') is the working directory: not what an unset variable in a script means.
  if (globals.root === '') throw usageError('--root is empty')
  const root = resolve(globals.root ?? envOf(host, 'OVERLAID_ROOT') ?? DEFAULT_ROOT)
  return {
    host,
    out,
    signal: host.signal,
    root,
    selection,
    openStore: (access) =>
      host.openStore(root, {
        ...selection,
        durability,
        readOnly: access === 'read',
        onWarning: out.warn,
        signal: host.signal,
      }),
  }
}

function driverSelection(globals: GlobalOptions, host: Host): Context['selection'] {
  const driver = globals.driver ?? envOf(host, 'OVERLAID_DRIVER')
  const driverOrder = globals.driverOrder ?? envOf(host, 'OVERLAID_DRIVER_ORDER')
  return {
    ...(driver === undefined ? {} : { driver }),
    ...(driverOrder === undefined ? {} : { driverOrder }),
  }
}

function durabilityOf(globals: GlobalOptions, host: Host): 'full' | 'none' {
  const durability = globals.durability ?? envOf(host, 'OVERLAID_DURABILITY') ?? 'full'
  if (durability === 'full' || durability === 'none') return durability
  throw usageError(`OVERLAID_DURABILITY is '${durability}'`, 'it is full or none')
}

/** A variable that is set to nothing counts as not set, as in the shell's `${NAME:-default}`. */
function envOf(host: Host, name: string): string | undefined {
  const value = host.env[name]
  return value === '' ? undefined : value
}
