/** Each kind of damage and rubbish in the home: found, mended where that is possible, and nothing else touched. */
import { execFileSync, spawn } from 'node:child_process'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { DriverProblem } from '../../lib/driver/driver.ts'
import { openOverlay2, type Overlay2Driver } from '../../lib/driver/overlay2/driver.ts'
import { missing } from '../helpers/gates.ts'
import { type LoopFileSystem, loopFileSystem } from '../helpers/loopfs.ts'
import { watchLeaks } from '../helpers/mounts.ts'
import { dumpTree } from '../../lib/driver-suite/tree.ts'

const BASE = 'a'.repeat(64)
const MIDDLE = 'b'.repeat(64)
const TOP = 'c'.repeat(64)

describe.skipIf(missing('hasBinding', 'canMount'))('check', () => {
  let fs: LoopFileSystem
  let home: string
  let driver: Overlay2Driver
  let referenced: Map<string, string | undefined>
  let count = 0

  beforeAll(() => {
    fs = loopFileSystem('tmpfs')
  })
  afterAll(() => {
    fs.dispose()
  })
  watchLeaks(() => [fs.dir])
  beforeEach(async () => {
    home = join(fs.dir, `root-${(count++).toString()}`, 'overlay2')
    driver = openOverlay2(home, { durability: 'none' })
    await driver.create(BASE, undefined)
    await driver.create(MIDDLE, BASE)
    await driver.createReadWrite(TOP, MIDDLE)
    referenced = new Map([
      [BASE, undefined],
      [MIDDLE, BASE],
      [TOP, MIDDLE],
    ])
  })

  const at = (...names: string[]): string => join(home, ...names)
  const link = (id: string): string => readFileSync(at(id, 'link'), 'utf8')
  const kinds = (problems: readonly DriverProblem[]): string[] =>
    problems.map(({ kind, severity }) => `${severity} ${kind}`).sort()

  /** Checks, repairs what can be repaired, and checks again. */
  const mend = async (): Promise<{ found: string[]; left: string[] }> => {
    const problems = await driver.check(referenced)
    for (const problem of problems) await problem.repair?.()
    return { found: kinds(problems), left: kinds(await driver.check(referenced)) }
  }

  /** Mends and expects the home to be, to the byte, what it was before the damage. */
  const mendsTo = async (damage: () => void, found: string[]): Promise<void> => {
    const dump = (): Promise<string[]> => dumpTree(home, { mtime: false })
    const before = await dump()
    damage()
    expect(await mend()).toEqual({ found, left: [] })
    expect(await dump()).toEqual(before)
  }

  it('finds nothing in a sound home, mounted or not', async () => {
    expect(await driver.check(referenced)).toEqual([])
    await driver.get(TOP)
    expect(await driver.check(referenced)).toEqual([])
    await driver.put(TOP)
  })

  it('finds nothing where there is no home', async () => {
    const none = openOverlay2(join(fs.dir, 'none/overlay2'), { durability: 'none' })
    expect(await none.check(new Map())).toEqual([])
    expect(existsSync(join(fs.dir, 'none'))).toBe(false)
  })

  it('changes nothing by looking', async () => {
    rmSync(at(MIDDLE, 'link'))
    rmSync(at(TOP, 'lower'))
    mkdirSync(at('staging', 'x'))
    symlinkSync('../gone/diff', at('l', 'A'.repeat(26)))
    const before = await dumpTree(home)
    expect(kinds(await driver.check(referenced))).toHaveLength(4)
    expect(await dumpTree(home)).toEqual(before)
  })

  describe('damage that is rebuilt as it was', () => {
    it.each([
      ['missing', () => rmSync(at(MIDDLE, 'lower')), 'missing-lower'],
      ['empty, as a power cut leaves it', () => writeFileSync(at(MIDDLE, 'lower'), ''), 'wrong-lower'],
      [
        'cut off',
        () => writeFileSync(at(TOP, 'lower'), readFileSync(at(TOP, 'lower')).subarray(0, 28)),
        'wrong-lower',
      ],
      ['of another layer', () => writeFileSync(at(TOP, 'lower'), `l/${link(BASE)}`), 'wrong-lower'],
      ['there in a base layer', () => writeFileSync(at(BASE, 'lower'), `l/${link(TOP)}`), 'wrong-lower'],
    ])('a lower that is %s', async (_, damage, kind) => {
      await mendsTo(damage, [`damage ${kind}`])
    })

    it.each([
      ['missing', () => rmSync(at(MIDDLE, 'link'))],
      ['empty', () => writeFileSync(at(MIDDLE, 'link'), '')],
      ['no name', () => writeFileSync(at(MIDDLE, 'link'), '../../etc')],
    ])('a link that is %s, its name found again in l/', async (_, damage) => {
      await mendsTo(damage, ['damage missing-link'])
    })

    it.each([
      ['missing', () => unlinkSync(at('l', link(BASE)))],
      [
        'pointing to another layer',
        () => {
          const name = link(BASE)
          unlinkSync(at('l', name))
          symlinkSync(`../${TOP}/diff`, at('l', name))
        },
      ],
      [
        'pointing out of the home',
        () => {
          const name = link(BASE)
          unlinkSync(at('l', name))
          symlinkSync('/etc', at('l', name))
        },
      ],
    ])('an entry in l/ that is %s', async (_, damage) => {
      await mendsTo(damage, ['damage missing-l-entry'])
    })

    it('all of l/ at once', async () => {
      const damage = (): void => {
        for (const name of readdirSync(at('l'))) unlinkSync(at('l', name))
      }
      await mendsTo(damage, Array<string>(3).fill('damage missing-l-entry'))
    })

    it('a link and its entry in l/, the name found again in a child', async () => {
      const damage = (): void => {
        unlinkSync(at('l', link(BASE)))
        rmSync(at(BASE, 'link'))
      }
      await mendsTo(damage, ['damage missing-l-entry', 'damage missing-link'])
    })

    it('a work folder', async () => {
      await mendsTo(() => rmSync(at(TOP, 'work'), { recursive: true }), ['damage missing-work'])
    })

    it.each([
      ['a layer', () => chmodSync(at(TOP), 0o755)],
      ['the home', () => chmodSync(home, 0o711)],
    ])('the mode of %s that lets everybody in', async (_, damage) => {
      await mendsTo(damage, ['damage loose-mode'])
    })
  })

  it('gives a layer a new name where nothing remembers the old one', async () => {
    unlinkSync(at('l', link(TOP)))
    rmSync(at(TOP, 'link'))
    expect(await mend()).toEqual({ found: ['damage missing-l-entry', 'damage missing-link'], left: [] })
    expect(readlinkSync(at('l', link(TOP)))).toBe(`../${TOP}/diff`)
  })

  it('mounts again what was mended', async () => {
    writeFileSync(at(BASE, 'diff', 'file'), 'content')
    for (const name of readdirSync(at('l'))) unlinkSync(at('l', name))
    for (const id of [BASE, MIDDLE, TOP]) rmSync(at(id, 'link'))
    rmSync(at(TOP, 'lower'))
    await mend()
    const root = await driver.get(TOP)
    expect(readFileSync(join(root, 'file'), 'utf8')).toBe('content')
    await driver.put(TOP)
  })

  describe('damage that stays', () => {
    it('a layer that is gone', async () => {
      rmSync(at(BASE), { recursive: true })
      const { found, left } = await mend()
      expect(found).toEqual(['damage missing-layer'])
      expect(left).toEqual(['damage missing-layer'])
    })

    it("a layer's content", async () => {
      rmSync(at(TOP, 'diff'), { recursive: true })
      expect(await mend()).toEqual({ found: ['damage missing-diff'], left: ['damage missing-diff'] })
    })

    it('says where it is and what is wrong', async () => {
      rmSync(at(TOP, 'diff'), { recursive: true })
      expect(await driver.check(referenced)).toMatchObject([
        { kind: 'missing-diff', path: at(TOP, 'diff'), detail: "the layer's content is gone" },
      ])
    })
  })

  describe('rubbish', () => {
    it('is a layer that the store does not know, and its init layer', async () => {
      const orphan = 'd'.repeat(64)
      await driver.createReadWrite(`${orphan}-init`, MIDDLE)
      await driver.createReadWrite(orphan, `${orphan}-init`)
      expect(await mend()).toEqual({
        found: ['rubbish orphan-layer', 'rubbish orphan-layer'],
        left: ['rubbish trash', 'rubbish trash'],
      })
      expect(await mend()).toEqual({ found: ['rubbish trash', 'rubbish trash'], left: [] })
      expect((await driver.list()).sort()).toEqual([BASE, MIDDLE, TOP])
    })

    it("is not a layer of BuildKit's, nor a folder of someone's", async () => {
      await driver.create('w8pujs3fk2l0zqxm4d7y1ab5c', BASE)
      mkdirSync(at('quarantine'))
      writeFileSync(at('backingFsBlockDev'), '')
      expect(await driver.check(referenced)).toEqual([])
    })

    it('is an entry in l/ without a layer, but not one that a layer needs to find its name', async () => {
      symlinkSync(`../${'e'.repeat(64)}/diff`, at('l', 'E'.repeat(26)))
      symlinkSync(`../${TOP}/diff`, at('l', 'F'.repeat(26)))
      writeFileSync(at('l', 'stray'), '')
      expect(await mend()).toEqual({ found: Array<string>(3).fill('rubbish dangling-l-entry'), left: [] })
      expect(readdirSync(at('l')).sort()).toEqual([BASE, MIDDLE, TOP].map(link).sort())
    })

    it('is a mount point without a mount', async () => {
      mkdirSync(at(TOP, 'merged'))
      expect(await mend()).toEqual({ found: ['rubbish stale-merged'], left: [] })
      expect(existsSync(at(TOP, 'merged'))).toBe(false)
    })

    it('is what a write that was cut off left', async () => {
      writeFileSync(at(TOP, '.tmp-link123'), '')
      writeFileSync(at(TOP, '.tmp-lower123'), '')
      writeFileSync(at(BASE, '.tmp-committed123'), '')
      expect(await mend()).toEqual({ found: Array<string>(3).fill('rubbish temp-file'), left: [] })
    })

    it('is what a probe that was cut off left', async () => {
      mkdirSync(at('.overlaid-probe-x', 'work'), { recursive: true })
      expect(await mend()).toEqual({ found: ['rubbish probe-folder'], left: [] })
    })

    it('is in the trash', async () => {
      await driver.remove(TOP)
      referenced.delete(TOP)
      expect(await mend()).toEqual({ found: ['rubbish trash'], left: [] })
    })
  })

  describe('staging', () => {
    it('is left alone while its owner lives, in this process too', async () => {
      await using staged = await driver.stage()
      expect(await mend()).toEqual({ found: [], left: [] })
      await staged.commit('d'.repeat(64), undefined)
    })

    it('is left alone while its owner lives in another process, and is rubbish when it was killed', async () => {
      const path = at('staging', 'other')
      mkdirSync(join(path, 'layer/diff'), { recursive: true })
      writeFileSync(join(path, 'lock'), '')
      // An OFD lock by Python: 37 is F_OFD_SETLK, the structure is l_type, l_whence, l_start, l_len, l_pid.
      const script = `
import fcntl, struct, sys, time
f = open(${JSON.stringify(join(path, 'lock'))}, 'r+')
fcntl.fcntl(f, 37, struct.pack('hhqqi', fcntl.F_WRLCK, 0, 0, 0, 0))
print('locked', flush=True)
time.sleep(600)`
      const owner = spawn('python3', ['-c', script], { stdio: ['ignore', 'pipe', 'inherit'] })
      const ended = new Promise((resolve) => owner.once('exit', resolve))
      try {
        await new Promise((resolve) => owner.stdout.once('data', resolve))
        expect(await mend()).toEqual({ found: [], left: [] })
      } finally {
        owner.kill('SIGKILL')
        await ended
      }
      expect(await mend()).toEqual({ found: ['rubbish stale-staging'], left: [] })
      expect(readdirSync(at('staging'))).toEqual([])
    })

    it('is rubbish also without a lock file, or when it is no folder', async () => {
      mkdirSync(at('staging', 'bare'))
      writeFileSync(at('staging', 'file'), '')
      const { found } = await mend()
      expect(found).toEqual(['rubbish stale-staging', 'rubbish stale-staging'])
      expect(existsSync(at('staging', 'bare'))).toBe(false)
    })
  })

  it('is not stopped by what should not be there', async () => {
    rmSync(at(TOP, 'link'))
    mkdirSync(at(TOP, 'link'))
    execFileSync('mkfifo', [at('l', 'fifo')])
    mkdirSync(at('l', 'dir'))
    const { found } = await mend()
    expect(found).toContain('damage missing-link')
    expect(link(TOP)).toMatch(/^[A-Z2-7]{26}$/)
  })
})
