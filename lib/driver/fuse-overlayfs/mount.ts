/**
 * Mounts by fuse-overlayfs, as detached mounts. The program knows mount points only, so it gets one in a staging folder:
 *
 *     staging/<x>/mount made, locked with its folder        rubbish: the folder, for whoever gets its lock
 *     the program is started, and mounts there              rubbish, as before: the mount goes first
 *     open_tree(CLONE), the place unmounted and removed     nothing: the mount ends with its descriptor
 *
 * A process lives as long as a mount of its file system does, the clone among them. One that serves a writable mount
 * holds a lock on the layer's work folder by a descriptor that it inherits, so that the kernel says, to all processes
 * and until the very end, whether one is there: two on one upper directory would ruin it.
 *
 * Layers are named as from the home, the working directory of the program until it is mounted: short, and of characters
 * that need no escapes in its options, whatever the home is called.
 */
import { mkdirSync, openSync, readFileSync, realpathSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { hasCode, OverlaidError } from '../../errors.ts'
import { failpoint } from '../../fs/failpoint.ts'
import { openFolder, openFolderIfAny } from '../../fs/folder.ts'
import { binding } from '../../native/binding.ts'
import { OwnedFd } from '../../native/fd.ts'
import { mountGate } from '../../native/gate.ts'
import { cloneMount, type Detached, mountedAt, unmount } from '../../native/mount.ts'
import type { MountOptions } from '../driver.ts'
import { makeHome } from '../home/home.ts'
import { mountPlace, unmountPlace } from '../home/mount-place.ts'
import { makeStagingFolder, removeStagingFolder } from '../home/staging-folder.ts'
import { mountAttributes } from '../mount-attributes.ts'
import { fuseProgram, PROGRAM, start } from './program.ts'

/** Directories of one mount, top first, as they are named from the home. */
export interface FuseLayers {
  readonly lowers: readonly string[]
  /** Above a writable upper there is a work directory, on the same file system. */
  readonly upper?: string
  readonly work?: string
  /** The upper is limited in size, which is to bind the program and to be told to who writes. */
  readonly limited?: boolean
}

/**
 * Mounts. The caller owns the descriptor.
 * @throws ERR_NO_PROGRAM, ERR_MOUNT_FAILED, ERR_IN_USE when a process still serves the upper
 */
export async function mountFuse(home: string, layers: FuseLayers, options: MountOptions): Promise<Detached> {
  const program = fuseProgram()
  using work = layers.work === undefined ? undefined : await claimWork(join(home, layers.work))
  const staging = await makeStaging(home)
  const place = mountPlace(staging.path)
  const started = (): void => failpoint('driver.fuse-mount.before-clone')
  const keep = work === undefined ? {} : { keep: work.fd }
  const make = (): Promise<Detached> => mountAt({ program, home, place, layers, options, started, ...keep })
  try {
    mkdirSync(place, { mode: 0o700 })
    return await mountGate.run('begin', make, options.signal)
  } finally {
    await unmountPlace(staging.path)
    await removeStagingFolder(home, staging)
  }
}

/** A root that another program wrote has none yet. */
async function makeStaging(home: string): ReturnType<typeof makeStagingFolder> {
  try {
    return await makeStagingFolder(home)
  } catch (error) {
    if (!hasCode(error, 'ENOENT')) throw error
    await makeHome({ path: home, durability: 'none' })
    return makeStagingFolder(home)
  }
}

export interface FuseMount {
  readonly program: string
  readonly home: string
  /** An empty folder, at which nothing is mounted any more when this is done. */
  readonly place: string
  readonly layers: FuseLayers
  readonly options: MountOptions
  /** See StartOptions.keep. */
  readonly keep?: number
  /** Called when it is mounted at the place: for the caller's failpoint. */
  readonly started?: () => void
}

/** Mounts at a place, and gives that as a detached mount. @throws ERR_MOUNT_FAILED, ERR_INVALID_ARGUMENT (the home) */
export async function mountAt(mount: FuseMount): Promise<Detached> {
  const { home, place, options } = mount
  if (realpathSync(home).includes(':')) throw badName(home)
  await startAt(mount)
  try {
    mount.started?.()
    return await cloneMount(place, mountAttributes(options))
  } finally {
    // At once: whoever looks around in the mount table may have a file of it open.
    await unmount(place, { detach: true })
  }
}

/** It makes absolute names of ours, and takes a colon in them for the end of one. */
function badName(home: string): OverlaidError {
  const message = `${PROGRAM} cannot be used below a folder with a colon in its name: ${home}`
  return new OverlaidError('ERR_INVALID_ARGUMENT', message, {
    path: home,
    hint: 'take another folder as the data root',
  })
}

/**
 * In the foreground, so that it is our child: a daemon's end is for process 1 to wait for, which in a container may be
 * a program that does not. That it has mounted is to be seen at the place alone.
 */
async function startAt({ program, home, place, layers, options, keep }: FuseMount): Promise<void> {
  const said = `${place}.log`
  using output = new OwnedFd(openSync(said, 'wx', 0o600))
  const args = ['-f', '-o', optionString(layers, options), place]
  const { limited = false } = layers
  const kept = keep === undefined ? {} : { keep }
  const { end } = start(program, args, { cwd: home, output: output.fd, limited, ...kept })
  const ended = end.then((status) => ({ status }))
  for (let pause = 1; (await mountedAt(place)) === undefined; pause = Math.min(pause * 2, MAX_PAUSE)) {
    const result = await Promise.race([ended, sleep(pause)])
    if (result !== undefined) throw failed(result.status, readFileSync(said, 'utf8'), place)
  }
  rmSync(said)
}

/** In ms, of looking again whether it has mounted. */
const MAX_PAUSE = 16

/** Of no effect but that the event loop stays: the child is not waited for. */
function sleep(ms: number): Promise<undefined> {
  return new Promise((resolve) => setTimeout(resolve, ms, undefined))
}

/**
 * `dev`, since libfuse mounts nodev unless told. With `writeback`, the program's default, write(2) is done when the page
 * cache has the bytes, and only close(2) or fsync(2) say that the limit has no room for them, which few programs hear.
 * What a caller asked for otherwise is set on the clone.
 */
function optionString(
  { lowers, upper, work, limited = false }: FuseLayers,
  { volatile = false }: MountOptions,
): string {
  return [
    `lowerdir=${lowers.join(':')}`,
    ...(upper === undefined ? [] : [`upperdir=${upper}`]),
    ...(work === undefined ? [] : [`workdir=${work}`]),
    ...(volatile ? ['volatile'] : []),
    ...(limited ? ['writeback=0'] : []),
    'dev',
  ].join(',')
}

function failed(status: number | string, output: string, path: string): OverlaidError {
  const said = output
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('unknown argument ignored'))
  const words = said.length === 0 ? `it ended with ${String(status)} and said nothing` : said.join('; ')
  return new OverlaidError('ERR_MOUNT_FAILED', `${PROGRAM} could not mount: ${words}`, { path })
}

