/** Every attack of the table, through unpacking and settling, on both ways of resolving paths. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { binding } from '../../lib/native/binding.ts'
import { attacks } from '../fixtures/tar/attacks.ts'
import { missing } from '../helpers/gates.ts'
import { LayerLab } from '../helpers/layers.ts'
import { watchLeaks } from '../helpers/mounts.ts'
import { dumpTree } from '../../lib/driver-suite/tree.ts'

/** Made before the tests are, since the table needs its name; long enough ago that a changed time would show. */
const out = mkdtempSync(join(tmpdir(), 'overlaid-outside-'))

describe.skipIf(missing('hasBinding', 'canMount', 'canMknod', 'canTrustedXattr'))('a hostile layer', () => {
  let lab: LayerLab
  let outside: string[]
  beforeAll(() => {
    mkdirSync(join(out, 'sub'))
    writeFileSync(join(out, 'canary'), 'alive', { mode: 0o640 })
    lab = new LayerLab()
    writeFileSync(join(lab.fs.dir, 'canary'), 'alive too', { mode: 0o640 })
  })
  afterAll(() => {
    lab[Symbol.dispose]()
    rmSync(out, { recursive: true })
  })
  watchLeaks(() => [])

  /** The folder outside, and what lies beside the layers. */
  const surroundings = async (): Promise<string[]> => {
    const beside = await dumpTree(lab.fs.dir, {
      skip: (path) => path.toString().startsWith('root-'),
      root: false,
    })
    return [...(await dumpTree(out)), ...beside]
  }
  beforeEach(async () => {
    outside = await surroundings()
  })

  const ways = [
    { way: 'openat2', openat2: true },
    { way: 'component by component', openat2: false },
  ]
  describe.each(ways)('with paths resolved by $way', ({ openat2 }) => {
    let before: boolean
    beforeAll(() => {
      before = binding.setOpenat2(openat2)
    })
    afterAll(() => {
      binding.setOpenat2(before)
    })
    afterEach(async () => {
      expect(await surroundings()).toEqual(outside)
    })

    it.each(attacks(out).map((attack) => [attack.name, attack] as const))('%s', async (_name, attack) => {
      const merging = lab.merged([...(attack.below ?? []), attack.layer], { mtime: false })
      if (typeof attack.expect === 'string')
        await expect(merging).rejects.toMatchObject({ code: attack.expect })
      else expect(briefly((await merging).lines)).toEqual([...attack.expect].sort())
    })
  })
})

/** `path type`, and hard links as `path = first path`. */
function briefly(lines: readonly string[]): string[] {
  const brief = lines.slice(1).map((line) => {
    const [path = '', type = ''] = line.split(' ')
    const first = / same-as=(\S+)$/.exec(line)?.[1]
    return first === undefined ? `${path} ${type}` : `${path} = ${first}`
  })
  return brief.sort()
}
