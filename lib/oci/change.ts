/**
 * Docker's `--change`: Dockerfile instructions applied to the config of an image being committed or imported.
 * @see docker commit, https://docs.docker.com/reference/cli/docker/container/commit/#change
 */
import { posix } from 'node:path'
import { OverlaidError } from '../errors.ts'
import type { ContainerConfig } from './config.ts'
import { expandWord, splitWords } from './shell-word.ts'

const DEFAULT_SHELL = ['/bin/sh', '-c']
const MAX_PORT = 65_535

/** The config so far, and what earlier instructions decided. */
interface State {
  config: ContainerConfig
  /** CMD was among the changes: a later ENTRYPOINT leaves it alone. */
  cmdSet: boolean
}

/** One instruction: its argument text, and a way to complain about it. */
interface Instruction {
  readonly name: string
  readonly text: string
  readonly args: string
}

type Apply = (state: State, instruction: Instruction) => ContainerConfig

const INSTRUCTIONS: ReadonlyMap<string, Apply> = new Map<string, Apply>([
  ['CMD', setCommand],
  ['ENTRYPOINT', setEntrypoint],
  ['ENV', setEnv],
  ['WORKDIR', setWorkingDir],
  ['USER', (state, it) => ({ ...state.config, User: expandWord(it.args, environment(state.config)) })],
  ['LABEL', setLabels],
  ['EXPOSE', exposePorts],
  ['VOLUME', addVolumes],
])

/**
 * `config` with the instructions of `changes` applied in order.
 * @throws ERR_INVALID_ARGUMENT with the instruction that is wrong
 */
export function applyChanges(config: ContainerConfig, changes: readonly string[]): ContainerConfig {
  const state: State = { config, cmdSet: false }
  for (const change of changes) {
    const instruction = parseInstruction(change)
    const apply = INSTRUCTIONS.get(instruction.name)
    if (apply === undefined) {
      throw bad(instruction, `not one of ${[...INSTRUCTIONS.keys()].join(', ')}`)
    }
    if (instruction.args === '') throw bad(instruction, 'it needs an argument')
    state.config = apply(state, instruction)
  }
  return state.config
}

function parseInstruction(text: string): Instruction {
  // A backslash at the end of a line continues it.
  const line = text.replaceAll(/\\[ \t]*\r?\n/g, '').trim()
  const [, name = '', args = ''] = /^(\S*)\s*([^]*)$/.exec(line) ?? []
  return { name: name.toUpperCase(), text, args }
}

function bad({ text }: Instruction, reason: string): OverlaidError {
  return new OverlaidError('ERR_INVALID_ARGUMENT', `change ${JSON.stringify(text)}: ${reason}`)
}

function environment(config: ContainerConfig): Map<string, string> {
  return new Map((config.Env ?? []).map((entry) => pair(entry)))
}

/** `KEY=value` cut at the first `=`. */
function pair(text: string): [string, string] {
  const at = text.indexOf('=')
  return at < 0 ? [text, ''] : [text.slice(0, at), text.slice(at + 1)]
}

/** The JSON form of an argument; undefined when it is not JSON, and then it is a command line, as docker has it. */
function jsonForm(it: Instruction): string[] | undefined {
  if (!it.args.startsWith('[')) return undefined
  let value: unknown
  try {
    value = JSON.parse(it.args)
  } catch {
    // SyntaxError: `[ -f x ] && y` is a good command line.
    return undefined
  }
  if (Array.isArray(value) && value.every((item) => typeof item === 'string')) return value
  throw bad(it, 'the JSON form takes strings only')
}

function commandOf(state: State, it: Instruction): string[] {
  return jsonForm(it) ?? [...(state.config.Shell ?? DEFAULT_SHELL), it.args]
}

function setCommand(state: State, it: Instruction): ContainerConfig {
  state.cmdSet = true
  return { ...state.config, Cmd: commandOf(state, it) }
}

