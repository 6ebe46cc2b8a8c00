/** Where the size of a layer cannot be limited, that is said with the commands after which it can. */
import { readdirSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import type { Driver } from '../../lib/driver/driver.ts'
import { openFuseOverlayfs } from '../../lib/driver/fuse-overlayfs/driver.ts'
import { openOverlay2 } from '../../lib/driver/overlay2/driver.ts'
import { openVfs } from '../../lib/driver/vfs/driver.ts'
import { missing } from '../helpers/gates.ts'
import { type FileSystemKind, type LoopFileSystem, loopFileSystem } from '../helpers/loopfs.ts'
import { watchLeaks } from '../helpers/mounts.ts'

describe.skipIf(missing('hasBinding', 'canMount', 'canLoop', 'hasXfs', 'hasBtrfs'))('a size limit', () => {
  let fs: LoopFileSystem | undefined
  const made: string[] = []
  watchLeaks(() => made)
  afterEach(() => fs?.dispose())

  const open = (kind: FileSystemKind): { driver: Driver; fs: LoopFileSystem } => {
    fs = loopFileSystem(kind)
    made.push(dirname(fs.dir))
    return { driver: openOverlay2(join(fs.dir, 'overlay2'), { durability: 'none' }), fs }
  }

  async function refused(driver: Driver): Promise<{ message: string; hint: string }> {
    const error: unknown = await driver
      .createReadWrite('a', undefined, { size: 2 ** 20 })
      .catch((e: unknown) => e)
    expect(error).toMatchObject({ code: 'ERR_UNSUPPORTED_FS' })
    expect(await driver.list()).toEqual([])
    expect(readdirSync(join(driver.home, 'staging'))).toEqual([])
    return error as { message: string; hint: string }
  }

  it('on ext4 made without quotas names tune2fs, mkfs and the option', async () => {
    const { driver, fs } = open('ext4')
    const { message, hint } = await refused(driver)
    expect(message).toContain(`ext4 on ${fs.device} (mounted at ${fs.dir})`)
    const commands = [`umount ${fs.dir}`, `tune2fs -O quota,project -Q prjquota ${fs.device}`]
    expect(hint).toContain([...commands, `mount -o prjquota ${fs.device} ${fs.dir}`].join(' && '))
    expect(hint).toContain('mkfs.ext4 -O quota,project -E quotatype=prjquota')
  })

  it('on XFS mounted without quotas names the option', async () => {
    const { driver, fs } = open('xfs')
    const { hint } = await refused(driver)
    expect(hint).toContain(`umount ${fs.dir} && mount -o prjquota ${fs.device} ${fs.dir}`)
    expect(hint).toContain('rootflags=prjquota')
  })

  const DRIVERS = { overlay2: openOverlay2, vfs: openVfs, 'fuse-overlayfs': openFuseOverlayfs }
  const names = (Object.keys(DRIVERS) as (keyof typeof DRIVERS)[]).filter(
    (name) => name !== 'fuse-overlayfs' || !missing('canFuse'),
  )

  it.each(names)(
    'of %s on a tmpfs is none, on btrfs the driver btrfs’, on ext4 one to be turned on',
    async (name) => {
      const message = async (kind: FileSystemKind): Promise<{ message: string; hint: string }> => {
        const { fs: other } = open(kind)
        const told = await refused(DRIVERS[name](join(other.dir, name), { durability: 'none' }))
        other.dispose()
        return told
      }
      const takes = 'that takes the project quotas of ext4 or XFS'
      expect((await message('tmpfs')).message).toContain(`cannot be limited on tmpfs: ${takes}`)
      const onBtrfs = await message('btrfs')
      expect(onBtrfs.message).toContain(`cannot be limited on btrfs: ${takes}`)
      expect(onBtrfs.hint).toContain('use the driver btrfs')
      expect((await message('ext4')).hint).toContain('tune2fs -O quota,project')
    },
  )

  it.each([0, -1, 1.5, NaN])('of %d bytes is no size', async (size) => {
    const { driver } = open('tmpfs')
    await expect(driver.createReadWrite('a', undefined, { size })).rejects.toMatchObject({
      code: 'ERR_INVALID_ARGUMENT',
    })
  })

  it('is none for a layer made without one, on every file system', async () => {
    for (const kind of ['ext4', 'xfs', 'btrfs', 'tmpfs'] as const) {
      const { driver, fs } = open(kind)
      await driver.createReadWrite('a', undefined)
      expect(await driver.quota('a')).toBeUndefined()
      await expect(driver.quota('b')).rejects.toMatchObject({ code: 'ERR_LAYER_NOT_FOUND' })
      fs.dispose()
    }
  })
})
