/** What `overlaid probe` answers on one file system of each kind: test/fixtures/probe has its words. */
import { execFileSync } from 'node:child_process'
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { DRIVER_NAMES } from '../../lib/driver/drivers.ts'
import { type ProbeReport, probeDrivers } from '../../lib/store/probe.ts'
import { run, type RunResult } from '../cli/support/host.ts'
import { missing } from '../helpers/gates.ts'
import { type FileSystemKind, type LoopFileSystem, loopFileSystem } from '../helpers/loopfs.ts'
import { watchLeaks } from '../helpers/mounts.ts'
import { tempDir } from '../helpers/temp-dir.ts'

/** Whose answers the file system alone decides; zfs also asks what the machine has. */
const SHOWN = DRIVER_NAMES.filter((name: string) => name !== 'zfs').join('|')

const OTHERS = new RegExp(`^ (?!(?:${SHOWN}):)\\S+: (?:not )?usable\\n(?: {2}.*\\n)*`, 'gm')

/** Everything in the file system, with times: what a probe leaves as it is, but for the times of the folder itself. */
function everything(dir: string): string {
  return execFileSync('find', [dir, '-mindepth', '1', '-printf', '%P %m %s %T@ %C@\n'], { encoding: 'utf8' })
}

describe.skipIf(missing('hasBinding', 'canMount', 'canLoop', 'hasXfs', 'hasBtrfs', 'hasSquashfs'))(
  'probe',
  () => {
    const open: Disposable[] = []
    const made: string[] = []
    watchLeaks(() => made)
    const make = (kind: FileSystemKind): LoopFileSystem => {
      const fs = loopFileSystem(kind)
      open.push(fs)
      made.push(dirname(fs.dir))
      return fs
    }
    afterEach(() => {
      for (const thing of open.splice(0).reverse()) thing[Symbol.dispose]()
    })

    /** What it prints of {@link SHOWN}, without the names that differ from run to run. */
    const table = (
      { status, stdout }: RunResult,
      ...names: readonly (readonly [string, string])[]
    ): string => {
      const text = names.reduce((before, [name, word]) => before.replaceAll(name, word), stdout)
      const kept = text.replace(OTHERS, '')
      return `${kept}Exit status: ${String(status)}\n`
    }
    const golden = (kind: string): string => join(import.meta.dirname, `../fixtures/probe/${kind}.txt`)

    it.each(['ext4', 'ext4-no-dtype', 'xfs', 'btrfs', 'tmpfs', 'squashfs'] as const)(
      'on %s',
      async (kind) => {
        const fs = make(kind)
        const before = everything(fs.dir)
        const result = await run(['probe', fs.dir])
        expect(everything(fs.dir)).toBe(before)
        await expect(
          table(result, [fs.dir, '/mnt'], [fs.device, kind === 'tmpfs' ? 'tmpfs' : '/dev/sdx']),
        ).toMatchFileSnapshot(golden(kind))
      },
    )

    it('on an overlay', async () => {
      const merged = overlayOn(make('tmpfs'))
      const result = await run(['probe', merged])
      await expect(table(result, [merged, '/mnt'])).toMatchFileSnapshot(golden('overlay'))
      expect(readdirSync(merged)).toEqual([])
    })

    const overlayOn = ({ dir }: LoopFileSystem): string => {
      for (const name of ['lower', 'upper', 'work', 'merged']) mkdirSync(join(dir, name))
      const merged = join(dir, 'merged')
      const layers = `lowerdir=${dir}/lower,upperdir=${dir}/upper,workdir=${dir}/work`
      execFileSync('mount', ['-t', 'overlay', 'overlay', '-o', layers, merged])
      open.push({ [Symbol.dispose]: () => void execFileSync('umount', [merged]) })
      return merged
    }

    it('after tune2fs -O filetype tells old folders from a file system without types', async () => {
      const fs = make('ext4-no-dtype')
      const root = join(fs.dir, 'root')
      mkdirSync(join(root, 'overlay2', 'a'.repeat(64), 'diff/etc'), { recursive: true })
      const found = async () => (await probeDrivers(root)).drivers.find(({ name }) => name === 'overlay2')
      expect((await found())?.remedy).toContain('tune2fs -O filetype')
      fs.offline((image) => void execFileSync('tune2fs', ['-O', 'filetype', image], { stdio: 'pipe' }))
      expect(await found()).toMatchObject({
        usable: false,
        reason: expect.stringContaining(`${fs.device} has them by now, but folders of ${root}`) as string,
        remedy: `unmount it, e2fsck -fD ${fs.device}, and mount it again`,
      })
      fs.offline((image) => rebuild(image))
      expect(await found()).toEqual({ name: 'overlay2', usable: true })
    })

    const rebuild = (image: string): void => {
      try {
        execFileSync('e2fsck', ['-fyD', image], { stdio: 'pipe' })
      } catch (error) {
        // 1: it has corrected something, as it should.
        if ((error as { status?: number }).status !== 1) throw error
      }
    }

    it('finds one old layer among folders that are new', async () => {
      const fs = make('ext4-no-dtype')
      const layer = join(fs.dir, 'old')
      mkdirSync(join(layer, 'diff/etc'), { recursive: true })
      execFileSync('rmdir', [join(fs.dir, 'lost+found')])
      fs.offline((image) => void execFileSync('tune2fs', ['-O', 'filetype', image], { stdio: 'pipe' }))
      const home = join(fs.dir, 'root/overlay2')
      mkdirSync(home, { recursive: true })
      execFileSync('mv', [layer, join(home, 'a'.repeat(64))])
      const { drivers, chosen, because } = await probeDrivers(join(fs.dir, 'root'))
      expect(drivers[0]?.reason).toContain('are of before and keep none')
      expect([chosen, because]).toEqual([undefined, 'it holds the state of overlay2, and it is not usable'])
    })

    it('says which call failed, as data too', async () => {
      const fs = make('ext4')
      fs.remount('ro')
      const { stdout, status } = await run(['--json', 'probe', fs.dir])
      const report = JSON.parse(stdout) as ProbeReport
      expect(report).toMatchObject({
        dir: fs.dir,
        backingFs: { name: 'extfs', device: fs.device },
        state: [],
      })
      expect(report.drivers[0]).toMatchObject({
        name: 'overlay2',
        code: 'EROFS',
        syscall: 'mkdtemp',
        errno: 'EROFS',
      })
      expect([report.chosen, report.because, status]).toEqual([undefined, 'nothing works here', 5])
    })
  },
)

