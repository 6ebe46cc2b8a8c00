/**
 * The driver's needs, each tried once on a real overlay in a temporary folder of the data root's file system: a
 * mount, a whiteout, an opaque directory, trusted xattrs. A file system may pass the kernel's own checks and then
 * corrupt quietly (9p, ramfs: the kernel mounts them with a line in its log, and rmdir says EIO later).
 */
import { mkdirSync, readdirSync, rmSync, unlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { hasCode, OverlaidError, type ErrorCode } from '../../errors.ts'
import { AT_FDCWD, binding } from '../../native/binding.ts'
import { AT, S } from '../../native/flags.ts'
import type { Backing } from '../backing.ts'
import { knownUnfit } from '../file-systems.ts'
import { mountOverlay } from './mount.ts'

/** Mounts and uses an overlay in `dir`. @throws ERR_UNSUPPORTED_FS, ERR_UNSUPPORTED_KERNEL, ERR_NO_PRIVILEGE */
export async function tryOverlay(dir: string, backing: Backing): Promise<void> {
  const at = (name: string): string => join(dir, name)
  await attempt('a whiteout device', backing, () =>
    binding.mknodat(AT_FDCWD, at('whiteout'), S.S_IFCHR, 0, 0),
  )
  await attempt('a trusted.* attribute', backing, () =>
    binding.lsetxattr(dir, 'trusted.overlaid.probe', Buffer.from('y'), 0),
  )
  for (const name of ['lower', 'lower/gone', 'upper', 'work']) mkdirSync(at(name))
  writeFileSync(at('lower/gone/file'), '')
  writeFileSync(at('lower/file'), '')
  await attempt('mounting an overlay', backing, () => useOverlay(dir))
  await expectMarks(at('upper'), backing)
}

/** Deletes a file, and a directory to make it again: the first leaves a whiteout, the second an opaque directory. */
async function useOverlay(dir: string): Promise<void> {
  const { fd } = await mountOverlay({ home: dir, lowers: ['lower'], upper: 'upper', work: 'work' })
  try {
    const root = `/proc/self/fd/${fd.fd.toString()}`
    unlinkSync(join(root, 'file'))
    rmSync(join(root, 'gone'), { recursive: true })
    mkdirSync(join(root, 'gone'))
    const names = readdirSync(root)
    if (names.join() !== 'gone') throw new Error(`a deleted name stays visible: ${names.join()}`)
  } finally {
    await fd.closeAsync()
  }
}

async function expectMarks(upper: string, backing: Backing): Promise<void> {
  const { mode, rdevMajor, rdevMinor } = await binding.statx(
    AT_FDCWD,
    join(upper, 'file'),
    AT.AT_SYMLINK_NOFOLLOW,
  )
  if ((mode & S.S_IFMT) !== S.S_IFCHR || rdevMajor !== 0 || rdevMinor !== 0) {
    throw refuse('ERR_UNSUPPORTED_FS', 'a whiteout device', backing, undefined)
  }
  const opaque = await binding.lgetxattr(join(upper, 'gone'), 'trusted.overlay.opaque')
  if (opaque?.toString() !== 'y')
    throw refuse('ERR_UNSUPPORTED_FS', 'an opaque directory', backing, undefined)
}

async function attempt(what: string, backing: Backing, work: () => Promise<void>): Promise<void> {
  try {
    await work()
  } catch (cause) {
    throw refuse(codeOf(cause, backing), what, backing, cause)
  }
}

/**
 * EPERM is the process's lack, ENODEV and ENOSYS the kernel's, anything else the file system's; so are all of them where
 * it is known for that: FAT says EPERM to mknod, FUSE passes on the ENOSYS of its program.
 */
function codeOf(cause: unknown, { magic }: Backing): ErrorCode {
  if (knownUnfit(Number(magic)) !== undefined) return 'ERR_UNSUPPORTED_FS'
  if (hasCode(cause, 'EPERM', 'EACCES')) return 'ERR_NO_PRIVILEGE'
  if (hasCode(cause, 'ENODEV', 'ENOSYS')) return 'ERR_UNSUPPORTED_KERNEL'
  return 'ERR_UNSUPPORTED_FS'
}

const HINTS: Partial<Record<ErrorCode, string>> = {
  ERR_NO_PRIVILEGE: 'run as root, or with CAP_SYS_ADMIN, CAP_MKNOD and CAP_DAC_OVERRIDE',
  ERR_UNSUPPORTED_KERNEL: 'the kernel has no overlayfs: try `modprobe overlay`',
  ERR_UNSUPPORTED_FS: 'put the data root on ext4, xfs or btrfs',
}

function refuse(code: ErrorCode, what: string, { name, magic }: Backing, cause: unknown): OverlaidError {
  const unfit = code === 'ERR_UNSUPPORTED_FS' ? knownUnfit(Number(magic)) : undefined
  const known = unfit === undefined ? '' : `${unfit.why}; `
  const why = cause instanceof Error ? `: ${cause.message}` : ''
  const hint = unfit?.remedy ?? HINTS[code]
  return new OverlaidError(code, `overlay2 does not work here: ${known}${what} failed on ${name}${why}`, {
    cause,
    ...(hint === undefined ? {} : { hint }),
  })
}
