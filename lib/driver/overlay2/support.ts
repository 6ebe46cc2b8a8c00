/**
 * Whether a file system can carry this driver, found out before the home is made: by what it says of itself, by the
 * types in its directories, and by an overlay that is mounted on it and used.
 */
import { mkdir, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { hasCode, OverlaidError } from '../../errors.ts'
import { type Backing, describeBacking, deviceOf, hasEntryTypes, nearestExisting } from '../backing.ts'
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
  if (backing.name === 'overlayfs') throw onOverlay(home)
  if (backing.dType === false || (await holdsOldFolders(home, backing)))
    throw await withoutTypes(home, backing)
  await inProbeFolder(nearestExisting(home), async (dir) => {
    await mkdir(join(dir, 'entry'))
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

async function withoutTypes(home: string, { name }: Backing): Promise<OverlaidError> {
  const found = await deviceOf(home)
  const device = found?.device ?? 'DEV'
  const where = found === undefined ? '' : ` on ${found.device} (mounted at ${found.mountPoint})`
  const remedy =
    name === 'xfs'
      ? `make it anew with mkfs.xfs -n ftype=1 ${device}; an existing xfs cannot be changed`
      : `unmount it, tune2fs -O filetype ${device}, e2fsck -fD ${device}, and mount it again`
  return new OverlaidError(
    'ERR_UNSUPPORTED_FS',
    `overlay2 needs a file system whose directories keep file types (d_type); the ${name}${where} has none`,
    {
      path: home,
      hint: name === 'xfs' || name === 'extfs' ? remedy : 'put the data root on ext4, xfs or btrfs',
    },
  )
}

function onOverlay(home: string): OverlaidError {
  return new OverlaidError(
    'ERR_UNSUPPORTED_FS',
    `${home} is on an overlay itself, and overlayfs cannot have its upper directory on an overlay`,
    { path: home, hint: 'inside a container, put the data root on a volume or a tmpfs' },
  )
}
