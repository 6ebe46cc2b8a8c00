/** A data root that came, files and all, to a file system whose directories keep no file types. */
import { execFileSync } from 'node:child_process'
import { readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { missing } from '../helpers/gates.ts'
import { loopFileSystem, type LoopFileSystem } from '../helpers/loopfs.ts'
import { json, overlaid } from './support/command.ts'
import { bothImages, web } from './support/images.ts'

/** Every path with its type, mode, size and times. */
function everything(dir: string): string {
  const format = '%P %y %m %U:%G %s %T@ %C@ %l\\n'
  return execFileSync('find', [dir, '-printf', format], { encoding: 'utf8' }).split('\n').sort().join('\n')
}

describe.skipIf(missing('canMount', 'canLoop', 'hasBinding'))('a root without d_type', () => {
  let good: LoopFileSystem
  let bad: LoopFileSystem
  let root: string
  let archive: string
  let before: string

  beforeAll(async () => {
    good = loopFileSystem('tmpfs')
    bad = loopFileSystem('ext4-no-dtype')
    const made = join(good.dir, 'root')
    archive = join(good.dir, 'both.tar')
    writeFileSync(archive, bothImages)
    await json(made, 'load', '-i', archive)
    await json(made, 'create', '--name', 'one', 'web:1')
    root = join(bad.dir, 'root')
    execFileSync('cp', ['-a', made, root])
    before = everything(bad.dir)
  })
  afterAll(() => {
    bad.dispose()
    good.dispose()
  })

  it.each([
    ['load', '-i', 'archive'],
    ['import', '-i', 'archive', 'flat:1'],
    ['tag', 'web:1', 'x:1'],
    ['rmi', 'api:1'],
    ['create', 'web:1'],
    ['mount', 'one'],
    ['mount', '--read-only', 'web:1'],
    ['commit', 'one', 'x:1'],
    ['rm', 'one'],
    ['gc'],
    ['check', '--repair'],
  ])('is not written to by %s %s %s', async (...argv) => {
    const { status, stderr } = await overlaid(
      root,
      argv.map((arg) => (arg === 'archive' ? archive : arg)),
    )
    expect(stderr).toMatch(/d_type.*\nhint: unmount it, tune2fs -O filetype \/dev\/.*, e2fsck -fD \/dev\//)
    expect([status, everything(bad.dir)]).toEqual([5, before])
  })

  it('is not made by overlay2', async () => {
    const other = join(bad.dir, 'other')
    const result = await overlaid(other, ['--driver', 'overlay2', 'load', '-i', archive])
    expect(result).toMatchObject({ status: 5, stdout: '' })
    expect(result.stderr).toContain('d_type')
    expect(everything(bad.dir)).toBe(before)
  })

  it('is made by the best driver that works there, with a warning that has the cost and the cure', async () => {
    using disk = loopFileSystem('ext4-no-dtype')
    const other = join(disk.dir, 'root')
    expect(await overlaid(other, ['ps'])).toMatchObject({ status: 2 })
    const loaded = await overlaid(other, ['load', '-i', archive])
    expect(loaded).toMatchObject({
      status: 0,
      stdout: expect.stringContaining('Loaded image: web:1') as string,
    })
    const { driver, drivers } = await json<{ driver: string; drivers: { name: string; cost?: string }[] }>(
      other,
      'info',
    )
    const { cost = '' } = drivers.find(({ name }) => name === driver) ?? {}
    expect(loaded.stderr).toContain(`warning: ${other} gets the storage driver ${driver}`)
    expect(loaded.stderr).toContain(cost)
    expect(loaded.stderr).toMatch(
      /overlay2 is refused: .*d_type.*\(cure: unmount it, tune2fs -O filetype \/dev\//,
    )
    expect(driver).not.toBe('overlay2')
    const made = await overlaid(other, ['create', '--name', 'two', 'web:1'])
    expect(made).toMatchObject({ status: 0, stderr: '' })
    expect(await overlaid(other, ['rm', 'two'])).toMatchObject({ status: 0 })
  })

  it('is found out by probe', async () => {
    const inRoot = everything(root)
    const { status, stdout } = await overlaid(root, ['probe', bad.dir])
    expect([readdirSync(bad.dir).sort(), everything(root)]).toEqual([['lost+found', 'root'], inRoot])
    expect(stdout).toContain('Supports d_type: false')
    // Something better than vfs may be there.
    expect(status).toBe(/^Chosen: vfs/m.test(stdout) ? 5 : 0)
    // The root itself holds overlay2's state, which cannot be used.
    expect(await overlaid(root, ['probe'])).toMatchObject({
      status: 5,
      stdout: expect.stringContaining(
        'Chosen: none (it holds the state of overlay2, and it is not usable)',
      ) as string,
    })
  })

  it('can be read, and tells what is wrong', async () => {
    expect(await json<{ id: string }[]>(root, 'images')).toContainEqual(
      expect.objectContaining({ id: web.id }),
    )
    expect(await json<unknown[]>(root, 'ps')).toHaveLength(1)
    const saved = join(good.dir, 'saved.tar')
    expect(await overlaid(root, ['save', '-o', saved, 'web:1'])).toMatchObject({ status: 0, stderr: '' })
    const { backingFs, drivers } = await json<{
      backingFs: object
      drivers: { name: string; reason?: string }[]
    }>(root, 'info')
    expect(backingFs).toEqual({ name: 'extfs', magic: '0xef53', dType: false })
    expect(drivers[0]).toMatchObject({
      name: 'overlay2',
      usable: false,
      reason: expect.stringContaining('d_type') as string,
    })
  })
})