function setEntrypoint(state: State, it: Instruction): ContainerConfig {
  const command = commandOf(state, it)
  const { Cmd, Entrypoint: _, ...rest } = state.config
  return {
    ...rest,
    // The command was meant for the entry point before: docker drops it, unless these changes gave it.
    ...(state.cmdSet && { Cmd }),
    ...(command.length > 0 && { Entrypoint: command }),
  }
}

/** `k=v k2="v 2"`, or `k the rest`: the older form of ENV and LABEL. */
function keyValues(state: State, it: Instruction): [string, string][] {
  const words = splitWords(it.args)
  const pairs = words[0]?.includes('=') === true ? words.map((word) => equals(it, word)) : [older(it)]
  const env = environment(state.config)
  return pairs.map(([key, value]) => {
    const name = expandWord(key, env)
    if (name === '') throw bad(it, 'a name is empty')
    return [name, expandWord(value, env)]
  })
}

function equals(it: Instruction, word: string): [string, string] {
  if (!word.includes('=')) throw bad(it, `${JSON.stringify(word)} should be name=value`)
  return pair(word)
}

function older(it: Instruction): [string, string] {
  const [, key, value] = /^(\S+)\s+([^]+)$/.exec(it.args) ?? []
  if (key === undefined || value === undefined) throw bad(it, 'it should be name=value')
  return [key, value]
}

function setEnv(state: State, it: Instruction): ContainerConfig {
  const env = [...(state.config.Env ?? [])]
  for (const [name, value] of keyValues(state, it)) {
    const at = env.findIndex((entry) => pair(entry)[0] === name)
    env.splice(at < 0 ? env.length : at, 1, `${name}=${value}`)
  }
  return { ...state.config, Env: env }
}

function setLabels(state: State, it: Instruction): ContainerConfig {
  return { ...state.config, Labels: { ...state.config.Labels, ...Object.fromEntries(keyValues(state, it)) } }
}

function setWorkingDir(state: State, it: Instruction): ContainerConfig {
  const path = expandWord(it.args, environment(state.config))
  if (path === '') throw bad(it, 'the path is empty')
  const absolute = path.startsWith('/') ? path : posix.join('/', state.config.WorkingDir ?? '', path)
  return { ...state.config, WorkingDir: absolute }
}

function exposePorts(state: State, it: Instruction): ContainerConfig {
  const env = environment(state.config)
  // Split again when expanded: EXPOSE $PORTS may be several.
  const specs = splitWords(it.args).flatMap((word) => splitWords(expandWord(word, env)))
  const ports = specs.flatMap((spec) => portsOf(it, spec)).map((port): [string, object] => [port, {}])
  return { ...state.config, ExposedPorts: { ...state.config.ExposedPorts, ...Object.fromEntries(ports) } }
}

/** `80`, `80/udp`, `8000-8003/tcp`: each port as `<port>/<protocol>`. */
function portsOf(it: Instruction, spec: string): string[] {
  const [, first, last, protocol = 'tcp'] =
    /^([0-9]{1,5})(?:-([0-9]{1,5}))?(?:\/(tcp|udp|sctp))?$/i.exec(spec) ?? []
  const from = Number(first)
  const to = Number(last ?? first)
  if (first === undefined || from > to || to > MAX_PORT)
    throw bad(it, `${JSON.stringify(spec)} is not a port`)
  return Array.from({ length: to - from + 1 }, (_, i) => `${String(from + i)}/${protocol.toLowerCase()}`)
}

function addVolumes(state: State, it: Instruction): ContainerConfig {
  const env = environment(state.config)
  const paths = (jsonForm(it) ?? splitWords(it.args)).map((word) => expandWord(word, env))
  if (paths.some((path) => path.trim() === '')) throw bad(it, 'a path is empty')
  const volumes = paths.map((path): [string, object] => [path, {}])
  return { ...state.config, Volumes: { ...state.config.Volumes, ...Object.fromEntries(volumes) } }
}
