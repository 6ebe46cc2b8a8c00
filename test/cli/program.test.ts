import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { Interrupt } from '../../lib/cli/interrupt.ts'
import { VERBS } from '../../lib/cli/verbs.ts'
import { OverlaidError, SyscallError } from '../../lib/errors.ts'
import { run } from './support/host.ts'

const noImages = { images: { list: async () => [] } }

/** A store whose every use of images fails with `error`, which may be no Error at all. */
function failing(error: unknown): object {
  const list = (): never => {
    throw error
  }
  return { images: { list } }
}

describe('help', () => {
  it('lists every verb without opening a store', async () => {
    const { status, stdout, stderr, opened } = await run(['--help'])
    expect(status).toBe(0)
    for (const { name, summary } of VERBS)
      expect(stdout).toMatch(new RegExp(`^  ${name} +${summary.slice(0, 20)}`, 'm'))
    expect([stderr, opened]).toEqual(['', []])
  })

  it.each(VERBS.map(({ name }) => name))('of %s has the usage and examples that parse', async (name) => {
    const { status, stdout, opened } = await run([name, '--help'])
    expect(status).toBe(0)
    expect(stdout).toContain(`Usage: overlaid ${name} `)
    expect(stdout).toContain('--root <dir>')
    expect(stdout.split('Examples:')[1]).toMatch(new RegExp(`^  \\$ overlaid .*\\b${name}\\b`, 'm'))
    expect(opened).toEqual([])
    expect((await run(['help', name])).stdout).toBe(stdout)
  })

  it('keeps to the verbs of the contract', () => {
    const verbs =
      'info load migrate save import export images layers inspect history tag rmi create ps mount unmount diff'
    const expected = `${verbs} commit rm df gc check probe pull push login logout`.split(' ')
    expect(VERBS.map(({ name }) => name).sort()).toEqual(expected.sort())
  })

  it('shows nothing new for help --help and a wrong verb', async () => {
    expect((await run(['help'])).stdout).toContain('Containers:')
    expect((await run(['help', 'frob'])).status).toBe(2)
  })
})

describe('--version', () => {
  it("prints the package's", async () => {
    const { version } = JSON.parse(readFileSync('package.json', 'utf8')) as { version: string }
    expect(await run(['--version'])).toMatchObject({ status: 0, stdout: `${version}\n`, stderr: '' })
  })
})

describe('wrong usage', () => {
  it('without a verb prints the help on stderr and exits 2', async () => {
    const { status, stdout, stderr } = await run([])
    expect([status, stdout]).toEqual([2, ''])
    expect(stderr).toContain('Usage: overlaid')
  })

  it.each([
    [['frob'], "unknown command 'frob'"],
    [['images', '--frob'], "unknown option '--frob'"],
    [['images', 'x'], 'too many arguments'],
    [['save'], "missing required argument 'ref'"],
    [['load', '-i'], 'argument missing'],
    [['save', '--format', 'zip', 'a'], 'Allowed choices are docker, oci'],
    [['save', '--compression', 'zstd', 'a'], '--compression is for --format oci'],
    [['save', '--level', '3', 'a'], 'are for --compression'],
    [['save', '--format', 'oci', '--compression', 'gzip', '--level', 'x', 'a'], "--level is 'x'"],
    [['--durability', 'some', 'images'], 'Allowed choices are full, none'],
    [['diff', '-o', 'f', 'c'], '-o is for --tar'],
    [['--root', '', 'images'], '--root is empty'],
    [[], 'a verb is missing'],
  ])('%j exits 2, with --json as one object', async (argv, complaint) => {
    const plain = await run(argv)
    expect(plain).toMatchObject({ status: 2, stdout: '', opened: [] })
    const json = await run(['--json', ...argv])
    expect(json).toMatchObject({ status: 2, stdout: '' })
    const { error } = JSON.parse(json.stderr) as { error: { code: string; message: string } }
    expect(error.code).toBe('ERR_INVALID_ARGUMENT')
    expect(error.message).toContain(complaint)
    if (argv.length > 0) expect(plain.stderr).toContain(`overlaid: ${error.message}\n`)
  })

  it('suggests what may have been meant', async () => {
    expect((await run(['sav'])).stderr).toBe("overlaid: unknown command 'sav'\nhint: Did you mean save?\n")
  })
})

