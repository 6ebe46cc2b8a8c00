/** Whether a data root is on ZFS, and we may make datasets there, clone, mount and destroy them. */
import { basename } from 'node:path'
import { failpoint } from '../../fs/failpoint.ts'
import { nearestExisting } from '../backing.ts'
import { inProbeFolder, PROBE_PREFIX } from '../home/probe-folder.ts'
import { createDataset, destroyDataset } from './datasets.ts'
import { looseName } from './layout.ts'
import { mountDataset } from './mount.ts'
import { datasetOf, inodeOf } from './place.ts'

/** Tries it, where `home` is or will be. @throws ERR_UNSUPPORTED_FS, ERR_NO_PROGRAM, ERR_NO_PRIVILEGE */
export async function verifyZfs(home: string): Promise<void> {
  const existing = nearestExisting(home)
  const dataset = await datasetOf(existing)
  await inProbeFolder(existing, async (folder) => {
    const rest = basename(folder).slice(PROBE_PREFIX.length)
    const name = looseName({ dataset, owner: inodeOf(existing) }, 'probe', rest)
    await createDataset(name)
    try {
      failpoint('driver.zfs-probe.after-create')
      await (await mountDataset(name)).fd.closeAsync()
    } finally {
      await destroyDataset(name)
    }
  })
}