describe.skipIf(missing('hasBinding', 'canMount'))('probe of a data root', () => {
  const state = (root: string, name: string): void => {
    mkdirSync(join(root, name), { recursive: true })
    writeFileSync(join(root, name, 'x'), '')
  }

  it('answers for the driver whose state it holds, or asks to name one', async () => {
    using dir = tempDir()
    expect((await probeDrivers(dir.path)).because).toBe("the first of Docker's order that works here")
    state(dir.path, 'overlay2')
    expect(await probeDrivers(dir.path)).toMatchObject({
      chosen: 'overlay2',
      because: 'it holds the state of overlay2',
    })
    state(dir.path, 'btrfs')
    const several = await probeDrivers(dir.path)
    expect(several.because).toContain('several drivers: overlay2, btrfs')
    expect(several).not.toHaveProperty('chosen')
    expect(await probeDrivers(dir.path, { driver: 'overlay2' })).toMatchObject({ chosen: 'overlay2' })
  })

  it('tells of a driver that Docker has no more', async () => {
    using dir = tempDir()
    state(dir.path, 'aufs')
    const report = await probeDrivers(dir.path)
    expect(report).toMatchObject({
      state: ['aufs'],
      because: 'it holds the state of aufs, and it is not usable',
    })
    expect(report.drivers.at(-1)?.reason).toContain('removed in 24.0')
  })

  it('has the order of the release, with what is gone by now', async () => {
    using dir = tempDir()
    const { drivers, because } = await probeDrivers(dir.path, { driverOrder: '23.0' })
    expect(drivers.map(({ name }) => name).join()).toBe(
      'overlay2,fuse-overlayfs,btrfs,zfs,aufs,overlay,devicemapper,vfs',
    )
    expect(drivers[4]).toMatchObject({ usable: false, code: 'ERR_DRIVER_MISMATCH' })
    expect(because).toBe('the first of that order that works here')
  })

  it('exits 0 for vfs only when that was named', async () => {
    using dir = tempDir()
    expect(await run(['--driver', 'vfs', 'probe', dir.path])).toMatchObject({ status: 0 })
    state(dir.path, 'vfs')
    state(dir.path, 'image/vfs/layerdb/sha256')
    expect(await run(['probe', dir.path])).toMatchObject({ status: 5 })
  })

  it('takes a folder that is not there, the root by default, and nothing that is no folder', async () => {
    using dir = tempDir()
    const missingDir = join(dir.path, 'not/there')
    const { stdout } = await run(['--root', missingDir, 'probe'])
    expect(stdout).toContain(`Directory: ${missingDir}\n`)
    expect(readdirSync(dir.path)).toEqual([])
    writeFileSync(join(dir.path, 'file'), '')
    for (const path of ['file', 'file/below'])
      expect(await run(['probe', join(dir.path, path)])).toMatchObject({ status: 2, stdout: '' })
    expect(await run(['--driver', 'nonesuch', 'probe', dir.path])).toMatchObject({ status: 2 })
    expect(await run(['--driver-order', 'x', 'probe', dir.path])).toMatchObject({ status: 2 })
  })
})
