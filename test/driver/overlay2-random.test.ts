import { openOverlay2 } from '../../lib/driver/overlay2/driver.ts'
import { randomTrees } from '../suites/random-trees.ts'

randomTrees({
  name: 'overlay2',
  open: (home) => openOverlay2(home, { durability: 'none' }),
  byContent: false,
  variants: [
    ['as mounted by default', {}],
    ['with redirect_dir', { redirectDir: true }],
    ['with metacopy', { metacopy: true }],
    ['with userxattr', { userxattr: true }],
  ],
})