describe('global options', () => {
  it('stand before or after the verb', async () => {
    const options = ['--root', '/r', '--driver', 'vfs', '--durability', 'none', '--json']
    for (const argv of [
      [...options, 'images'],
      ['images', ...options],
    ]) {
      const { opened, stdout } = await run(argv, { store: noImages })
      expect(opened).toMatchObject([
        { root: '/r', options: { driver: 'vfs', durability: 'none', readOnly: true } },
      ])
      expect(stdout).toBe('[]\n')
    }
  })

  it('have defaults in the environment, which they override', async () => {
    const env = {
      OVERLAID_ROOT: '/e',
      OVERLAID_DRIVER: 'btrfs',
      OVERLAID_DRIVER_ORDER: '19.03',
      OVERLAID_DURABILITY: 'none',
    }
    const fromEnv = await run(['images'], { store: noImages, env })
    const theirs = { driver: 'btrfs', driverOrder: '19.03' }
    expect(fromEnv.opened).toMatchObject([{ root: '/e', options: { ...theirs, durability: 'none' } }])
    const argv = ['images', '--root', '/r', '--driver-order', '20.10', '--durability', 'full']
    const given = await run(argv, { store: noImages, env })
    const mine = { driver: 'btrfs', driverOrder: '20.10', durability: 'full' }
    expect(given.opened).toMatchObject([{ root: '/r', options: mine }])
  })

  it('default to /var/lib/overlaid, full durability and no named driver; empty variables are none', async () => {
    const names = ['ROOT', 'DRIVER', 'DRIVER_ORDER', 'DURABILITY']
    const env = Object.fromEntries(names.map((name) => [`OVERLAID_${name}`, '']))
    const [opening] = (await run(['images'], { store: noImages, env })).opened
    expect(opening).toMatchObject({ root: '/var/lib/overlaid', options: { durability: 'full' } })
    expect(opening?.options).not.toHaveProperty('driver')
    expect(opening?.options).not.toHaveProperty('driverOrder')
  })

  it('makes a relative root absolute', async () => {
    const { opened } = await run(['images', '--root', 'here'], { store: noImages })
    expect(opened[0]?.root).toBe(`${process.cwd()}/here`)
  })

  it('refuses a wrong mode in the environment', async () => {
    const result = await run(['images'], { env: { OVERLAID_DURABILITY: 'some' } })
    expect(result).toMatchObject({ status: 2, opened: [] })
    expect(result.stderr).toContain("OVERLAID_DURABILITY is 'some'")
  })

  it('are arguments after --', async () => {
    expect(await run(['images', '--', '--json'])).toMatchObject({ status: 2 })
    const { stdout } = await run(['rm', '--', '--json'], {
      store: { containers: { get: async (id: string) => ({ id, remove: async () => {} }) } },
    })
    expect(stdout).toBe('--json\n')
  })
})

