/** The driver suite must be able to fail: each lie that a driver may tell is found by the case that is there for it. */
import { chmodSync, closeSync, openSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Driver } from '../../lib/driver/driver.ts'
import { openOverlay2 } from '../../lib/driver/overlay2/driver.ts'
import { TarStream } from '../../lib/driver/tar-stream.ts'
import { unmount } from '../../lib/native/mount.ts'
import { driverSuite, type DriverSupport, type SuiteRunner } from '../../lib/driver-suite/index.ts'
import { mountsBelow } from '../../lib/driver-suite/leaks.ts'
import { missing } from '../helpers/gates.ts'
import { type LoopFileSystem, loopFileSystem } from '../helpers/loopfs.ts'

type Lie = (honest: Driver) => Partial<Driver>

const opened: number[] = []

/** By the title of the case that has to find it. */
const LIES: readonly (readonly [title: string, lie: Lie])[] = [
  ['creates an empty layer: there, 0755, root, nothing in it', (honest) => ({ get: shut(honest) })],
  ['keeps what was written in a base', (honest) => ({ get: getAnd(honest, 'more') })],
  ['applies its own diff: same size, same content, the removed file gone', () => ({ diff: () => empty() })],
  [
    'applies its own diff: same size, same content, the removed file gone',
    (honest) => ({ diffSize: async (...args) => (await honest.diffSize(...args)) + 1 }),
  ],
  ['lists what was added, changed and deleted', (honest) => ({ changes: allButOne(honest) })],
  ['takes "base"', (honest) => ({ list: async () => (await honest.list()).flatMap((id) => [id, id]) })],
  ['refuses "a/b" before it gets into a path', () => ({ exists: async () => false })],
  ['tells the parent', () => ({ parent: async () => undefined })],
  ['gives one place until the last put', () => ({ put: async () => undefined })],
  [
    'does not pull the ground from under an open file, unless forced',
    (honest) => ({ put: (id) => honest.put(id, { force: true }) }),
  ],
  ['mounts read-only when asked', (honest) => ({ get: (id) => honest.get(id) })],
  ['unmounts everything at cleanup, which can be called twice', () => ({ cleanup: async () => undefined })],
  ['gives a view that nothing is written through', (honest) => ({ open: (id) => honest.open(id) })],
  [
    'shows nothing before commit, everything after',
    (honest) => ({ list: async () => [...(await honest.list()), 'x'] }),
  ],
  ['is two blocks of nothing for a layer without changes', () => ({ diffSize: async () => 512 })],
  ['forgets a layer at once and frees its bytes later', () => ({ remove: async () => undefined })],
  ['forgets a layer at once and frees its bytes later', () => ({ emptyTrash: async () => 0 })],
  [
    'has no limit that was not asked for, and a missing one none to be told of',
    () => ({ quota: async () => undefined }),
  ],
  ['is clean when new, and in it is found what nobody knows', () => ({ check: async () => [] })],
  [
    'is refused with a size (no support of quota), and none is left',
    (honest) => ({
      createReadWrite: (id, parent) => honest.createReadWrite(id, parent),
    }),
  ],
  [
    'is looked at by verify without leaving anything, and made by prepare, twice too',
    (honest) => ({
      verify: async () => writeFileSync(join(dirname(honest.home), 'left'), ''),
    }),
  ],
  [
    'takes "base"',
    (honest) => ({
      list: async () => {
        opened.push(openSync(honest.home, 'r'))
        return honest.list()
      },
    }),
  ],
]

function empty(): TarStream {
  const pieces = async function* () {
    yield Buffer.alloc(1024)
  }
  return new TarStream(pieces())
}

function shut(honest: Driver): Driver['get'] {
  return async (...args) => {
    const root = await honest.get(...args)
    chmodSync(root, 0o700)
    return root
  }
}

function getAnd(honest: Driver, name: string): Driver['get'] {
  return async (...args) => {
    const root = await honest.get(...args)
    writeFileSync(join(root, name), '')
    return root
  }
}

function allButOne(honest: Driver): Driver['changes'] {
  return async function* (...args) {
    for await (const change of honest.changes(...args)) if (change.kind !== 'D') yield change
  }
}

/** The driver as it is, whatever is put over its methods. */
function honestOf(driver: Driver): Driver {
  const get = (target: Driver, key: string | symbol): unknown => {
    const value: unknown = Reflect.get(Object.getPrototypeOf(target) as object, key, target)
    if (value === undefined) return Reflect.get(target, key)
    return typeof value === 'function' ? (value.bind(target) as unknown) : value
  }
  return new Proxy(driver, { get })
}

interface Registered {
  readonly title: string
  readonly skipped: boolean
  readonly run: () => Promise<void>
}

describe.skipIf(missing('hasBinding', 'canMount', 'canUserNamespace'))('the driver suite', () => {
  let fs: LoopFileSystem
  let count = 0
  beforeAll(() => {
    fs = loopFileSystem('tmpfs')
  })
  afterAll(() => {
    fs.dispose()
  })

  /** The cases for overlay2, with a lie in each driver. */
  const casesWith = (lie: Lie, supports: DriverSupport = { idMaps: true }): Registered[] => {
    const cases: Registered[] = []
    const add = (skipped: boolean) => (title: string, run: () => Promise<void>) =>
      cases.push({ title, skipped, run })
    const runner: SuiteRunner = {
      describe: (_, register) => register(),
      it: Object.assign(add(false), { skip: add(true) }),
    }
    const factory = () => {
      const home = join(fs.dir, `root-${String(count++)}`, 'overlay2')
      const open = (): Driver => {
        const driver = openOverlay2(home, { durability: 'none' })
        return Object.assign(driver, lie(honestOf(driver)))
      }
      return { driver: open(), reopen: open, dispose: () => undefined }
    }
    driverSuite(runner, { name: 'a lie', factory, supports })
    return cases
  }

  it.each(LIES)('finds out by the case “%s”', async (title, lie) => {
    const run = casesWith(lie).find((one) => one.title === title)?.run
    expect(run).toBeDefined()
    await expect(run?.()).rejects.toThrow()
    for (const fd of opened.splice(0)) closeSync(fd)
    for (const mount of mountsBelow(join(fs.dir, `root-${String(count - 1)}`))) await unmount(mount)
  })

  it('passes the same cases without', async () => {
    const titles = new Set(LIES.map(([title]) => title))
    const cases = casesWith(() => ({})).filter(({ title }) => titles.has(title) || title.includes('quota'))
    expect(cases.length).toBeGreaterThanOrEqual(titles.size)
    for (const { run } of cases) await run()
  })

  it('registers what is not supported as skipped, with the reason, and has it refused', () => {
    const titles = (supports: DriverSupport): string[] =>
      casesWith(() => ({}), supports)
        .filter(({ skipped }) => skipped)
        .map(({ title }) => title)
    expect(titles({ idMaps: true, quota: true })).toEqual([])
    expect(titles({ readOnlyParents: false })).toEqual([
      'mounts a layer with children read-only (skipped: no support of readOnlyParents)',
    ])
  })

  it('tells all that went wrong: the case, and what it left', async () => {
    const [first] = casesWith((honest) => ({
      get: async (...args) => {
        await honest.get(...args)
        throw new Error(`no way into ${honest.home}`)
      },
    }))
    const refusal = /^no way into .*and then: mounts left below the home/s
    await expect(first?.run()).rejects.toThrow(refusal)
    expect(mountsBelow(join(fs.dir, `root-${String(count - 1)}`))).toEqual([])
  })
})
