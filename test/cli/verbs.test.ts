import { describe, expect, it, vi } from 'vitest'
import { OverlaidError } from '../../lib/errors.ts'
import { chunks, digest, run } from './support/host.ts'

const notFound = async (): Promise<never> =>
  Promise.reject(new OverlaidError('ERR_CONTAINER_NOT_FOUND', 'none'))

describe('images', () => {
  const summaries = [
    {
      id: digest('a'),
      names: ['alpine:3.20', 'localhost:5000/base:1'],
      created: '2026-11-06T12:00:00Z',
      size: 7_380_000,
      layers: [digest('1')],
    },
    { id: digest('b'), names: [], size: 0, layers: [] },
  ]
  const store = { images: { list: async () => summaries } }

  it('prints a line a name, in docker’s columns', async () => {
    const { stdout, closed } = await run(['images'], { store })
    expect(stdout).toBe(
      [
        'REPOSITORY            TAG      IMAGE ID       CREATED       SIZE',
        'alpine                3.20     aaaaaaaaaaaa   2 weeks ago   7.38MB',
        'localhost:5000/base   1        aaaaaaaaaaaa   2 weeks ago   7.38MB',
        '<none>                <none>   bbbbbbbbbbbb   N/A           0B',
        '',
      ].join('\n'),
    )
    expect(closed).toBe(true)
  })

  it('with --json is an array of exactly the contract’s keys', async () => {
    const { stdout } = await run(['images', '--json'], { store })
    expect(JSON.parse(stdout)).toEqual([summaries[0], { ...summaries[1], created: null }])
    expect(stdout.split('\n')).toHaveLength(2)
  })

  it('prints only the head for an empty store', async () => {
    const { stdout } = await run(['images'], { store: { images: { list: async () => [] } } })
    expect(stdout).toBe('REPOSITORY   TAG   IMAGE ID   CREATED   SIZE\n')
  })
})

describe('layers', () => {
  const base = { chainID: digest('1'), diffID: digest('2'), cacheID: 'c'.repeat(64), size: 12_345 }
  const list = async (): Promise<object[]> => [
    { ...base, images: 2, children: 1, containers: 0, driverDetail: 'not in the contract' },
    { ...base, parent: digest('1'), images: 0, children: 0, containers: 3 },
  ]

  it('prints ids, size and counts', async () => {
    const { stdout } = await run(['layers'], { store: { layers: { list } } })
    const [head, ...rows] = stdout
      .trimEnd()
      .split('\n')
      .map((line) => line.split(/ {3,}/))
    expect(head).toEqual([
      'CHAIN ID',
      'DIFF ID',
      'PARENT',
      'CACHE ID',
      'SIZE',
      'IMAGES',
      'CHILDREN',
      'CONTAINERS',
    ])
    expect(rows[1]).toEqual([
      '1'.repeat(12),
      '2'.repeat(12),
      '1'.repeat(12),
      'c'.repeat(12),
      '12.3kB',
      '0',
      '0',
      '3',
    ])
  })

  it('with --json has exactly the contract’s keys', async () => {
    const { stdout } = await run(['--json', 'layers'], { store: { layers: { list } } })
    expect(JSON.parse(stdout)).toEqual([
      { ...base, parent: null, images: 2, children: 1, containers: 0 },
      { ...base, parent: digest('1'), images: 0, children: 0, containers: 3 },
    ])
  })
})

describe('history', () => {
  const long = `/bin/sh -c apt-get update &&\n\tapt-get install -y nginx-light python3-minimal`
  const history = vi.fn(async (_ref: string) => [
    { created: '2026-11-20T11:59:00Z', createdBy: long, comment: 'c', size: 1000, empty: false },
    { created: '', createdBy: 'CMD ["sh"]', comment: '', size: 0, empty: true },
  ])

  it('prints a line a step, cut to docker’s width', async () => {
    const { stdout } = await run(['history', 'a:1'], { store: { images: { history } } })
    expect(stdout.split('\n').slice(1, 3)).toEqual([
      'About a minute ago   /bin/sh -c apt-get update && apt-get install…   1kB    c',
      'N/A                  CMD ["sh"]                                      0B',
    ])
    expect(history).toHaveBeenCalledWith('a:1')
  })

  it('with --json has the whole command', async () => {
    const { stdout } = await run(['history', 'a:1', '--json'], { store: { images: { history } } })
    expect(JSON.parse(stdout)).toEqual([
      { created: '2026-11-20T11:59:00Z', createdBy: long, size: 1000, empty: false, comment: 'c' },
      { created: null, createdBy: 'CMD ["sh"]', size: 0, empty: true, comment: '' },
    ])
  })
})

