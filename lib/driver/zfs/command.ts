/** The command zfs: started by an argv of its own and never by a shell, with nothing of our environment. */
import { execFile } from 'node:child_process'
import pLimit from 'p-limit'
import { type ErrorCode, OverlaidError } from '../../errors.ts'
import { expectProgram } from '../../fs/find-program.ts'
import { PROGRAM } from './presence.ts'

/** How many run at once: each waits for the pool's next transaction group, and that takes them all along. */
const COMMANDS = 8
/** A list of a hundred thousand snapshots. */
const MAX_OUTPUT = 64 << 20

const turns = pLimit(COMMANDS)

/** Why it refused, by what it prints: its exit status does not tell. */
export type Reason = 'exists' | 'missing' | 'busy' | 'dependents' | 'forbidden' | 'absent' | 'full' | 'other'

/** In the locale C. The texts are of libzfs (lib/libzfs/libzfs_util.c) and cmd/zfs. */
const REASONS: readonly (readonly [pattern: RegExp, reason: Reason])[] = [
  [/dataset already exists/, 'exists'],
  [/dataset does not exist|parent does not exist|no such pool/, 'missing'],
  [/has dependent clones|has children|snapshot has dependent/, 'dependents'],
  [/(dataset|filesystem|device) is busy/, 'busy'],
  [/permission denied|must be run as root/i, 'forbidden'],
  [/\/dev\/zfs .* required|modules? (are|is) not loaded|cannot be auto-loaded/i, 'absent'],
  [/out of space|quota exceeded/, 'full'],
]

const FACTS: Readonly<Record<Reason, readonly [code: ErrorCode, hint: string]>> = {
  exists: ['ERR_ALREADY_EXISTS', 'zfs list -r shows what has the name'],
  missing: ['ERR_ZFS', 'zfs list shows what there is, zpool import the pools that are not imported'],
  busy: [
    'ERR_IN_USE',
    'it is mounted, maybe in another mount namespace, or a command is at it; try again later',
  ],
  dependents: ['ERR_IN_USE', 'layers on top of it are clones of it: they have to go first'],
  forbidden: ['ERR_NO_PRIVILEGE', 'run as root; in a container, give it the device: --device /dev/zfs'],
  absent: ['ERR_UNSUPPORTED_KERNEL', 'load the module: modprobe zfs'],
  full: ['ERR_ZFS', 'zfs list -o space shows what takes the room'],
  other: ['ERR_ZFS', 'try the command by hand; zpool status tells of the pool'],
}

export class ZfsError extends OverlaidError {
  readonly reason: Reason

  constructor(args: readonly string[], stderr: string, cause: unknown) {
    const reason = REASONS.find(([pattern]) => pattern.test(stderr))?.[1] ?? 'other'
    const [code, hint] = FACTS[reason]
    super(code, `${PROGRAM} ${args.join(' ')}: ${words(stderr)}`, { hint, cause })
    this.reason = reason
  }
}

export function hasReason(error: unknown, ...reasons: readonly Reason[]): boolean {
  return error instanceof ZfsError && reasons.includes(error.reason)
}

/** What it says, in one line; of a page on its usage nothing. */
function words(stderr: string): string {
  const [said = ''] = stderr.split('\nusage:')
  const lines = said.split('\n').filter((line) => line !== '')
  return lines.length === 0 ? 'it failed and says nothing' : lines.join('; ')
}

/**
 * Runs `zfs ARGS`; its stdout.
 * @throws ZfsError, whose code is ERR_ZFS or a closer one; ERR_NO_PROGRAM
 */
export function zfs(...args: readonly string[]): Promise<string> {
  return turns(() => execute(program(), args))
}

function execute(program: string, args: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    const options = { env: { LC_ALL: 'C' }, maxBuffer: MAX_OUTPUT }
    execFile(program, args, options, (error, stdout, stderr) => {
      if (error === null) resolve(stdout)
      else reject(new ZfsError(args, stderr === '' ? error.message : stderr, error))
    })
  })
}

function program(): string {
  const install = 'apt-get install zfsutils-linux, or zfs with dnf, apk or pacman'
  return expectProgram(PROGRAM, `the command ${PROGRAM}`, install)
}
