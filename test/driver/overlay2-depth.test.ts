/** Chains as long as the kernel stacks them, and one more. */
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openOverlay2, type Overlay2Driver } from '../../lib/driver/overlay2/driver.ts'
import { bestRung } from '../../lib/native/rung.ts'
import { missing } from '../helpers/gates.ts'
import { collect, streamOf, listed } from '../../lib/driver-suite/streams.ts'
import { type LoopFileSystem, loopFileSystem } from '../helpers/loopfs.ts'
import { watchLeaks } from '../helpers/mounts.ts'

/** Layers in the longest image that still mounts by itself; its containers need two more below their own. */
const DEPTH = 500

describe.skipIf(missing('hasBinding', 'canMount'))('a chain of 500 layers', () => {
  let fs: LoopFileSystem
  let driver: Overlay2Driver
  const id = (depth: number): string => `layer-${depth.toString()}`

  beforeAll(async () => {
    fs = loopFileSystem('tmpfs')
    driver = openOverlay2(join(fs.dir, 'overlay2'), { durability: 'none' })
    for (let depth = 0; depth < DEPTH; depth++) {
      await driver.create(id(depth), depth === 0 ? undefined : id(depth - 1))
      writeFileSync(join(driver.home, id(depth), 'diff', `file-${depth.toString()}`), depth.toString())
      writeFileSync(join(driver.home, id(depth), 'diff', 'changed'), depth.toString())
    }
  })
  afterAll(() => {
    fs.dispose()
  })
  watchLeaks(() => [fs.dir])

  it('is mounted read-only, and read from the first to the last', async () => {
    if ((await bestRung()) === 'mount2') return
    const root = await driver.get(id(DEPTH - 1), { readOnly: true })
    try {
      expect(readdirSync(root)).toHaveLength(DEPTH + 1)
      expect(readFileSync(join(root, 'changed'), 'utf8')).toBe((DEPTH - 1).toString())
      expect(readFileSync(join(root, 'file-0'), 'utf8')).toBe('0')
    } finally {
      await driver.put(id(DEPTH - 1))
    }
  })

  it('is mounted writable as the lowers of one more, and what is written is packed and listed', async () => {
    if ((await bestRung()) === 'mount2') return
    await driver.createReadWrite('top', id(DEPTH - 1))
    const root = await driver.get('top')
    try {
      writeFileSync(join(root, 'changed'), 'by the container')
    } finally {
      await driver.put('top')
    }
    expect(await listed(driver.changes('top', id(DEPTH - 1)))).toEqual(['C /changed'])
    const tar = await collect(driver.diff('top', id(DEPTH - 1)))
    await using staged = await driver.stage()
    await staged.apply(streamOf(tar))
    expect(await staged.settle(id(DEPTH - 1))).toBe('by the container'.length)
    expect((await driver.metadata('top')).lowerdir).toHaveLength(DEPTH)
  })

  it('takes no 502nd, and says so before it makes anything', async () => {
    await driver.createReadWrite('edge', id(DEPTH - 1)).catch(() => undefined)
    const refusal = {
      code: 'ERR_CHAIN_TOO_DEEP',
      message: 'a layer over 501 others cannot be mounted: overlayfs stacks 500',
    }
    await expect(driver.createReadWrite('over', 'edge')).rejects.toMatchObject(refusal)
    expect(existsSync(join(driver.home, 'over'))).toBe(false)
    expect(existsSync(join(driver.home, 'edge/committed'))).toBe(false)
    expect(readdirSync(join(driver.home, 'staging'))).toEqual([])
  })

  it('is sound', async () => {
    const referenced = new Map<string, string | undefined>()
    for (const name of await driver.list()) referenced.set(name, await driver.parent(name))
    expect(await driver.check(referenced)).toEqual([])
  })
})
