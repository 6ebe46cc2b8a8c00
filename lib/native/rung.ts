/** Which way of mounting an overlay this kernel has: asked once in a process, without mounting anything. */
import { constants } from 'node:fs'
import { hasCode, type SyscallError } from '../errors.ts'
import { AT_FDCWD, binding, type Bytes } from './binding.ts'
import { OwnedFd } from './fd.ts'
import { FSOPEN, O_PATH } from './flags.ts'

/**
 * A way of mounting an overlay:
 * - `fds`: fsopen and a descriptor for each layer (6.13)
 * - `lowerdir+`: fsopen and a string for each layer (6.8)
 * - `mount2`: mount(2) with one option string
 */
export type Rung = 'fds' | 'lowerdir+' | 'mount2'

/** All rungs, best first. */
export const RUNGS: readonly Rung[] = ['fds', 'lowerdir+', 'mount2']

/** What a kernel without the call, the option or the right to it answers: it says "go one rung down". */
const REFUSALS = ['ENOSYS', 'EINVAL', 'EOPNOTSUPP', 'EBADF', 'EPERM', 'ENODEV'] as const

let known: Promise<Rung> | undefined

/** The best rung of the running kernel. */
export function bestRung(): Promise<Rung> {
  known ??= probeRung()
  return known
}

let takesClones: Promise<boolean> | undefined

/**
 * Whether overlayfs takes clones that are in no mount table as layers (6.15); only those can have their ids mapped.
 * `folders` are two that can be layers.
 * @throws SyscallError where ids cannot be mapped there at all
 */
export function takesMappedFds(cwd: Bytes, folders: readonly Bytes[], usernsFd: number): Promise<boolean> {
  takesClones ??= probeClones(cwd, folders, usernsFd)
  takesClones.catch(() => (takesClones = undefined))
  return takesClones
}

async function probeClones(cwd: Bytes, folders: readonly Bytes[], usernsFd: number): Promise<boolean> {
  if ((await bestRung()) !== 'fds') return false
  try {
    const layers = folders.map((path) => ({ key: 'lowerdir+', path, usernsFd }))
    const { fd } = await binding.fsmountConfigured('overlay', cwd, layers, 0)
    await new OwnedFd(fd).closeAsync()
    return true
  } catch (error) {
    if (hasCode(error, 'EINVAL') && (error as SyscallError).syscall === 'fsconfig') return false
    throw error
  }
}

async function accepts(call: Promise<unknown>): Promise<boolean> {
  try {
    await call
    return true
  } catch (error) {
    if (hasCode(error, ...REFUSALS)) return false
    throw error
  }
}

/** A file system context for overlay; undefined where it cannot be had. */
async function openContext(): Promise<OwnedFd | undefined> {
  try {
    return new OwnedFd(await binding.fsopen('overlay', FSOPEN.FSOPEN_CLOEXEC))
  } catch (error) {
    if (hasCode(error, ...REFUSALS)) return undefined
    throw error
  }
}

async function probeRung(): Promise<Rung> {
  using context = await openContext()
  if (context === undefined) return 'mount2'
  // Up to 6.4 a context of overlay only collects its options as text, whatever they are, and the errors come at
  // the end; one that takes nonsense is such a context, and mount(2) is the better way there (commas in names).
  if (await accepts(binding.fsconfigSetFlag(context.fd, 'overlaid-no-such-option'))) return 'mount2'
  using root = new OwnedFd(await binding.openat(AT_FDCWD, '/', O_PATH | constants.O_DIRECTORY, 0))
  if (await accepts(binding.fsconfigSetFd(context.fd, 'lowerdir+', root.fd))) return 'fds'
  return (await accepts(binding.fsconfigSetString(context.fd, 'lowerdir+', '/'))) ? 'lowerdir+' : 'mount2'
}
