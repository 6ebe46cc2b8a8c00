/**
 * Whether a file system can carry this driver, found out before the home is made: by what it says of itself, by the
 * types in its directories, and by an overlay that is mounted on it and used.
 */
import { mkdirSync } from 'node:fs'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { hasCode, OverlaidError } from '../../errors.ts'
import { type Backing, describeBacking, deviceOf, hasEntryTypes, nearestExisting } from '../backing.ts'
import { hasFiletypeFeature } from '../ext-features.ts'
import { knownUnfit } from '../file-systems.ts'
import { isLayerID, layerFolder } from './layout.ts'
import { tryOverlay } from './probe.ts'
import { inProbeFolder } from '../home/probe-folder.ts'

/**
 * Checks that `home` can be the driver's home. Nothing is left behind, and where a look at what is there tells,
 * nothing is written.
 * @throws ERR_UNSUPPORTED_FS, ERR_UNSUPPORTED_KERNEL, ERR_NO_PRIVILEGE
 */
export async function verifySupport(home: string): Promise<void> {
  const backing = await describeBacking(home)
  refuseUnseen(home, backing)
  if (backing.dType === false || (await holdsOldFolders(home, backing)))
    throw await withoutTypes(home, backing)
  await inProbeFolder(nearestExisting(home), async (dir) => {
    mkdirSync(join(dir, 'entry'))
    if ((await hasEntryTypes(dir)) !== true) throw await withoutTypes(home, backing)
    await tryOverlay(dir, backing)
  })
}

/**
 * Whether layers are there whose folders have no types though new ones would: after `tune2fs -O filetype`, until
 * `e2fsck -fD` rewrote them. Only ext2/3/4 can be in that state; of the others the whole file system says it.
 */
async function holdsOldFolders(home: string, { name }: Backing): Promise<boolean> {
  if (name !== 'extfs') return false
  for (const id of (await namesIn(home)).filter(isLayerID)) {
    if ((await hasEntryTypes(layerFolder(join(home, id)).diff)) === false) return true
  }
  return false
}

async function namesIn(dir: string): Promise<string[]> {
  try {
    return await readdir(dir)
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return []
    throw error
  }
}

async function withoutTypes(home: string, backing: Backing): Promise<OverlaidError> {
  const found = await deviceOf(home)
  if (
    backing.name === 'extfs' &&
    found !== undefined &&
    hasFiletypeFeature(nearestExisting(home), found.device)
  )
    return oldFolders(home, found.device)
  const where = found === undefined ? '' : ` on ${found.device} (mounted at ${found.mountPoint})`
  return new OverlaidError(
    'ERR_UNSUPPORTED_FS',
    `overlay2 needs a file system whose directories keep file types (d_type); the ${backing.name}${where} has none`,
    { path: home, hint: remedyFor(backing.name, found?.device ?? 'DEV') },
  )
}

function remedyFor(name: string, device: string): string {
  if (name === 'xfs')
    return `make it anew with mkfs.xfs -n ftype=1 ${device}; an existing xfs cannot be changed`
  if (name !== 'extfs') return 'put the data root on ext4, xfs or btrfs'
  return `unmount it, tune2fs -O filetype ${device}, e2fsck -fD ${device}, and mount it again`
}

/** After `tune2fs -O filetype`: what is made from then on has types. */
function oldFolders(home: string, device: string): OverlaidError {
  return new OverlaidError(
    'ERR_UNSUPPORTED_FS',
    `overlay2 needs directories that keep file types (d_type); ${device} has them by now, but folders of ` +
      `${nearestExisting(home)} are of before and keep none`,
    { path: home, hint: `unmount it, e2fsck -fD ${device}, and mount it again` },
  )
}

function refuseUnseen(home: string, { magic }: Backing): void {
  const unfit = knownUnfit(Number(magic))
  if (unfit?.isCertain !== true) return
  throw new OverlaidError('ERR_UNSUPPORTED_FS', `overlay2 cannot use ${home}: ${unfit.why}`, {
    path: home,
    hint: unfit.remedy,
  })
}