describe('ps', () => {
  const base = { id: 'd'.repeat(64), name: 'web', image: 'nginx:1', size: 5 }
  const list = async (): Promise<object[]> => [
    { ...base, mounted: true, path: '/mnt/w\u001bb', owner: 'overlaid' },
    { ...base, image: digest('e'), mounted: true, owner: 'docker' },
    { ...base, mounted: false, owner: 'overlaid', quota: { used: 1, limit: 2 } },
    { ...base, mounted: true, path: '/m', dead: true, owner: 'overlaid' },
  ]

  it('prints where each is mounted', async () => {
    const { stdout } = await run(['ps'], { store: { containers: { list } } })
    expect(stdout.split('\n').slice(0, 5)).toEqual([
      'CONTAINER ID   NAME   IMAGE          MOUNTED           SIZE',
      'dddddddddddd   web    nginx:1        /mnt/w\\eb         5B',
      'dddddddddddd   web    eeeeeeeeeeee   elsewhere         5B',
      'dddddddddddd   web    nginx:1                          5B',
      'dddddddddddd   web    nginx:1        /m (dead mount)   5B',
    ])
  })

  it('with --json has exactly the contract’s keys', async () => {
    const { stdout } = await run(['--json', 'ps'], { store: { containers: { list } } })
    expect((JSON.parse(stdout) as object[]).slice(1)).toEqual([
      { ...base, image: digest('e'), mounted: true, path: null, dead: false, quota: null },
      { ...base, mounted: false, path: null, dead: false, quota: { used: 1, limit: 2 } },
      { ...base, mounted: true, path: '/m', dead: true, quota: null },
    ])
  })
})

describe('migrate', () => {
  const report = {
    images: [
      { id: digest('a'), was: digest('a'), names: ['alpine:3.20'] },
      { id: digest('b'), was: digest('c'), names: [] },
    ],
    layers: { total: 2, added: 2, shared: 0 },
  }

  it('says which images came over, and which have another id now', async () => {
    const migrate = vi.fn(async (_root: string, _options: object) => report)
    const argv = ['migrate', '--from', 'aufs', '/old']
    const { stdout, opened } = await run(argv, { store: { images: { migrate } } })
    expect(stdout).toBe(
      `Migrated image: alpine:3.20\nMigrated image ID: ${digest('b')} (was ${digest('c')})\n` +
        '2 layers: 2 added, 0 shared\n',
    )
    expect(migrate).toHaveBeenCalledWith('/old', { from: 'aufs', signal: opened[0]?.options.signal })
  })

  it('leaves the driver to the store when none is named', async () => {
    const migrate = vi.fn(async (_root: string, _options: object) => report)
    const { opened } = await run(['migrate', '/old'], { store: { images: { migrate } } })
    expect(migrate).toHaveBeenCalledWith('/old', { signal: opened[0]?.options.signal })
  })
})

describe('load', () => {
  const report = {
    images: [
      { id: digest('a'), names: ['alpine:3.20', 'alpine:latest'] },
      { id: digest('b'), names: [] },
    ],
    layers: { total: 4, added: 3, shared: 1 },
  }

  it('loads the path it is given and says what came of it', async () => {
    const loadAll = vi.fn(async (_from: unknown, _options: object) => report)
    const { stdout, opened, stderr } = await run(['load', '-i', 'x.tar'], { store: { images: { loadAll } } })
    expect(stdout).toBe(
      `Loaded image: alpine:3.20\nLoaded image: alpine:latest\nLoaded image ID: ${digest('b')}\n` +
        '4 layers: 3 added, 1 shared\n',
    )
    expect(loadAll).toHaveBeenCalledWith('x.tar', { signal: opened[0]?.options.signal })
    expect([opened[0]?.options.readOnly, stderr]).toEqual([false, ''])
  })

  it('reads stdin without -i', async () => {
    const loadAll = async (from: AsyncIterable<Buffer>): Promise<object> => {
      const parts: Buffer[] = []
      for await (const part of from) parts.push(part)
      expect(Buffer.concat(parts).toString()).toBe('archive')
      return report
    }
    const { Readable } = await import('node:stream')
    const stdin = Readable.from([Buffer.from('arch'), Buffer.from('ive')], { objectMode: false })
    const { stdout } = await run(['load', '--json'], { store: { images: { loadAll } }, stdin })
    expect(JSON.parse(stdout)).toEqual(report)
  })

  it('refuses a terminal as stdin before anything is opened', async () => {
    const result = await run(['load'], { terminal: ['stdin'] })
    expect(result).toMatchObject({ status: 2, opened: [] })
    expect(result.stderr).toContain('hint: name a file with -i')
  })
})

