import { mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { selectDriver } from '../../lib/driver/select.ts'
import { type TempDir, tempDir } from '../helpers/temp-dir.ts'

let temp: TempDir
let root: string
beforeEach(() => {
  temp = tempDir('select')
  root = join(temp.path, 'root')
})
afterEach(() => {
  temp[Symbol.dispose]()
})

const select = (name?: string) =>
  selectDriver(root, { durability: 'none', ...(name === undefined ? {} : { name }) })
/** A driver's folder with something in it. */
const state = (name: string): void => {
  mkdirSync(join(root, name), { recursive: true })
  writeFileSync(join(root, name, 'x'), '')
}

describe('selectDriver', () => {
  it('takes overlay2 for a root that is not there, and makes nothing', async () => {
    const { driver } = await select()
    expect([driver.name, driver.home]).toEqual(['overlay2', join(root, 'overlay2')])
    expect(readdirSync(temp.path)).toEqual([])
  })

  it('takes overlay2 where its state is, and by name', async () => {
    state('overlay2')
    expect((await select()).driver.name).toBe('overlay2')
    expect((await select('overlay2')).driver.name).toBe('overlay2')
  })

  it('keeps the reason why each other driver was passed over', async () => {
    const { refused } = await select()
    expect(refused.map(({ driver }) => driver)).toEqual(['btrfs', 'zfs'])
    for (const { reason } of refused) expect(reason).not.toBe('')
  })

  it.each(['btrfs', 'zfs', 'aufs', 'devicemapper', 'overlay'])(
    "refuses a root with %s's state, rather than show it empty",
    async (name) => {
      state(name)
      await expect(select()).rejects.toMatchObject({ code: 'ERR_DRIVER_MISMATCH' })
      await expect(select(name)).rejects.toMatchObject({ code: 'ERR_DRIVER_MISMATCH' })
      expect((await select('overlay2')).driver.name).toBe('overlay2')
    },
  )

  it('does not count folders that are empty, no folders, or vfs', async () => {
    mkdirSync(join(root, 'btrfs'), { recursive: true })
    writeFileSync(join(root, 'zfs'), '')
    state('vfs')
    expect((await select()).driver.name).toBe('overlay2')
  })

  it('asks to name one where there are several, and names them', async () => {
    state('overlay2')
    state('btrfs')
    await expect(select()).rejects.toMatchObject({
      code: 'ERR_DRIVER_MISMATCH',
      message: expect.stringContaining('overlay2, btrfs') as string,
    })
    expect((await select('overlay2')).driver.name).toBe('overlay2')
  })

  it.each(['', 'OVERLAY2', 'nonesuch', '../overlay2'])('knows no driver %j', async (name) => {
    await expect(select(name)).rejects.toMatchObject({ code: 'ERR_INVALID_ARGUMENT' })
  })

  it('takes vfs by name', async () => {
    expect((await select('vfs')).driver.name).toBe('vfs')
  })
})
