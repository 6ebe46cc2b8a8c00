/** Why the size of a layer cannot be limited here, and the commands after which it can. */
import { OverlaidError } from '../../errors.ts'
import { describeBacking, deviceOf } from '../backing.ts'

/** The file system has no projects at all. */
export async function noProjects(home: string): Promise<OverlaidError> {
  const { name } = await describeBacking(home)
  return new OverlaidError(
    'ERR_UNSUPPORTED_FS',
    `the size of a container cannot be limited on ${name}: that takes the project quotas of ext4 or XFS`,
    { path: home, hint: `put the data root on ext4 or XFS, mounted with -o prjquota, ${orElse(name)}` },
  )
}

/** btrfs has quotas of another kind, which its own driver uses. */
function orElse(name: string): string {
  return name === 'btrfs' ? 'or use the driver btrfs, or leave the size out' : 'or leave the size out'
}

/** ext4 counts projects when it was made so, and enforces their limits when it is mounted so; XFS does both or none. */
export async function noProjectQuotas(
  home: string,
  { areCounted }: { readonly areCounted: boolean },
): Promise<OverlaidError> {
  const { name } = await describeBacking(home)
  if (name !== 'extfs' && name !== 'xfs') return noProjects(home)
  const found = await deviceOf(home)
  const [device, folder] = [found?.device ?? 'DEVICE', found?.mountPoint ?? 'FOLDER']
  const kind = name === 'xfs' ? 'XFS' : 'ext4'
  const turnOn = name === 'xfs' || areCounted ? [] : [`tune2fs -O quota,project -Q prjquota ${device}`]
  const commands = [`umount ${folder}`, ...turnOn, `mount -o prjquota ${device} ${folder}`]
  return new OverlaidError(
    'ERR_UNSUPPORTED_FS',
    `the size of a container cannot be limited: the ${kind} on ${device} (mounted at ${folder}) enforces no project quotas`,
    { path: home, hint: `${commands.join(' && ')}; ${name === 'xfs' ? XFS_NOTE : EXT4_NOTE}` },
  )
}

const XFS_NOTE =
  'a remount does not turn them on, and for / the kernel needs rootflags=prjquota on its command line (and CONFIG_XFS_QUOTA)'

const EXT4_NOTE =
  'a new one is made with mkfs.ext4 -O quota,project -E quotatype=prjquota DEVICE (the kernel needs CONFIG_QFMT_V2)'

/** What is renamed into such a folder, or out of a layer into the trash of one, would have to change its project. */
export function projectsHandedOn(home: string): OverlaidError {
  return new OverlaidError(
    'ERR_UNSUPPORTED_FS',
    `the size of a container cannot be limited: ${home} hands its own project on to all that is made in it`,
    { path: home, hint: `chattr -P ${home} ${home}/staging ${home}/trash, or leave the size out` },
  )
}