describe('import', () => {
  it('names the image and prints its id', async () => {
    const image = { id: digest('a'), names: ['flat:latest'], config: {}, chainIDs: [] }
    const taken = vi.fn(async (tar: AsyncIterable<Buffer>, _ref: string) => {
      for await (const _ of tar);
      return image
    })
    const store = { images: { import: taken } }
    expect((await run(['import', 'flat:latest'], { store })).stdout).toBe(`${digest('a')}\n`)
    const { stdout } = await run(['import', '-i', 'package.json', 'flat:latest', '--json'], { store })
    expect(JSON.parse(stdout)).toEqual({ id: digest('a'), names: ['flat:latest'] })
    expect(taken.mock.calls.map((call) => call[1])).toEqual(['flat:latest', 'flat:latest'])
  })
})

describe('tag', () => {
  it('says nothing', async () => {
    const tag = vi.fn(async () => {})
    const { status, stdout, opened } = await run(['tag', 'a:1', 'b:2', '--json'], {
      store: { images: { tag } },
    })
    expect([status, stdout, opened[0]?.options.readOnly]).toEqual([0, '', false])
    expect(tag).toHaveBeenCalledWith('a:1', 'b:2')
  })
})

describe('rmi', () => {
  it('prints what lost its name and what is gone', async () => {
    const remove = vi.fn(async () => ({ untagged: ['a:1'], deleted: [digest('a')] }))
    const store = { images: { remove } }
    expect((await run(['rmi', 'a:1', 'b:2'], { store })).stdout).toBe(
      `Untagged: a:1\nDeleted: ${digest('a')}\n`,
    )
    expect(remove).toHaveBeenLastCalledWith(['a:1', 'b:2'], { force: false })
    const { stdout } = await run(['rmi', '-f', 'a:1', '--json'], { store })
    expect(JSON.parse(stdout)).toEqual({ untagged: ['a:1'], deleted: [digest('a')] })
    expect(remove).toHaveBeenLastCalledWith(['a:1'], { force: true })
  })
})

describe('create', () => {
  it('prints the id', async () => {
    const create = vi.fn(async (_image: string, _options: object) => ({ id: 'd'.repeat(64), name: 'web' }))
    const store = { containers: { create } }
    expect((await run(['create', '--name', 'web', 'a:1'], { store })).stdout).toBe(`${'d'.repeat(64)}\n`)
    expect(create.mock.lastCall).toMatchObject(['a:1', { name: 'web' }])
    const { stdout } = await run(['create', 'a:1', '--json'], { store })
    expect(JSON.parse(stdout)).toEqual({ id: 'd'.repeat(64), name: 'web' })
    expect(create.mock.lastCall?.[1]).not.toHaveProperty('name')
    expect(create.mock.lastCall?.[1]).not.toHaveProperty('idMap')
  })

  it('takes docker’s option for the size, and podman’s for ids', async () => {
    const create = vi.fn(async (_image: string, _options: object) => ({ id: 'd'.repeat(64), name: 'web' }))
    const store = { containers: { create } }
    const options = ['--storage-opt', 'size=64M', '--uidmap', '0:100000:5', '--uidmap', '5:200000:1']
    await run(['create', ...options, 'a:1'], { store })
    const uid = [
      { container: 0, host: 100_000, size: 5 },
      { container: 5, host: 200_000, size: 1 },
    ]
    const idMap = { uid, gid: uid }
    expect(create.mock.lastCall?.[1]).toMatchObject({ storageOptions: { size: '64M' }, idMap })
    await run(['create', '--uidmap', '0:1:1', '--gidmap', '0:2:1', 'a:1'], { store })
    const gid = [{ container: 0, host: 2, size: 1 }]
    expect(create.mock.lastCall?.[1]).toMatchObject({ idMap: { gid } })
  })

  it.each([
    ['--storage-opt', 'inodes=5', 'it is size=SIZE'],
    ['--storage-opt', '64M', 'it is size=SIZE'],
    ['--uidmap', '0:100000', 'CONTAINER:HOST:SIZE'],
    ['--gidmap', '0:100000:5', '--uidmap'],
  ])('%s %s is wrong usage, with the right one', async (option, value, hint) => {
    const { status, stderr } = await run(['create', option, value, 'a:1'])
    expect(status).toBe(2)
    expect(stderr).toContain(hint)
  })
})

