/** Which driver a data root gets by its name or its state: nothing is tried, and nothing written. */
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

const onWarning = (message: string): never => {
  throw new Error(`unexpected warning: ${message}`)
}
const select = (name?: string, orderOf?: string) =>
  selectDriver(root, { durability: 'none', name, orderOf, onWarning })
/** A driver's folder with something in it. */
const state = (name: string): void => {
  mkdirSync(join(root, name), { recursive: true })
  writeFileSync(join(root, name, 'x'), '')
}
const vfsLayers = (): void => {
  state('vfs')
  state('image/vfs/layerdb/sha256')
}

describe('selectDriver', () => {
  it('leaves the choice for a root that is not there to the first change, and makes nothing', async () => {
    const { driver, choose } = await select()
    expect([driver.name, driver.home]).toEqual(['overlay2', join(root, 'overlay2')])
    expect(choose).toBeTypeOf('function')
    expect(readdirSync(temp.path)).toEqual([])
  })

  it('takes overlay2 where its state is, and by name; then there is nothing to choose', async () => {
    state('overlay2')
    for (const selection of [await select(), await select('overlay2')]) {
      expect(selection.driver.name).toBe('overlay2')
      expect(selection).not.toHaveProperty('choose')
    }
  })

  it.each(['btrfs', 'zfs', 'fuse-overlayfs'])(
    "never shows a root with %s's state as another's",
    async (name) => {
      state(name)
      expect((await select()).driver.name).toBe(name)
      expect((await select('overlay2')).driver.name).toBe('overlay2')
    },
  )

  it.each([
    ['aufs', 'deprecated in Docker 19.03, removed in 24.0'],
    ['overlay', 'deprecated in Docker 18.09, removed in 24.0'],
    ['devicemapper', 'deprecated in Docker 18.09, removed in 25.0'],
  ])('tells of %s when it went, and what to do', async (name, when) => {
    const refusal = {
      code: 'ERR_DRIVER_MISMATCH',
      message: expect.stringContaining(when) as string,
      hint: expect.stringMatching(new RegExp(`migrate --from ${name} .*\`docker save\``)) as string,
    }
    await expect(select(name)).rejects.toMatchObject(refusal)
    state(name)
    await expect(select()).rejects.toMatchObject(refusal)
    await expect(select(name)).rejects.toMatchObject(refusal)
  })

  it('does not see the state of a driver that is gone beside another, as Docker', async () => {
    state('aufs')
    state('overlay2')
    expect((await select()).driver.name).toBe('overlay2')
  })

  it('does not count folders that are empty, no folders, or vfs', async () => {
    mkdirSync(join(root, 'btrfs'), { recursive: true })
    writeFileSync(join(root, 'zfs'), '')
    state('vfs')
    expect(await select()).toMatchObject({
      driver: { name: 'overlay2' },
      choose: expect.any(Function) as unknown,
    })
  })

  it('counts layers kept with vfs where nothing else counts: they would be out of sight', async () => {
    vfsLayers()
    const selection = await select()
    expect(selection.driver.name).toBe('vfs')
    expect(selection).not.toHaveProperty('choose')
    state('overlay2')
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

  it.each(['', 'OVERLAY2', 'nonesuch', '../overlay2', '__proto__'])('knows no driver %j', async (name) => {
    await expect(select(name)).rejects.toMatchObject({ code: 'ERR_INVALID_ARGUMENT' })
  })

  it('takes vfs by name', async () => {
    expect((await select('vfs')).driver.name).toBe('vfs')
  })

  it('refuses the order of no release, also where it does not matter', async () => {
    state('overlay2')
    await expect(select(undefined, 'latest')).rejects.toMatchObject({ code: 'ERR_INVALID_ARGUMENT' })
  })
})
