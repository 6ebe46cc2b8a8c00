/** The built command as a process: exit statuses, privileges, signals, closed pipes, terminals. */
import { execFileSync, spawnSync } from 'node:child_process'
import {
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { once } from 'node:events'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { missing } from '../helpers/gates.ts'
import { loopFileSystem, type LoopFileSystem } from '../helpers/loopfs.ts'
import { COMMAND, finish, json, overlaid, start } from './support/command.ts'
import { bothImages, web } from './support/images.ts'

/** A user who may read everything and do nothing else. */
const READER = [
  'setpriv',
  '--reuid=65534',
  '--regid=65534',
  '--clear-groups',
  '--inh-caps=+dac_read_search',
].concat('--ambient-caps=+dac_read_search', '--bounding-set=-all,+dac_read_search', '--')

/** `command` under script(1), so that its streams are a terminal. */
const onTerminal = (command: string): { status: number | null; stdout: string } =>
  spawnSync('script', ['-qec', command, '/dev/null'], { encoding: 'utf8', input: '' })

const quoted = (...argv: string[]): string =>
  [process.execPath, COMMAND, ...argv].map((arg) => `'${arg}'`).join(' ')

/** The kernel functions that the threads of a process sleep in. */
function waitingIn(pid: number | undefined): string[] {
  const tasks = `/proc/${String(pid)}/task`
  return readdirSync(tasks).map((thread) => readFileSync(join(tasks, thread, 'wchan'), 'utf8'))
}

describe.skipIf(missing('canMount', 'hasBinding'))('the command', () => {
  let fs: LoopFileSystem
  let root: string
  let archive: string

  beforeAll(async () => {
    fs = loopFileSystem('tmpfs')
    root = join(fs.dir, 'root')
    archive = join(fs.dir, 'both.tar')
    writeFileSync(archive, bothImages)
    await json(root, 'load', '-i', archive)
    await json(root, 'create', '--name', 'one', 'web:1')
  })
  afterAll(() => fs.dispose())

  describe('exits', () => {
    it.each([
      [0, ['images']],
      [1, ['load', '-i', '/nonexistent/x.tar']],
      [2, ['frob']],
      [2, ['tag', 'web:1', 'Not A Reference']],
      [3, ['inspect', 'none:1']],
      [3, ['history', 'none:1']],
      [3, ['rmi', 'none:1']],
      [3, ['rm', 'none']],
      [3, ['mount', 'none']],
      [3, ['unmount', '/nonexistent']],
      [3, ['diff', 'none']],
      [3, ['create', 'none:1']],
      [3, ['save', 'none:1']],
      [4, ['create', '--name', 'one', 'web:1']],
      [4, ['rmi', 'web:1']],
      [6, ['load', '-i', COMMAND]],
    ])('%d for %j', async (status, argv) => {
      const plain = await overlaid(root, argv)
      expect([plain.status, plain.stderr]).toEqual([
        status,
        status === 0 ? '' : expect.stringMatching(/^overlaid: /),
      ])
      if (status === 0) return
      const { stdout, stderr } = await overlaid(root, ['--json', ...argv])
      const { error } = JSON.parse(stderr) as { error: Record<string, unknown> }
      expect(error).toMatchObject({
        code: expect.any(String) as string,
        message: expect.any(String) as string,
      })
      const keys = ['code', 'message', 'errno', 'syscall', 'path', 'dest', 'detail', 'hint']
      expect(Object.keys(error).filter((key) => !keys.includes(key))).toEqual([])
      expect(stdout === '' || argv[0] === 'rm').toBe(true)
    })

    it('6 for a store with damage, 0 for one with rubbish', async () => {
      const other = join(fs.dir, 'damaged')
      await json(other, 'load', '-i', archive)
      const [layer] = await json<{ cacheID: string }[]>(other, 'layers')
      const rubbish = 'a'.repeat(64)
      execFileSync('cp', [
        '-a',
        join(other, 'overlay2', layer?.cacheID ?? ''),
        join(other, 'overlay2', rubbish),
      ])
      const littered = await overlaid(other, ['check', '--json'])
      expect([littered.status, JSON.parse(littered.stdout)]).toMatchObject([0, { ok: true }])
      expect((JSON.parse(littered.stdout) as { problems: object[] }).problems).not.toEqual([])
      const { removed } = await json<{ removed: { path: string }[] }>(other, 'gc')
      expect(removed.map(({ path }) => path)).toContain(join(other, 'overlay2', rubbish))
      expect((await overlaid(other, ['check'])).stdout).toBe('clean\n')

      rmSync(join(other, 'overlay2', layer?.cacheID ?? ''), { recursive: true })
      const damaged = await overlaid(other, ['check', '--json'])
      expect([damaged.status, JSON.parse(damaged.stdout)]).toMatchObject([6, { ok: false }])
    })
  })

  describe('of a user who may read the root', () => {
    const read = (...argv: string[]) => overlaid(root, argv, { under: READER })

    it.each([
      ['images'],
      ['layers'],
      ['history', 'web:1'],
      ['inspect', 'web:1'],
      ['inspect', 'one'],
      ['ps'],
      ['df'],
    ])('reads: %s %s', async (...argv) => {
      const mine = await overlaid(root, ['--json', ...argv])
      const theirs = await read('--json', ...argv)
      expect(theirs).toMatchObject({ status: 0, stderr: '' })
      expect(JSON.parse(theirs.stdout)).toEqual(JSON.parse(mine.stdout))
    })

    it.each([
      ['mount', 'one'],
      ['create', 'web:1'],
      ['load', '-i', '@archive'],
      ['rm', 'one'],
      ['rmi', 'api:1'],
      ['tag', 'web:1', 'x:1'],
      ['gc'],
      ['commit', 'one'],
      // the kernel hides trusted xattrs from them, and a diff without them would be wrong
      ['diff', 'one'],
      ['diff', '--tar', 'one'],
      ['export', 'web:1'],
    ])('may not: %s %s', async (...argv) => {
      const { status, stderr } = await read(...argv.map((arg) => (arg === '@archive' ? archive : arg)))
      expect(status).toBe(5)
      expect(stderr).toMatch(/^overlaid: .* needs .*CAP_SYS_ADMIN.*\nhint: .*root/)
    })

    it('changes nothing by trying', async () => {
      expect(await json(root, 'check', '--deep')).toEqual({ ok: true, problems: [] })
      expect(await json<unknown[]>(root, 'ps')).toHaveLength(1)
    })
  })

  describe('beside a dockerd', () => {
    // dockerd keeps this database locked as long as it runs
    const dockerd = (): string[] => {
      mkdirSync(join(root, 'volumes'), { recursive: true })
      return ['flock', join(root, 'volumes/metadata.db')]
    }

    it('reads, with a warning', async () => {
      const { status, stdout, stderr } = await overlaid(root, ['images', '--json'], { under: dockerd() })
      expect([status, JSON.parse(stdout)]).toMatchObject([0, [{}, {}]])
      expect(JSON.parse(stderr)).toEqual({ warning: expect.stringContaining('dockerd') as string })
      expect((await overlaid(root, ['ps', '--quiet'], { under: dockerd() })).stderr).toBe('')
    })

    it.each([['tag', 'web:1', 'x:1'], ['create', 'web:1'], ['rmi', 'api:1'], ['gc']])(
      'does not write: %s',
      async (...argv) => {
        const { status, stdout, stderr } = await overlaid(root, ['--quiet', ...argv], { under: dockerd() })
        expect([status, stdout]).toEqual([4, ''])
        expect(stderr).toMatch(/^overlaid: a dockerd runs on .*\nhint: stop that dockerd/)
      },
    )
  })

  it('ends as SIGPIPE would end it when the reader of stdout goes away', async () => {
    const child = start(root, ['export', 'web:1'])
    child.stdout?.destroy()
    const { status, stderr } = await finish(child)
    expect([status, stderr]).toEqual([141, ''])
  })

  describe('on a signal', () => {
    it.each([
      ['SIGINT', 130],
      ['SIGTERM', 143],
      ['SIGHUP', 129],
    ] as const)('%s during a load leaves the store as it was', async (name, status) => {
      const other = join(fs.dir, `interrupted-${name}`)
      const child = start(other, ['load'])
      const ended = finish(child)
      child.stdin?.on('error', () => {})
      child.stdin?.write(bothImages.subarray(0, bothImages.length / 2))
      await vi.waitFor(() => expect(existsSync(join(other, 'overlaid/leases'))).toBe(true), 20_000)
      child.kill(name)
      const { stderr, ...rest } = await ended
      expect([rest.status, stderr]).toEqual([status, `overlaid: interrupted by ${name}\n`])
      expect(await json(other, 'check', '--deep')).toEqual({ ok: true, problems: [] })
      expect(await json(other, 'images')).toEqual([])
    })
  })

  it.each([['load'], ['import', 'a:1']])(
    'is not kept by a fifo that nobody writes to: %s',
    async (...argv) => {
      const fifo = join(fs.dir, `fifo-${argv[0] ?? ''}`)
      execFileSync('mkfifo', [fifo])
      const child = start(root, [...argv, '-i', fifo])
      const killed = once(child, 'exit')
      await vi.waitFor(() => expect(waitingIn(child.pid)).toContain('wait_for_partner'), 20_000)
      child.kill('SIGINT')
      const [status, signal] = (await killed) as [number | null, string | null]
      expect([130, 'SIGINT']).toContain(status ?? signal)
    },
  )

  describe('on a terminal', () => {
    it('refuses to read or write an archive', () => {
      for (const argv of [['save', 'web:1'], ['export', 'one'], ['diff', '--tar', 'one'], ['load']]) {
        expect(onTerminal(quoted('--root', root, ...argv))).toMatchObject({
          status: 2,
          stdout: expect.stringContaining('the terminal') as string,
        })
      }
    })

    it('shows bars while it loads, and gives the cursor back', () => {
      const other = join(fs.dir, 'bars')
      const { status, stdout } = onTerminal(quoted('--root', other, 'load', '-i', archive))
      expect(status).toBe(0)
      expect(stdout).toContain(web.layers[0]?.diffID.slice(7, 19))
      expect(stdout.lastIndexOf('\u001b[?25h')).toBeGreaterThan(stdout.lastIndexOf('\u001b[?25l'))
    })
  })

  it('needs nothing of the store to show its help', () => {
    const alone = join(fs.dir, 'alone')
    cpSync(join(COMMAND, '../../cli'), join(alone, 'dist/cli'), { recursive: true })
    rmSync(join(alone, 'dist/cli/store.cjs'))
    symlinkSync(join(COMMAND, '../../../package.json'), join(alone, 'package.json'))
    const help = (...argv: string[]) =>
      spawnSync(process.execPath, [join(alone, 'dist/cli/main.cjs'), ...argv])
    expect(help('--help')).toMatchObject({ status: 0 })
    expect(help('load', '--help')).toMatchObject({ status: 0 })
    expect(help('images')).toMatchObject({ status: 1 })
  })
})
