/** btrfs compared with two merged trees. */
import { describe } from 'vitest'
import { openBtrfs } from '../../lib/driver/btrfs/driver.ts'
import { missing } from '../helpers/gates.ts'
import { randomTrees } from '../suites/random-trees.ts'

describe.skipIf(missing('canLoop', 'hasBtrfs'))('on a loop device', () => {
  randomTrees({
    name: 'btrfs',
    open: (home) => openBtrfs(home, { durability: 'none' }),
    kind: 'btrfs',
    byContent: true,
    variants: [['as mounted by default', {}]],
  })
})