describe('mount', () => {
  const unmount = async (): Promise<never> => Promise.reject(new Error('the mount must stay'))
  const mounted = (path: string): object => ({ path, unmount, [Symbol.asyncDispose]: unmount })

  it('mounts a container for whoever unmounts it, and prints the path', async () => {
    const mount = vi.fn(async () => mounted('/root/merged'))
    const get = vi.fn(async () => ({ id: 'd'.repeat(64), mount }))
    const store = { containers: { get } }
    expect(await run(['mount', 'web'], { store })).toMatchObject({ status: 0, stdout: '/root/merged\n' })
    expect([get.mock.lastCall, mount.mock.lastCall]).toEqual([['web'], [{ persist: true }]])
    const { stdout } = await run(['mount', '--target', '/mnt', 'web', '--json'], { store })
    expect(JSON.parse(stdout)).toEqual({ id: 'd'.repeat(64), path: '/root/merged' })
    expect(mount).toHaveBeenLastCalledWith({ persist: true, target: '/mnt' })
  })

  it('makes a relative target absolute', async () => {
    const mount = vi.fn(async () => mounted('/x'))
    await run(['mount', '--target', 'here', 'web'], {
      store: { containers: { get: async () => ({ id: '', mount }) } },
    })
    expect(mount).toHaveBeenLastCalledWith({ persist: true, target: `${process.cwd()}/here` })
  })

  it('with --read-only mounts an image', async () => {
    const mount = vi.fn(async () => mounted('/x'))
    const images = { get: async () => ({ id: digest('a') }), mount }
    const { stdout } = await run(['mount', '--read-only', 'a:1', '--json'], { store: { images } })
    expect(JSON.parse(stdout)).toEqual({ id: digest('a'), path: '/x' })
    expect(mount).toHaveBeenCalledWith('a:1', { persist: true })
  })
})

describe('unmount', () => {
  it.each([
    ['web', 'web'],
    ['docker.io/library/alpine:3.20', 'docker.io/library/alpine:3.20'],
    ['/mnt/../mnt/x', '/mnt/x'],
    ['./here', `${process.cwd()}/here`],
    ['.', process.cwd()],
  ])('takes %s as %s', async (what, taken) => {
    const unmount = vi.fn(async () => {})
    expect(await run(['unmount', what], { store: { unmount } })).toMatchObject({ status: 0, stdout: '' })
    expect(unmount).toHaveBeenCalledWith(taken, { force: false })
  })

  it('passes --force on', async () => {
    const unmount = vi.fn(async () => {})
    await run(['unmount', '-f', 'web'], { store: { unmount } })
    expect(unmount).toHaveBeenCalledWith('web', { force: true })
  })
})

describe('diff', () => {
  const odd = Buffer.from([0x2f, 0xff, 0x0a])
  const container = {
    async *changes() {
      yield { kind: 'C', path: Buffer.from('/etc') }
      yield { kind: 'A', path: Buffer.from('/etc/grün') }
      yield { kind: 'D', path: odd }
    },
    diff: () => chunks('a tar'),
  }
  const store = { containers: { get: async () => container } }

  it('prints the bytes of each path when stdout is no terminal', async () => {
    const { bytes } = await run(['diff', 'web'], { store })
    expect(bytes).toEqual(Buffer.concat([Buffer.from('C /etc\nA /etc/grün\nD '), odd, Buffer.from('\n')]))
  })

  it('spells out what would drive the terminal', async () => {
    const { stdout } = await run(['diff', 'web'], { store, terminal: ['stdout'], env: { NO_COLOR: '1' } })
    expect(stdout).toBe('C /etc\nA /etc/grün\nD /\\xff\\n\n')
  })

  it('colours the kinds', async () => {
    const { stdout } = await run(['diff', 'web'], { store, terminal: ['stdout'] })
    expect(stdout).toContain('\u001b[32mA\u001b[39m /etc/grün\n')
  })

  it('with --json prints an object a line, with the bytes of what is not UTF-8', async () => {
    const { stdout } = await run(['diff', 'web', '--json'], { store })
    expect(
      stdout
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line) as object),
    ).toEqual([
      { kind: 'C', path: '/etc' },
      { kind: 'A', path: '/etc/grün' },
      { kind: 'D', path: '/\ufffd\n', pathBytes: odd.toString('base64') },
    ])
  })

  it('--tar writes the layer, but not to a terminal', async () => {
    expect((await run(['diff', '--tar', 'web'], { store })).stdout).toBe('a tar')
    expect(await run(['diff', '--tar', 'web'], { store, terminal: ['stdout'] })).toMatchObject({
      status: 2,
      opened: [],
    })
  })
})