describe('a failure', () => {
  const busy = new SyscallError("EBUSY: resource busy, mount 'a' -> 'b'", {
    code: 'EBUSY',
    errno: -16,
    syscall: 'mount',
    path: 'a',
    dest: 'b',
    flags: ['MS_RDONLY', 'MS_NODEV'],
    detail: ['overlayfs: upperdir is in-use'],
    hint: 'unmount it first',
    cause: new Error('below'),
  })

  it('is words on stderr: message, detail and hint', async () => {
    const { status, stdout, stderr, closed } = await run(['images'], { store: failing(busy) })
    expect([status, stdout, closed]).toEqual([1, '', true])
    expect(stderr).toBe(
      "overlaid: EBUSY: resource busy, mount 'a' -> 'b'\n  overlayfs: upperdir is in-use\nhint: unmount it first\n",
    )
  })

  it('is one object with --json', async () => {
    const { stderr, stdout } = await run(['images', '--json'], { store: failing(busy) })
    expect(stdout).toBe('')
    expect(JSON.parse(stderr)).toEqual({
      error: {
        code: 'EBUSY',
        message: busy.message,
        errno: -16,
        syscall: 'mount',
        path: 'a',
        dest: 'b',
        detail: busy.detail,
        hint: busy.hint,
      },
    })
  })

  it('shows the call and the stacks with --debug', async () => {
    const { stderr } = await run(['images', '--debug'], { store: failing(busy) })
    expect(stderr).toContain('  code: EBUSY\n  errno: -16\n  syscall: mount\n  flags: MS_RDONLY|MS_NODEV\n')
    expect(stderr).toMatch(/program\.test\.ts.*\n(.*\n)*caused by Error: below\n/)
    const json = await run(['images', '--debug', '--json'], { store: failing(busy) })
    expect(JSON.parse(json.stderr)).toMatchObject({
      error: { stack: expect.stringContaining('below') as string },
    })
  })

  it.each([
    ['ERR_IMAGE_NOT_FOUND', 3],
    ['ERR_IN_USE', 4],
    ['ERR_STORE_LOCKED', 4],
    ['ERR_UNSUPPORTED_FS', 5],
    ['ERR_DIGEST_MISMATCH', 6],
  ] as const)('with %s exits %d', async (code, status) => {
    expect((await run(['images'], { store: failing(new OverlaidError(code, 'x')) })).status).toBe(status)
  })

  it('of the opening is reported too', async () => {
    const refused = new OverlaidError('ERR_STORE_VERSION', 'newer')
    const result = await run(['images'], { openStore: async () => Promise.reject(refused) })
    expect(result).toMatchObject({ status: 5, stderr: 'overlaid: newer\n' })
  })

  it('that is a bug shows where it came from', async () => {
    const { status, stderr } = await run(['images'], { store: {} })
    expect(status).toBe(1)
    expect(stderr).toMatch(/^overlaid: Cannot read prop.*\nTypeError.*\n +at /)
    const json = await run(['--json', 'images'], { store: failing('a string') })
    expect(JSON.parse(json.stderr)).toEqual({ error: { code: 'ERR_INTERNAL', message: 'a string' } })
  })

  it('does not drive the terminal', async () => {
    const error = new OverlaidError('ERR_BAD_TAR', 'bad name \u001b[2J', { hint: 'a\nb' })
    expect((await run(['images'], { store: failing(error) })).stderr).toBe(
      'overlaid: bad name \\e[2J\nhint: a\\nb\n',
    )
  })

  it('is coloured on a terminal unless NO_COLOR is set', async () => {
    const store = failing(new OverlaidError('ERR_IN_USE', 'x'))
    const terminal = ['stderr'] as const
    expect((await run(['images'], { store, terminal })).stderr).toBe('\u001b[31moverlaid:\u001b[39m x\n')
    for (const env of [{ NO_COLOR: '1' }, { TERM: 'dumb' }]) {
      expect((await run(['images'], { store, terminal, env })).stderr).toBe('overlaid: x\n')
    }
    const empty = await run(['images'], { store, terminal, env: { NO_COLOR: '' } })
    expect(empty.stderr).toContain('\u001b[')
  })
})

describe('a warning of the store', () => {
  const openStore = async (_root: string, { onWarning }: { onWarning?: (message: string) => void }) => {
    onWarning?.('dockerd is running')
    return Promise.reject(new OverlaidError('ERR_IN_USE', 'x'))
  }

  it('goes to stderr, with --json as an object, with --quiet not at all', async () => {
    const stderr = async (...argv: string[]): Promise<string> =>
      (await run([...argv, 'ps'], { openStore })).stderr
    expect(await stderr()).toBe('warning: dockerd is running\noverlaid: x\n')
    expect((await stderr('--json')).split('\n')[0]).toBe('{"warning":"dockerd is running"}')
    expect(await stderr('--quiet')).toBe('overlaid: x\n')
  })
})

describe('a signal', () => {
  it.each([
    ['SIGINT', 130],
    ['SIGTERM', 143],
    ['SIGHUP', 129],
  ] as const)('%s ends the verb, closes the store and exits %d', async (name, status) => {
    const controller = new AbortController()
    const list = async (): Promise<never> => {
      controller.abort(new Interrupt(name))
      return Promise.reject(new Error('EBADF, as what was cut off may say'))
    }
    const result = await run(['images'], { store: { images: { list } }, signal: controller.signal })
    expect(result).toMatchObject({ status, closed: true, stderr: `overlaid: interrupted by ${name}\n` })
    expect(result.opened[0]?.options.signal).toBe(controller.signal)
  })

  it('that comes when the work is done still shows in the exit status', async () => {
    const controller = new AbortController()
    const list = async (): Promise<unknown[]> => {
      controller.abort(new Interrupt('SIGINT'))
      return []
    }
    expect((await run(['images'], { store: { images: { list } }, signal: controller.signal })).status).toBe(
      130,
    )
  })

  it('is an object with --json', async () => {
    const controller = new AbortController()
    controller.abort(new Interrupt('SIGTERM'))
    const { stderr } = await run(['--json', 'images'], { store: noImages, signal: controller.signal })
    expect(JSON.parse(stderr)).toEqual({ error: { code: 'ABORT_ERR', message: 'interrupted by SIGTERM' } })
  })
})
