/** Whether this machine can carry the driver: the program, the device, and a mount that is tried. */
import { closeSync, constants, openSync } from 'node:fs'
import { mkdir, readdir, rm, unlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type ErrorCode, hasCode, OverlaidError } from '../../errors.ts'
import { failpoint } from '../../fs/failpoint.ts'
import { describeBacking, nearestExisting } from '../backing.ts'
import { mountPlace } from '../home/mount-place.ts'
import { inProbeFolder } from '../home/probe-folder.ts'
import { tryRootFiles } from '../vfs/probe.ts'
import { mountAt } from './mount.ts'
import { fuseProgram, PROGRAM } from './program.ts'

const DEVICE = '/dev/fuse'

/** @throws ERR_NO_PROGRAM, ERR_UNSUPPORTED_KERNEL, ERR_NO_PRIVILEGE, ERR_UNSUPPORTED_FS */
export async function verifyFuse(home: string): Promise<void> {
  const program = fuseProgram()
  expectDevice()
  await inProbeFolder(nearestExisting(home), (dir) => tryMount(program, dir))
}

const REFUSALS: Readonly<Record<string, readonly [code: ErrorCode, words: string, hint: string]>> = {
  ENOENT: [
    'ERR_UNSUPPORTED_KERNEL',
    'is not there',
    'load the module: modprobe fuse; in a container, give it the device: --device /dev/fuse',
  ],
  ENODEV: ['ERR_UNSUPPORTED_KERNEL', 'has no driver in the kernel', 'load it: modprobe fuse'],
  // To root too: the devices of a container are chosen for it.
  EPERM: [
    'ERR_UNSUPPORTED_KERNEL',
    'is forbidden here',
    'in a container, give it the device: --device /dev/fuse',
  ],
  EACCES: ['ERR_NO_PRIVILEGE', 'may not be opened', 'run as root'],
}

function expectDevice(): void {
  try {
    closeSync(openSync(DEVICE, constants.O_RDWR))
  } catch (cause) {
    const found = Object.keys(REFUSALS).find((errno) => hasCode(cause, errno))
    const [code, words, hint] = REFUSALS[found ?? 'ENODEV'] ?? []
    if (code === undefined || words === undefined || hint === undefined) throw cause
    throw new OverlaidError(code, `${PROGRAM} needs ${DEVICE}, which ${words}`, { path: DEVICE, cause, hint })
  }
}

async function tryMount(program: string, dir: string): Promise<void> {
  const at = (name: string): string => join(dir, name)
  for (const name of ['lower', 'lower/gone', 'upper', 'work']) await mkdir(at(name))
  await mkdir(mountPlace(dir))
  await writeFile(at('lower/gone/file'), '')
  await writeFile(at('lower/file'), '')
  await tryRootFiles(at('upper'))
  try {
    await useMount(program, dir)
  } catch (cause) {
    if (hasCode(cause, 'ERR_INVALID_ARGUMENT')) throw cause
    const { name } = await describeBacking(dir)
    const why = cause instanceof Error ? `: ${cause.message}` : ''
    const code = hasCode(cause, 'EPERM', 'EACCES') ? 'ERR_NO_PRIVILEGE' : 'ERR_UNSUPPORTED_FS'
    const hint = code === 'ERR_NO_PRIVILEGE' ? 'run as root' : 'put the data root on ext4, xfs or btrfs'
    throw new OverlaidError(code, `${PROGRAM} does not work here, on ${name}${why}`, {
      path: dir,
      cause,
      hint,
    })
  }
}

/** Deletes a file, and a directory to make it again: two marks, in the form that the file system takes. */
async function useMount(program: string, dir: string): Promise<void> {
  const layers = { lowers: ['lower'], upper: 'upper', work: 'work' }
  const started = (): void => failpoint('driver.fuse-probe.before-clone')
  const { fd } = await mountAt({ program, home: dir, place: mountPlace(dir), layers, options: {}, started })
  try {
    const root = `/proc/self/fd/${fd.fd.toString()}`
    await unlink(join(root, 'file'))
    await rm(join(root, 'gone'), { recursive: true })
    await mkdir(join(root, 'gone'))
    const inside = await readdir(join(root, 'gone'))
    const names = await readdir(root)
    if (names.includes('file') || inside.length > 0) throw new Error('a deleted name stays visible')
  } finally {
    await fd.closeAsync()
  }
}