describe('commit', () => {
  const commit = vi.fn(async (_ref: string | undefined, _options: object) => ({
    id: digest('a'),
    names: ['web:2'],
    configBytes: Buffer.from('{}'),
  }))
  const store = { containers: { get: async () => ({ commit }) } }

  it('passes message, author and each change in order, and prints the id', async () => {
    const changes = ['CMD ["curl", "--json"]', 'ENV A=b']
    const argv = [
      'commit',
      '-m',
      'a message',
      '-a',
      'me',
      ...changes.flatMap((each) => ['-c', each]),
      'web',
      'web:2',
    ]
    expect((await run(argv, { store })).stdout).toBe(`${digest('a')}\n`)
    expect(commit.mock.lastCall).toMatchObject(['web:2', { message: 'a message', author: 'me', changes }])
  })

  it('needs no name', async () => {
    const { stdout } = await run(['commit', 'web', '--json'], { store })
    expect(JSON.parse(stdout)).toEqual({ id: digest('a'), names: ['web:2'] })
    const [ref, options] = commit.mock.lastCall ?? []
    expect([ref, Object.keys(options ?? {})]).toEqual([undefined, ['signal']])
  })
})

describe('rm', () => {
  const container = (id: string): object => ({ id, remove: async () => {} })
  const busy = { id: 'busy', remove: async () => Promise.reject(new OverlaidError('ERR_IN_USE', 'mounted')) }
  const get = async (name: string): Promise<object> =>
    name === 'busy' ? busy : name === 'none' ? notFound() : container(name)
  const store = { containers: { get } }

  it('prints what it removed', async () => {
    expect((await run(['rm', 'a', 'b'], { store })).stdout).toBe('a\nb\n')
    expect(JSON.parse((await run(['rm', 'a', '--json'], { store })).stdout)).toEqual({ deleted: ['a'] })
  })

  it('goes on past one that it can’t remove, and exits with the status of the first', async () => {
    const { status, stdout, stderr } = await run(['rm', 'busy', 'none', 'b'], { store })
    expect([status, stdout, stderr]).toEqual([4, 'b\n', 'overlaid: mounted\noverlaid: none\n'])
    const json = await run(['--json', 'rm', 'none', 'busy', 'b'], { store })
    expect([json.status, json.stdout]).toEqual([3, '{"deleted":["b"]}\n'])
    expect(JSON.parse(json.stderr)).toEqual({
      error: { code: 'ERR_CONTAINER_NOT_FOUND', message: 'none', detail: ['mounted'] },
    })
  })
})

describe('df', () => {
  const usage = {
    total: 9000,
    reclaimable: 700,
    layers: { count: 4, bytes: 8000, shared: 3000, reclaimable: 500 },
    containers: { count: 1, bytes: 1000, reclaimable: 200 },
    images: [
      { id: digest('a'), names: ['a:1', 'a:2'], bytes: 5000, shared: 3000, unique: 2000, containers: 1 },
      { id: digest('b'), names: [], bytes: 3000, shared: 3000, unique: 0, containers: 0 },
    ],
    perLayer: [{ chainID: digest('1'), bytes: 3000, images: 2 }],
    perContainer: [{ id: 'd'.repeat(64), name: 'web', bytes: 1000 }],
  }
  const store = { df: async () => usage }

  it('prints images and totals', async () => {
    expect((await run(['df'], { store })).stdout).toBe(
      [
        'IMAGE      IMAGE ID       SIZE   SHARED   UNIQUE   CONTAINERS',
        'a:1, a:2   aaaaaaaaaaaa   5kB    3kB      2kB      1',
        '<none>     bbbbbbbbbbbb   3kB    3kB      0B       0',
        '',
        'TYPE         COUNT   SIZE   RECLAIMABLE',
        'Layers       4       8kB    500B',
        'Containers   1       1kB    200B',
        'Total                9kB    700B',
        '',
      ].join('\n'),
    )
  })

  it('-v goes down to layers and containers', async () => {
    const { stdout } = await run(['df', '-v'], { store })
    expect(stdout.split('\n').slice(9)).toEqual(
      [
        'CHAIN ID       SIZE   IMAGES',
        '111111111111   3kB    2',
        '',
        'CONTAINER ID   NAME   SIZE',
        'dddddddddddd   web    1kB',
        '',
      ].slice(-6),
    )
  })

  it('with --json is the store’s own account', async () => {
    expect(JSON.parse((await run(['df', '--json'], { store })).stdout)).toEqual(usage)
  })
})

