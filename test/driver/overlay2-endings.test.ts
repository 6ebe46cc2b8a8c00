/** What is left of a mount after put(): nothing in the mount table, and a file system that ends by and by. */
import { closeSync, existsSync, openSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { openOverlay2, type Overlay2Driver } from '../../lib/driver/overlay2/driver.ts'
import { mountsBelow } from '../../lib/driver-suite/leaks.ts'
import { missing } from '../helpers/gates.ts'
import { loopFileSystem, type LoopFileSystem } from '../helpers/loopfs.ts'
import { watchLeaks } from '../helpers/mounts.ts'

describe.skipIf(missing('hasBinding', 'canMount'))('the end of a mount', () => {
  let disk: LoopFileSystem
  watchLeaks(() => [disk.dir])
  beforeEach(() => {
    disk = loopFileSystem('ext4')
  })
  afterEach(() => disk[Symbol.dispose]())

  const opened = async (durability: 'none' | 'full'): Promise<Overlay2Driver> => {
    const driver = openOverlay2(join(disk.dir, 'overlay2'), { durability })
    await driver.create('base', undefined)
    writeFileSync(join(driver.home, 'base/diff/file'), 'content')
    return driver
  }

  /** An overlay holds the file system of its upper, even after that is unmounted; and so its device. */
  const expectNothingLeft = (): void => {
    disk.dispose()
    const file = join('/sys/block', basename(disk.device), 'loop/backing_file')
    expect(existsSync(file) ? readFileSync(file, 'utf8') : '').not.toContain(disk.image)
  }

  /** A container that is mounted, written to, and put. */
  const use = async (driver: Overlay2Driver, id: string): Promise<void> => {
    const root = await driver.get(id)
    writeFileSync(join(root, id), root)
    await driver.put(id)
  }

  it('leaves nothing in the table, and nothing at all once it is waited for', async () => {
    const driver = await opened('none')
    for (let i = 0; i < 20; i++) {
      const id = `container-${String(i)}`
      await driver.createReadWrite(id, 'base')
      await use(driver, id)
      expect([mountsBelow(driver.home), existsSync(driver.mergedPath(id))]).toEqual([[], false])
      expect(readdirSync(join(driver.home, id, 'diff'))).toEqual([id])
      if (i % 2 === 0) await driver.remove(id)
    }
    await driver.idle()
    expectNothingLeft()
  })

  it('is waited for by put() where everything is synced', async () => {
    const driver = await opened('full')
    await driver.createReadWrite('one', 'base')
    await use(driver, 'one')
    expectNothingLeft()
  })

  it('is waited for by whoever needs the layer next', async () => {
    const driver = await opened('none')
    await driver.createReadWrite('one', 'base')
    for (let i = 0; i < 20; i++) await use(driver, 'one')
    {
      await using mount = await driver.open('one')
      expect(readdirSync(`/proc/self/fd/${String(mount.fd.fd)}`).sort()).toEqual(['file', 'one'])
    }
    await use(driver, 'one')
    for await (const { path } of driver.changes('one', 'base')) expect(path.toString()).toBe('/one')

    await use(driver, 'one')
    await driver.createReadWrite('child', 'one')
    expect(readFileSync(join(await driver.get('child'), 'one'), 'utf8')).toBe(driver.mergedPath('one'))
    await driver.put('child')
    await driver.idle()
  })

  it('comes for many at once', async () => {
    const driver = await opened('none')
    const ids = Array.from({ length: 30 }, (_, i) => `container-${String(i)}`)
    await Promise.all(
      ids.map(async (id) => {
        await driver.createReadWrite(id, 'base')
        await use(driver, id)
        await use(driver, id)
      }),
    )
    expect(mountsBelow(driver.home)).toEqual([])
    await driver.idle()
    expectNothingLeft()
  })

  it('does not come while the mount is busy', async () => {
    const driver = await opened('none')
    await driver.createReadWrite('one', 'base')
    const root = await driver.get('one')
    const held = openSync(join(root, 'file'), 'r')
    await expect(driver.put('one')).rejects.toMatchObject({ code: 'ERR_IN_USE' })
    expect(readFileSync(join(root, 'file'), 'utf8')).toBe('content')
    closeSync(held)
    await driver.put('one')
    await driver.idle()
    expectNothingLeft()
  })
})