/**
 * Pauses before looking again whether a process has ended, in ms: it does so a moment after the kernel has unmounted,
 * and one whose mount is busy elsewhere does not.
 */
const PAUSES: readonly number[] = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512]

/** Locks a work folder for a process to come. @throws ERR_IN_USE */
async function claimWork(path: string): Promise<OwnedFd> {
  const fd = openFolder(path)
  if (await lockSoon(fd)) return fd
  fd.close()
  throw new OverlaidError('ERR_IN_USE', `a ${PROGRAM} process still serves a mount of this layer`, {
    path,
    hint: 'the mount was forced away while in use, or is in another mount namespace: end who uses it',
  })
}

/** Waits until no process serves the layer any more, as long as that is a matter of moments. */
export async function waitForEnd(work: string): Promise<void> {
  try {
    using fd = openFolder(work)
    await lockSoon(fd)
  } catch (error) {
    if (!hasCode(error, 'ENOENT')) throw error
  }
}

/** Whether a process serves a writable mount of the layer. */
export async function isServed(work: string): Promise<boolean> {
  using fd = openFolderIfAny(work)
  // Shared: whoever is about to mount is not kept from it by another who looks.
  return fd !== undefined && !(await binding.flock(fd.fd, 'read'))
}

async function lockSoon(fd: OwnedFd): Promise<boolean> {
  for (const pause of PAUSES) {
    if (await binding.flock(fd.fd, 'write')) return true
    await sleep(pause)
  }
  return binding.flock(fd.fd, 'write')
}
