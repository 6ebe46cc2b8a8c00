/** `overlaid probe` on FAT, which kernels for servers are often built without: here in the virtual machine's. */
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { run } from '../cli/support/host.ts'
import { closedBecause } from '../helpers/gates.ts'
import { loopFileSystem } from '../helpers/loopfs.ts'

// Nobody puts a data root on one: no reason to fail with CI=true.
it.skipIf(closedBecause('hasVfat') !== undefined)(
  'probe on FAT refuses every driver, and says why',
  async () => {
    using fs = loopFileSystem('vfat')
    const { status, stdout } = await run(['probe', fs.dir])
    expect(readdirSync(fs.dir)).toEqual([])
    const named = stdout.replaceAll(fs.dir, '/mnt').replaceAll(fs.device, '/dev/sdx')
    const text = named.replaceAll(/\.overlaid-probe-\w+/g, 'PROBE')
    // What fuse-overlayfs and zfs lack is the machine's, and comes first.
    const kept = text.replace(/^ (?:fuse-overlayfs|zfs): not usable\n(?: {2}.*\n)*/gm, '')
    await expect(`${kept}Exit status: ${String(status)}\n`).toMatchFileSnapshot(
      join(import.meta.dirname, '../fixtures/probe/vfat.txt'),
    )
  },
)
