/** The driver suite on a real pool. */
import { join } from 'node:path'
import { afterAll, beforeAll, describe } from 'vitest'
import { openZfs } from '../../lib/driver/zfs/driver.ts'
import { missing } from '../helpers/gates.ts'
import { command, makePool, type Pool } from '../helpers/zpool.ts'
import { driverSuite } from '../suites/driver-suite.ts'

describe.skipIf(missing('hasBinding', 'canMount', 'hasZfs'))('zfs', () => {
  let pool: Pool
  let count = 0
  beforeAll(() => {
    pool = makePool()
  })
  afterAll(() => {
    pool[Symbol.dispose]()
  })

  driverSuite({
    name: 'zfs',
    factory: () => {
      const root = `root-${String(count++)}`
      const home = join(pool.dataset(root), 'zfs')
      const open = () => openZfs(home, { durability: 'full' })
      return {
        driver: open(),
        reopen: open,
        dispose: () => void command('zfs', 'destroy', '-r', `${pool.name}/${root}`),
      }
    },
    supports: {
      readOnlyParents: false,
      lowerdirs: false,
      folders: false,
      maxDepth: 24,
      quota: true,
      idMaps: true,
    },
  })
})