describe('gc', () => {
  const report = { removed: [{ kind: 'orphan', path: '/r/overlay2/x', bytes: 1500, extra: 1 }], bytes: 1500 }

  it('prints what it removed', async () => {
    const gc = vi.fn(async (_options: object) => report)
    const { stdout, opened } = await run(['gc'], { store: { gc } })
    expect(stdout).toBe('orphan: /r/overlay2/x (1.5kB)\nTotal reclaimed space: 1.5kB\n')
    expect([gc.mock.lastCall, opened[0]?.options.readOnly]).toMatchObject([[{ dryRun: false }], false])
  })

  it('--dry-run opens the store for reading only', async () => {
    const gc = vi.fn(async (_options: object) => report)
    const { stdout, opened } = await run(['gc', '--dry-run', '--json'], { store: { gc } })
    expect(JSON.parse(stdout)).toEqual({
      removed: [{ kind: 'orphan', path: '/r/overlay2/x', bytes: 1500 }],
      bytes: 1500,
    })
    expect([gc.mock.lastCall, opened[0]?.options.readOnly]).toMatchObject([[{ dryRun: true }], true])
  })
})

describe('check', () => {
  const problem = { kind: 'orphan', severity: 'rubbish', path: '/r/x', detail: 'nobody’s', repaired: false }

  it('says that a store is clean', async () => {
    const check = vi.fn(async (_options: object) => ({ ok: true, problems: [] }))
    const { status, stdout, opened } = await run(['check'], { store: { check } })
    expect([status, stdout, opened[0]?.options.readOnly]).toEqual([0, 'clean\n', true])
    expect(check.mock.lastCall).toMatchObject([{ deep: false, repair: false }])
  })

  it('exits 0 for rubbish and 6 for damage', async () => {
    const damage = { ...problem, severity: 'damage' }
    const check = async (): Promise<object> => ({ ok: true, problems: [problem] })
    const checkDamaged = async (): Promise<object> => ({ ok: false, problems: [problem, damage] })
    expect(await run(['check'], { store: { check } })).toMatchObject({
      status: 0,
      stdout: 'rubbish: orphan: /r/x: nobody’s\n1 problem, 0 repaired\n',
    })
    const { status, stdout, stderr } = await run(['check', '--json'], { store: { check: checkDamaged } })
    expect([status, stderr]).toEqual([6, ''])
    expect(JSON.parse(stdout)).toEqual({ ok: false, problems: [problem, damage] })
  })

  it('--repair opens the store for writing', async () => {
    const check = vi.fn(async (_options: object) => ({
      ok: true,
      problems: [{ ...problem, repaired: true }],
    }))
    const { stdout, opened } = await run(['check', '--deep', '--repair'], { store: { check } })
    expect(stdout).toContain('nobody’s (repaired)\n1 problem, 1 repaired')
    expect([check.mock.lastCall, opened[0]?.options.readOnly]).toMatchObject([
      [{ deep: true, repair: true }],
      false,
    ])
  })
})

describe('info', () => {
  const info = {
    root: '/r',
    driver: 'overlay2',
    backingFs: { name: 'extfs', magic: '0xef53', dType: true },
    capabilities: { fsopen: true, userxattr: false },
    drivers: [
      { name: 'overlay2', usable: true },
      { name: 'zfs', usable: false, reason: 'no /dev/zfs' },
    ],
    images: 1,
    layers: 2,
    containers: 3,
  }
  const store = { info: async () => info }

  it('prints a fact a line', async () => {
    const { stdout } = await run(['info'], { store })
    expect(stdout).toMatch(/^Version: \d/)
    expect(stdout).toContain('Backing Filesystem: extfs (0xef53)\nSupports d_type: true\n')
    expect(stdout).toContain('Capabilities:\n fsopen: true\n userxattr: false\n')
    expect(stdout).toContain('Drivers:\n overlay2: usable\n zfs: no /dev/zfs\n')
  })

  it('with --json adds the version', async () => {
    const value = JSON.parse((await run(['info', '--json'], { store })).stdout) as object
    expect(value).toEqual({ version: expect.any(String) as string, ...info })
  })
})
