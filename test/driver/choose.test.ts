/** The choice among drivers for a root that holds nothing: each is tried on a real file system. */
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { type Choice, chooseDriver } from '../../lib/driver/choose.ts'
import { DOCKER_ORDER, driverOrder } from '../../lib/driver/order.ts'
import { missing } from '../helpers/gates.ts'
import { type FileSystemKind, type LoopFileSystem, loopFileSystem } from '../helpers/loopfs.ts'
import { watchLeaks } from '../helpers/mounts.ts'

describe.skipIf(missing('hasBinding', 'canMount', 'canLoop'))('chooseDriver', () => {
  let fs: LoopFileSystem | undefined
  const made: string[] = []
  watchLeaks(() => made)
  const make = (kind: FileSystemKind): string => {
    fs = loopFileSystem(kind)
    made.push(dirname(fs.dir))
    return join(fs.dir, 'root')
  }
  afterEach(() => {
    fs?.dispose()
    fs = undefined
  })

  const choose = async (
    root: string,
    order: readonly string[] = DOCKER_ORDER,
  ): Promise<Choice & { readonly warnings: readonly string[] }> => {
    const warnings: string[] = []
    const onWarning = (message: string): void => void warnings.push(message)
    return { ...(await chooseDriver(root, { durability: 'none', order, onWarning })), warnings }
  }
  const left = (): string[] => readdirSync(fs?.dir ?? '').filter((name) => name !== 'lost+found')

  it('takes overlay2 where it works, without a word, and leaves nothing', async () => {
    const { driver, verified, warnings } = await choose(make('ext4'))
    expect([driver.name, verified, warnings]).toEqual(['overlay2', true, []])
    expect(left()).toEqual([])
  })

  it("warns of no driver that comes first in an old release's order alone", async () => {
    const { driver, warnings } = await choose(make('ext4'), driverOrder('20.10'))
    expect([driver.name, warnings]).toEqual(['overlay2', []])
  })

  it('warns of a fallback: why, what it costs, and the cure', async () => {
    const root = make('ext4-no-dtype')
    const { driver, warnings } = await choose(root, ['overlay2', 'zfs', 'vfs'])
    expect(driver.name).toBe('vfs')
    expect(warnings).toHaveLength(1)
    for (const word of [
      `${root} gets the storage driver vfs (each layer and each container is a full copy`,
      'overlay2 is refused: overlay2 needs a file system whose directories keep file types (d_type)',
      `(cure: unmount it, tune2fs -O filetype ${fs?.device ?? ''}, e2fsck -fD`,
      'zfs is refused: ',
    ])
      expect(warnings[0]).toContain(word)
    expect(left()).toEqual([])
  })

  it('takes what somebody else has begun meanwhile, and does not try it', async () => {
    const root = make('ext4')
    mkdirSync(join(root, 'vfs'), { recursive: true })
    mkdirSync(join(root, 'image/vfs/layerdb/sha256'), { recursive: true })
    for (const dir of ['vfs', 'image/vfs/layerdb/sha256']) writeFileSync(join(root, dir, 'x'), '')
    const { driver, verified, warnings } = await choose(root)
    expect([driver.name, verified, warnings]).toEqual(['vfs', false, []])
  })

  it('goes on to no other driver when what fails is no matter of the driver', async () => {
    const root = make('ext4')
    fs?.remount('ro')
    await expect(choose(root)).rejects.toMatchObject({
      code: 'EROFS',
      message: expect.stringContaining('is mounted read-only') as string,
      hint: expect.stringContaining(`mount -o remount,rw ${fs?.dir ?? ''}`) as string,
    })
  })

  it('tells all the reasons where none works', async () => {
    const root = make('ext4-no-dtype')
    await expect(choose(root, ['aufs', 'overlay2', 'zfs'])).rejects.toMatchObject({
      code: 'ERR_UNSUPPORTED_FS',
      message: `no storage driver works on ${root}`,
      detail: [
        expect.stringMatching(/^aufs: Docker's driver aufs .* is gone/),
        expect.stringMatching(/^overlay2: .*d_type/),
        expect.stringMatching(/^zfs: /),
      ] as string[],
    })
    expect(left()).toEqual([])
  })
})
