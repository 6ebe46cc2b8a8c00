import { existsSync, readdirSync, readFileSync, rmSync, unlinkSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { openOverlay2, type Overlay2Driver } from '../../lib/driver/overlay2/driver.ts'
import { missing } from '../helpers/gates.ts'
import { streamOf } from '../../lib/driver-suite/streams.ts'
import { watchLeaks } from '../helpers/mounts.ts'
import { rawTar } from '../helpers/rawtar.ts'
import { type TempDir, tempDir } from '../helpers/temp-dir.ts'

const [BASE, MIDDLE, TOP] = ['a', 'b', 'c'].map((letter) => letter.repeat(64)) as [string, string, string]
const PARENTS = new Map<string, string | undefined>([
  [BASE, undefined],
  [MIDDLE, BASE],
  [TOP, MIDDLE],
])

describe.skipIf(missing('canMount', 'hasBinding'))('replace', () => {
  let temp: TempDir
  let home: string
  let driver: Overlay2Driver
  watchLeaks(() => [temp.path])

  beforeEach(async () => {
    temp = tempDir('replace')
    home = join(temp.path, 'overlay2')
    driver = openOverlay2(home, { durability: 'none' })
    await put(BASE, undefined, 'old base')
    await put(MIDDLE, BASE, 'old middle')
    await driver.createReadWrite(TOP, MIDDLE)
  })
  afterEach(() => temp[Symbol.dispose]())

  async function staged(name: string, content: string) {
    const layer = await driver.stage()
    await layer.apply(streamOf(rawTar([{ name, body: content }])))
    return layer
  }

  async function put(id: string, parent: string | undefined, content: string): Promise<void> {
    await (await staged(id.slice(0, 1), content)).commit(id, parent)
  }

  async function shown(): Promise<string[]> {
    const root = await driver.get(TOP)
    const contents = readdirSync(root).map((name) => readFileSync(join(root, name), 'utf8'))
    await driver.put(TOP)
    return contents
  }

  const linkOf = (id: string): string => readFileSync(join(home, id, 'link'), 'utf8')

  it('keeps the name that layers above go by, and puts the old one in the trash', async () => {
    const link = linkOf(BASE)
    await (await staged('a', 'new base')).replace(BASE, undefined)
    expect(linkOf(BASE)).toBe(link)
    expect(await shown()).toEqual(['new base', 'old middle'])
    expect(await driver.check(PARENTS)).toMatchObject([{ kind: 'trash' }])
    await driver.emptyTrash()
    expect(await driver.check(PARENTS)).toEqual([])
    expect(readdirSync(join(home, 'staging'))).toEqual([])
  })

  it('replaces one in the middle, on its own parent', async () => {
    await (await staged('b', 'new middle')).replace(MIDDLE, BASE)
    expect(await shown()).toEqual(['old base', 'new middle'])
    await driver.emptyTrash()
    expect(await driver.check(PARENTS)).toEqual([])
  })

  it('comes back in the place of one whose folder is gone', async () => {
    rmSync(join(home, MIDDLE), { recursive: true })
    await (await staged('b', 'new middle')).replace(MIDDLE, BASE)
    expect(await shown()).toEqual(['old base', 'new middle'])
    expect(await driver.check(PARENTS)).toEqual([])
  })

  it('finds the name where the folder has lost it', async () => {
    const link = linkOf(MIDDLE)
    unlinkSync(join(home, MIDDLE, 'link'))
    await (await staged('b', 'new middle')).replace(MIDDLE, BASE)
    expect(linkOf(MIDDLE)).toBe(link)
    expect(await shown()).toEqual(['old base', 'new middle'])
  })

  it('takes a new name where the old one is lost everywhere, for check to tell the others', async () => {
    const link = linkOf(BASE)
    unlinkSync(join(home, 'l', link))
    await (await staged('a', 'new base')).replace(BASE, undefined)
    await driver.emptyTrash()
    const problems = await driver.check(PARENTS)
    expect(problems.map(({ kind }) => kind)).toEqual(['wrong-lower', 'wrong-lower'])
    for (const { repair } of problems) await repair?.()
    expect(await shown()).toEqual(['new base', 'old middle'])
  })

  it('refuses a parent that is not there, and leaves the old one', async () => {
    const layer = await staged('b', 'new middle')
    await expect(layer.replace(MIDDLE, 'd'.repeat(64))).rejects.toMatchObject({ code: 'ERR_LAYER_NOT_FOUND' })
    await layer.discard()
    expect(await shown()).toEqual(['old base', 'old middle'])
    expect(existsSync(join(home, MIDDLE, 'committed'))).toBe(true)
    expect(await driver.check(PARENTS)).toEqual([])
  })
})
