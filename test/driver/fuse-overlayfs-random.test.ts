import { openFuseOverlayfs } from '../../lib/driver/fuse-overlayfs/driver.ts'
import { serversEnded } from '../helpers/fuse.ts'
import { randomTrees } from '../suites/random-trees.ts'

randomTrees({
  name: 'fuse-overlayfs',
  open: (home) => openFuseOverlayfs(home, { durability: 'none' }),
  byContent: false,
  needs: ['canFuse'],
  settled: serversEnded,
  variants: [['as mounted by default', {}]],
})
