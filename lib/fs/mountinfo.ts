/**
 * The mount table of a process, from `/proc/<pid>/mountinfo`.
 *
 * Do not use this
 * - to ask whether a path is a mount point: two stats, or statx's STATX_ATTR_MOUNT_ROOT, answer in 2 µs where
 *   reading the table takes 39 ms with 10,000 mounts;
 * - to find one mount whose id is known: statmount(2) (6.8) reads it alone, and without a race;
 * - to see what a detached mount is: it is in no table;
 * - to check an overlay's lowers after mounting by fd: the text shows where the fds pointed, not what is there now;
 * - to compare options literally: the kernel adds some of its own (`uuid=on`) and spells others as it likes.
 * What is left: {@link findMount} on kernels whose statmount is missing or does not tell enough.
 */
import { readFile, realpath } from 'node:fs/promises'
import { hasCode } from '../errors.ts'
import { AT_FDCWD, binding, type MountInfo } from '../native/binding.ts'

/**
 * The mounts in the text of a mountinfo file, in its order. Lines that do not have the form are left out: the
 * kernel of CVE-2021-era cifs printed newlines unescaped, and a broken line must not hide the rest.
 *
 * @see https://man7.org/linux/man-pages/man5/proc_pid_mountinfo.5.html
 */
export function parseMountInfo(text: Uint8Array): MountInfo[] {
  // Latin-1: one character a byte, so that names that are not UTF-8 come out as they went in.
  return Buffer.from(text).toString('latin1').split('\n').flatMap(parseLine)
}

/**
 *     36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue
 *     (1)(2)(3)  (4)   (5)   (6)        (7)    (8) (9)  (10)      (11)
 *
 * (1) mount id (2) parent's id (3) major:minor of st_dev (4) root: the folder of the file system that is mounted
 * (5) mount point, seen from the process's root (6) options of the mount (7) optional fields, none or more
 * (8) a single hyphen ends them (9) type (10) source (11) options of the super block
 */
function parseLine(line: string): MountInfo[] {
  const fields = line.split(' ')
  const separator = fields.indexOf('-', 6)
  const [id, parentID, , root, mountPoint, options] = fields
  const [fsType, source, superOptions] = fields.slice(separator + 1)
  if (separator < 0 || !/^\d+$/.test(id ?? '') || !/^\d+$/.test(parentID ?? '')) return []
  if (root === undefined || mountPoint === undefined || options === undefined || fsType === undefined)
    return []
  return [
    {
      id: BigInt(id ?? 0),
      parentID: BigInt(parentID ?? 0),
      fsType,
      mountPoint: unescape(mountPoint),
      root: unescape(root),
      source: unescape(source ?? '').toString(),
      options,
      superOptions: superOptions ?? '',
    },
  ]
}

/** Undoes the kernel's octal escapes: space, tab, newline, backslash and `#` come as `\040` and the like. */
function unescape(field: string): Buffer {
  const latin1 = field.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(parseInt(octal, 8)))
  return Buffer.from(latin1, 'latin1')
}

/** Reads the mount table of this process, or of `pid`. */
export async function readMountInfo(pid: number | 'self' = 'self'): Promise<MountInfo[]> {
  return parseMountInfo(await readFile(`/proc/${pid.toString()}/mountinfo`))
}

/** The mount that `path` is on: the longest mount point that is a prefix of it, the topmost where several are. */
export function mountOf(mounts: readonly MountInfo[], path: Uint8Array): MountInfo | undefined {
  let best: MountInfo | undefined
  for (const mount of mounts) {
    if (isAtOrBelow(path, mount.mountPoint) && (best?.mountPoint.length ?? 0) <= mount.mountPoint.length)
      best = mount
  }
  return best
}

/**
 * The mount that `path` is on: by its unique id from statmount(2), without reading the table; before 6.8, or where
 * statmount does not tell the source (before 6.16), from the table.
 */
export async function findMount(path: string): Promise<MountInfo | undefined> {
  const { mountID, mountIDUnique } = await binding.statx(AT_FDCWD, path, 0)
  if (mountIDUnique) {
    const mount = await statmountIfThere(mountID)
    if (mount !== undefined && mount.source !== '') return mount
  }
  const mounts = await readMountInfo()
  return mounts.find(({ id }) => id === mountID) ?? mountOf(mounts, Buffer.from(await realpath(path)))
}

async function statmountIfThere(mountID: bigint): Promise<MountInfo | undefined> {
  try {
    return await binding.statmount(mountID)
  } catch (error) {
    // ENOENT: unmounted meanwhile. ENOSYS, EPERM: before 6.8, or kept away by seccomp.
    if (hasCode(error, 'ENOENT', 'ENOSYS', 'EPERM')) return undefined
    throw error
  }
}

const SLASH = 0x2f

/** Whether the absolute path `path` is `dir` or below it, by bytes. */
function isAtOrBelow(path: Uint8Array, dir: Uint8Array): boolean {
  const prefix = Buffer.from(dir)
  if (prefix.length === 1) return prefix[0] === SLASH
  if (!Buffer.from(path.subarray(0, prefix.length)).equals(prefix)) return false
  return path.length === prefix.length || path[prefix.length] === SLASH
}
