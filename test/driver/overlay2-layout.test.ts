/** The bytes and modes of the home: what dockerd finds there. */
import {
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { openOverlay2, type Overlay2Driver } from '../../lib/driver/overlay2/driver.ts'
import { missing } from '../helpers/gates.ts'
import { collect } from '../../lib/driver-suite/streams.ts'
import { type LoopFileSystem, loopFileSystem } from '../helpers/loopfs.ts'
import { watchLeaks } from '../helpers/mounts.ts'

const BASE = 'a'.repeat(64)
const MIDDLE = 'b'.repeat(64)
const INIT = `${'c'.repeat(64)}-init`
const TOP = 'c'.repeat(64)

describe.skipIf(missing('hasBinding', 'canMount'))('the overlay2 home', () => {
  let fs: LoopFileSystem
  let home: string
  let driver: Overlay2Driver
  let count = 0

  beforeAll(() => {
    fs = loopFileSystem('tmpfs')
  })
  afterAll(() => {
    fs.dispose()
  })
  watchLeaks(() => [fs.dir])
  beforeEach(async () => {
    const umask = process.umask(0o077)
    home = join(fs.dir, `root-${(count++).toString()}`, 'overlay2')
    driver = openOverlay2(home, { durability: 'full' })
    await driver.create(BASE, undefined)
    await driver.create(MIDDLE, BASE)
    await driver.createReadWrite(INIT, MIDDLE)
    await driver.createReadWrite(TOP, INIT)
    process.umask(umask)
  })

  const mode = (path: string): string =>
    (lstatSync(join(home, path)).mode & 0o7777).toString(8).padStart(4, '0')
  const text = (path: string): string => readFileSync(join(home, path), 'latin1')
  const link = (id: string): string => text(`${id}/link`)

  it('has the folders of moby and two of its own', () => {
    expect(readdirSync(home).sort()).toEqual([BASE, MIDDLE, TOP, INIT, 'l', 'staging', 'trash'])
    expect(['.', 'l', 'staging', 'trash'].map(mode)).toEqual(['0710', '0700', '0700', '0700'])
    expect([readdirSync(join(home, 'staging')), readdirSync(join(home, 'trash'))]).toEqual([[], []])
  })

  it('has in a base layer: diff, link, and committed once it has a child', () => {
    expect(readdirSync(join(home, BASE)).sort()).toEqual(['committed', 'diff', 'link'])
    expect(['', 'diff', 'link', 'committed'].map((name) => mode(join(BASE, name)))).toEqual([
      '0710',
      '0755',
      '0644',
      '0600',
    ])
    expect(text(`${BASE}/committed`)).toBe('')
  })

  it('has in any other: lower and work too', () => {
    for (const id of [MIDDLE, INIT]) {
      expect(readdirSync(join(home, id)).sort()).toEqual(['committed', 'diff', 'link', 'lower', 'work'])
      expect(['lower', 'work'].map((name) => mode(join(id, name)))).toEqual(['0644', '0700'])
    }
    expect(readdirSync(join(home, TOP)).sort()).toEqual(['diff', 'link', 'lower', 'work'])
  })

  it('names each diff by 26 characters in l/, and no newline anywhere', () => {
    const ids = [BASE, MIDDLE, INIT, TOP]
    for (const id of ids) {
      expect(link(id)).toMatch(/^[A-Z2-7]{26}$/)
      expect(readlinkSync(join(home, 'l', link(id)))).toBe(`../${id}/diff`)
    }
    expect(readdirSync(join(home, 'l')).sort()).toEqual(ids.map(link).sort())
  })

  it('says the whole chain in lower, nearest first', () => {
    expect(text(`${MIDDLE}/lower`)).toBe(`l/${link(BASE)}`)
    expect(text(`${INIT}/lower`)).toBe(`l/${link(MIDDLE)}:l/${link(BASE)}`)
    expect(text(`${TOP}/lower`)).toBe(`l/${link(INIT)}:l/${link(MIDDLE)}:l/${link(BASE)}`)
  })

  it('has merged while it is mounted and not after', async () => {
    expect(await driver.get(TOP)).toBe(join(home, TOP, 'merged'))
    await driver.put(TOP)
    expect(readdirSync(join(home, TOP))).not.toContain('merged')
  })

  it('makes the mount point 0700 under any umask', async () => {
    // Seen through the mount it has the root's own mode; so look at it once the mount is gone, by stopping a put.
    await driver.get(TOP)
    const { execFileSync } = await import('node:child_process')
    execFileSync('umount', [join(home, TOP, 'merged')])
    expect(mode(`${TOP}/merged`)).toBe('0700')
    await driver.get(TOP)
    await driver.put(TOP)
  })

  it('tells the folders as docker inspect does', async () => {
    expect(await driver.metadata(TOP)).toEqual({
      lowerdir: [join(home, INIT, 'diff'), join(home, MIDDLE, 'diff'), join(home, BASE, 'diff')],
      upperdir: join(home, TOP, 'diff'),
      workdir: join(home, TOP, 'work'),
      merged: join(home, TOP, 'merged'),
    })
    expect(await driver.metadata(BASE)).toEqual({
      lowerdir: [],
      upperdir: join(home, BASE, 'diff'),
      merged: join(home, BASE, 'merged'),
    })
  })

  it('reports what moby reports', async () => {
    expect(await driver.status()).toEqual([
      ['Backing Filesystem', 'tmpfs'],
      ['Supports d_type', 'true'],
      ['Using metacopy', 'false'],
      ['Native Overlay Diff', 'true'],
      ['userxattr', 'false'],
    ])
  })

  it('lists layers only', async () => {
    mkdirSync(join(home, '.overlaid-probe-abc'))
    writeFileSync(join(home, 'backingFsBlockDev'), '')
    writeFileSync(join(home, 'stray-file'), '')
    expect((await driver.list()).sort()).toEqual([BASE, MIDDLE, TOP, INIT])
  })

  it('takes the link along when a layer goes', async () => {
    const name = link(TOP)
    await driver.remove(TOP)
    expect(readdirSync(join(home, 'l'))).not.toContain(name)
    expect(readdirSync(join(home, 'trash'))).toHaveLength(1)
    await driver.emptyTrash()
    expect(readdirSync(join(home, 'trash'))).toEqual([])
  })

  it("leaves a link alone that is another layer's", async () => {
    writeFileSync(join(home, TOP, 'link'), link(BASE))
    await driver.remove(TOP)
    expect(readdirSync(join(home, 'l'))).toContain(link(BASE))
  })

  it.each(['l/../../../../etc', 'l/SHORT', '/etc', 'l/ABCDEFGHIJKLMNOPQRSTUVWXYZ,upperdir=/etc'])(
    'does not mount over a lower that says %s',
    async (lower) => {
      writeFileSync(join(home, TOP, 'lower'), lower)
      await expect(driver.get(TOP)).rejects.toMatchObject({ code: 'ERR_DAMAGED' })
      await expect(driver.open(TOP)).rejects.toMatchObject({ code: 'ERR_DAMAGED' })
      await expect(driver.create('child', TOP)).rejects.toMatchObject({ code: 'ERR_DAMAGED' })
      expect(readdirSync(join(home, TOP))).not.toContain('merged')
    },
  )

  it.each(['../../../../etc/passwd', 'short', ''])('does not build on a link that says %j', async (name) => {
    writeFileSync(join(home, TOP, 'link'), name)
    await expect(driver.create('child', TOP)).rejects.toMatchObject({ code: 'ERR_DAMAGED' })
    expect(await driver.list()).not.toContain('child')
  })

  it('does not follow an entry of l/ that leads out of the home', async () => {
    const entry = join(home, 'l', link(BASE))
    unlinkSync(entry)
    symlinkSync('/etc', entry)
    await expect(driver.parent(MIDDLE)).rejects.toMatchObject({ code: 'ERR_DAMAGED', path: entry })
    await expect(driver.metadata(TOP)).rejects.toMatchObject({ code: 'ERR_DAMAGED' })
  })

  it('mounts what dockerd up to 18.09 wrote: no committed, a merged for good', async () => {
    for (const id of [BASE, MIDDLE, INIT]) unlinkSync(join(home, id, 'committed'))
    for (const id of [MIDDLE, INIT, TOP]) mkdirSync(join(home, id, 'merged'), { mode: 0o700 })
    const root = await driver.get(TOP)
    writeFileSync(join(root, 'x'), 'x')
    await driver.put(TOP)
    expect((await collect(driver.diff(TOP, INIT))).subarray(0, 1).toString()).toBe('x')
  })
})
