/** Every step of the zfs driver, killed at and failed at: what is left is found, and goes. */
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openZfs } from '../../lib/driver/zfs/driver.ts'
import { failpoints } from '../fault/names.ts'
import { startChild } from '../helpers/child.ts'
import { missing } from '../helpers/gates.ts'
import { mountsBelow } from '../../lib/driver-suite/leaks.ts'
import { command, datasetsBelow, makePool, type Pool } from '../helpers/zpool.ts'
import { ID } from '../../lib/driver-suite/cases.ts'

/** A base and a layer on top of it, the base replaced, all that a container needs, and removal. */
const WORK = `
  const { openZfs } = await lib('driver/zfs/driver.js')
  const driver = openZfs(home, { durability: 'full' })
  const id = (digit) => digit.repeat(64)
  async function* empty() { yield Buffer.alloc(1024) }
  const staged = async (work) => {
    const layer = await driver.stage()
    try {
      await layer.apply(empty())
      await work(layer)
    } finally {
      await layer.discard()
    }
  }
  await staged((layer) => layer.commit(id('a'), undefined))
  await staged((layer) => layer.commit(id('b'), id('a')))
  await staged((layer) => layer.replace(id('a'), undefined))
  await driver.createReadWrite(id('c'), id('b'), { size: 1 << 26 })
  await driver.remove(id('c'))
  await driver.emptyTrash()
  say('done')`

describe.skipIf(missing('hasBinding', 'canMount', 'hasZfs'))('a failpoint on zfs', () => {
  let pool: Pool
  let count = 0
  beforeAll(() => {
    pool = makePool()
  })
  afterAll(() => {
    pool[Symbol.dispose]()
  })

  const names = failpoints().filter((name) => /^driver\.(zfs|zfs-probe|tree|tree-remove)\./.test(name))
  // What follows the rename of a folder.
  const reached = names.filter((name) => name !== 'driver.tree.before-sync')

  it.each(reached.flatMap((name) => [`${name}=kill`, `${name}=throw`]))('%s', async (setting) => {
    const root = `root-${String(count++)}`
    const home = join(pool.dataset(root), 'zfs')
    const dataset = `${pool.name}/${root}`
    {
      await using child = startChild(WORK, { home }, { OVERLAID_FAILPOINT: setting })
      await expect(child.heard()).rejects.toThrow(setting.endsWith('kill') ? 'SIGKILL' : 'failpoint')
    }
    expect(mountsBelow(home)).toEqual([])
    const driver = openZfs(home, { durability: 'full' })
    await driver.prepare()
    // What has a name is a layer that is whole; what else there is goes.
    for (let round = 0; round < 3; round++) {
      const problems = await driver.check(new Map((await driver.list()).map((id) => [id, undefined])))
      for (const { repair } of problems) await repair?.()
      if (problems.length === 0) break
    }
    await driver.emptyTrash()
    const ids = (await driver.list()).sort()
    expect(await driver.check(new Map(ids.map((id) => [id, undefined])))).toEqual([])
    for (const id of ids) {
      await driver.get(id)
      await driver.put(id)
    }
    // A replacement that was cut off is undone: a layer that others stand on does not get lost.
    if (ids.includes(ID('b'))) expect(ids).toContain(ID('a'))
    for (const id of ids) await driver.remove(id)
    await driver.emptyTrash()
    expect(datasetsBelow(dataset)).toEqual([])
    command('zfs', 'destroy', '-r', dataset)
  })
})
