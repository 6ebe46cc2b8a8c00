import { openFuseOverlayfs } from '../../lib/driver/fuse-overlayfs/driver.ts'
import { serversEnded } from '../helpers/fuse.ts'
import { randomTrees } from '../suites/random-trees.ts'

randomTrees({
  name: 'fuse-overlayfs',
  open: (home) => openFuseOverlayfs(home, { durability: 'none' }),
  byContent: false,
  // fuse-overlayfs 1.10 makes an empty file of the image's FIFO or device at the first step that changes it, which fails.
  met: ['EIO'],
  needs: ['canFuse'],
  settled: serversEnded,
  variants: [['as mounted by default', {}]],
})
