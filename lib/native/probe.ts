/**
 * What this kernel and file system can do, each thing found by trying it once: never by a version, since
 * distributions carry features back (fsync=volatile is in 6.12.117 and 6.18.44, and not in 6.16). What a trial
 * makes is removed, and nothing is ever mounted where anybody could see it.
 */
import { constants } from 'node:fs'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { AT_FDCWD, binding, type FsParameter, type NewMount } from './binding.ts'
import { OwnedFd } from './fd.ts'
import { DT, LSMT_ROOT, S } from './flags.ts'
import { cloneMount } from './mount.ts'
import { bestRung } from './rung.ts'

/** Each by its name in `overlaid info`. */
export interface Capabilities {
  /** fsopen(2), fsconfig(2), fsmount(2); 5.2. */
  readonly fsopen: boolean
  /** A layer by a `lowerdir+` string; 6.8. */
  readonly lowerdirPlus: boolean
  /** A layer by descriptor; 6.13. */
  readonly layerFds: boolean
  /** A mount that is in no mount table, by open_tree(2); 5.2. */
  readonly detachedMounts: boolean
  /** mount_setattr(2); 5.12. */
  readonly mountSetattr: boolean
  /** statmount(2) and listmount(2); 6.8. */
  readonly statmount: boolean
  /** openat2(2); 5.6, and not forbidden by a seccomp filter. */
  readonly openat2: boolean
  /** An overlay with an upper mounts in the folder that was asked about. */
  readonly overlay: boolean
  /** Overlay options that an overlay there takes. */
  readonly userxattr: boolean
  readonly volatile: boolean
  readonly metacopy: boolean
  readonly redirectDir: boolean
  readonly index: boolean
  readonly xino: boolean
  /** Directory entries have their type there. */
  readonly dType: boolean
  /** A character device 0:0 can be made there. */
  readonly whiteout: boolean
  readonly trustedXattr: boolean
  readonly userXattr: boolean
}

/** The folder of a trial, and its path. */
type Trial = (dir: string) => Promise<unknown>

const TRIALS: Readonly<Record<keyof Capabilities, Trial>> = {
  fsopen: () => tryFsopen(),
  lowerdirPlus: async () => expect((await bestRung()) !== 'mount2'),
  layerFds: async () => expect((await bestRung()) === 'fds'),
  detachedMounts: async (dir) => (await cloneMount(dir)).fd.closeAsync(),
  mountSetattr: async (dir) => (await cloneMount(dir, 0x01)).fd.closeAsync(),
  statmount: () => binding.listmount(LSMT_ROOT),
  openat2: () => tryOpenat2(),
  overlay: (dir) => tryOverlay(dir, []),
  userxattr: (dir) => tryOverlay(dir, [{ key: 'userxattr' }]),
  volatile: (dir) => tryOverlay(dir, [{ key: 'volatile' }]),
  metacopy: (dir) => tryOverlay(dir, [{ key: 'metacopy', value: 'on' }]),
  redirectDir: (dir) => tryOverlay(dir, [{ key: 'redirect_dir', value: 'on' }]),
  index: (dir) => tryOverlay(dir, [{ key: 'index', value: 'on' }]),
  xino: (dir) => tryOverlay(dir, [{ key: 'xino', value: 'on' }]),
  dType: (dir) => tryTypes(dir),
  whiteout: (dir) => binding.mknodat(AT_FDCWD, join(dir, 'whiteout'), S.S_IFCHR, 0, 0),
  trustedXattr: (dir) => binding.lsetxattr(dir, 'trusted.overlaid', Buffer.from('y'), 0),
  userXattr: (dir) => binding.lsetxattr(dir, 'user.overlaid', Buffer.from('y'), 0),
}

/**
 * Tries everything in a new folder below `parent`, which is removed again. What cannot be tried, since the process
 * has not the right to, is false: it is what this process can do that counts.
 */
export async function probeCapabilities(parent: string): Promise<Capabilities> {
  const result = {} as Record<keyof Capabilities, boolean>
  for (const name of Object.keys(TRIALS) as (keyof Capabilities)[]) {
    result[name] = await inFolder(parent, TRIALS[name])
  }
  return result
}

/** Whether `trial` succeeds in a folder of its own. A refusal is an errno; anything else is a bug and is thrown. */
async function inFolder(parent: string, trial: Trial): Promise<boolean> {
  let dir: string | undefined
  try {
    dir = await mkdtemp(join(parent, '.overlaid-probe-'))
    await trial(dir)
    return true
  } catch (error) {
    if (error instanceof Error && ('errno' in error || error === REFUSED)) return false
    throw error
  } finally {
    if (dir !== undefined) await rm(dir, { recursive: true, force: true })
  }
}

/** A trial that ended without an errno and yet says no. */
const REFUSED = new Error('not there')

function expect(condition: boolean): void {
  if (!condition) throw REFUSED
}

async function tryFsopen(): Promise<void> {
  new OwnedFd(await binding.fsopen('overlay', 0)).close()
}

/** openInRoot has a fallback, so the call itself is asked. */
async function tryOpenat2(): Promise<void> {
  new OwnedFd(await binding.openat2(AT_FDCWD, '/', { flags: constants.O_DIRECTORY })).close()
}

async function tryTypes(dir: string): Promise<void> {
  await writeFile(join(dir, 'file'), '')
  using fd = new OwnedFd(await binding.openat(AT_FDCWD, dir, constants.O_DIRECTORY, 0))
  const [entry] = await binding.getdents64(fd.fd)
  expect(entry?.type === DT.DT_REG)
}

/** Mounts an overlay of two new lowers, a new upper and `options`, in no mount table, and drops it. */
async function tryOverlay(dir: string, options: readonly FsParameter[]): Promise<void> {
  for (const name of ['lower', 'upper', 'work']) await mkdir(join(dir, name))
  const viaString = (await bestRung()) === 'mount2'
  const { fd } = await (viaString ? tryString(dir, options) : tryContext(dir, options))
  await new OwnedFd(fd).closeAsync()
}

function tryContext(dir: string, options: readonly FsParameter[]): Promise<NewMount> {
  const directory = (key: string, path: string): FsParameter => ({ key, path, byName: true })
  const layers = [
    directory('lowerdir+', 'lower'),
    directory('upperdir', 'upper'),
    directory('workdir', 'work'),
  ]
  return binding.fsmountConfigured('overlay', dir, [...options, ...layers], 0)
}

function tryString(dir: string, options: readonly FsParameter[]): Promise<NewMount> {
  const words = options.map((option) =>
    'value' in option ? `${option.key}=${String(option.value)}` : option.key,
  )
  const data = ['upperdir=upper', 'workdir=work', ...words, 'lowerdir=lower'].join(',')
  return binding.mountDetached(dir, 'overlay', dir, 'overlay', 0, data)
}
