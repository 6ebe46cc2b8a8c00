/**
 * The init layer: between an image and a container, so that what a runtime mounts over is there and never gets
 * into a commit.
 *
 * dockerd 20.10 to 29 make the same names (daemon/initlayer/setup_unix.go): a container whose init layer lacks one
 * of them would not start under dockerd.
 */
import { closeSync, constants, openSync } from 'node:fs'
import { hasCode } from '../errors.ts'
import { pathAt } from '../fs/walk.ts'
import { binding } from '../native/binding.ts'
import { fileops } from '../native/file-op.ts'

type InitEntry =
  | { readonly path: string; readonly type: 'dir' | 'file' }
  | { readonly path: string; readonly type: 'symlink'; readonly target: string }

const ENTRIES: readonly InitEntry[] = [
  { path: '.dockerenv', type: 'file' },
  { path: 'dev/console', type: 'file' },
  { path: 'dev/pts', type: 'dir' },
  { path: 'dev/shm', type: 'dir' },
  { path: 'etc/hostname', type: 'file' },
  { path: 'etc/hosts', type: 'file' },
  { path: 'etc/mtab', type: 'symlink', target: '/proc/mounts' },
  { path: 'etc/resolv.conf', type: 'file' },
  { path: 'proc', type: 'dir' },
  { path: 'sys', type: 'dir' },
]

/** moby makes files and folders alike 0755. */
const MODE = 0o755

/**
 * Makes the init layer's entries in the mounted root `rootFd`, owned by root. Whatever non-folder stands at one of
 * the paths or on the way to it is removed first, as moby does: an image's `/etc/resolv.conf`, also one that is a
 * symlink, gives way to an empty file, and a link at `/dev` cannot lead anywhere (CVE-2026-41579 is that link).
 * Folders that are there stay as they are.
 */
export async function setupInitLayer(rootFd: number): Promise<void> {
  for (const entry of ENTRIES) await makeEntry(rootFd, entry)
}

async function makeEntry(rootFd: number, entry: InitEntry): Promise<void> {
  const names = entry.path.split('/')
  const last = names.pop() ?? ''
  let fd = openDirectory(rootFd, '.')
  try {
    for (const name of names) {
      await makeDirectory(fd, name)
      const below = openDirectory(fd, name)
      closeSync(fd)
      fd = below
    }
    await makeLast(fd, last, entry)
  } finally {
    closeSync(fd)
  }
}

async function makeLast(fd: number, name: string, entry: InitEntry): Promise<void> {
  if (entry.type === 'dir') return makeDirectory(fd, name)
  // A folder in the place of a file stays, too: moby's unlink fails on it and its stat then finds something.
  if (!(await clear(fd, name))) return
  const path = Buffer.from(name)
  const meta = { uid: 0, gid: 0, ...now() }
  if ('target' in entry) {
    const target = Buffer.from(entry.target)
    await fileops(fd, [{ op: 'symlink', path, target, mode: constants.S_IFLNK | 0o777, ...meta }])
  } else {
    await fileops(fd, [{ op: 'file', path, data: [], mode: constants.S_IFREG | MODE, ...meta }])
  }
}

function now(): { mtimeSec: number; mtimeNsec: number } {
  const ms = Date.now()
  return { mtimeSec: Math.floor(ms / 1000), mtimeNsec: (ms % 1000) * 1_000_000 }
}

/** Makes sure that `name` is a folder: one that is there is kept, anything else is replaced. */
async function makeDirectory(fd: number, name: string): Promise<void> {
  if (!(await clear(fd, name))) return
  await fileops(fd, [
    { op: 'dir', path: Buffer.from(name), mode: constants.S_IFDIR | MODE, uid: 0, gid: 0, ...now() },
  ])
}

/** Unlinks `name` unless it is a folder; whether nothing is there now. */
async function clear(fd: number, name: string): Promise<boolean> {
  try {
    await binding.unlinkat(fd, name, 0)
    return true
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return true
    // Linux's answer for a folder (POSIX has EPERM, which here means an immutable file: an error).
    if (hasCode(error, 'EISDIR')) return false
    throw error
  }
}

function openDirectory(fd: number, name: string): number {
  return openSync(
    pathAt(fd, Buffer.from(name)),
    constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW,
  )
}
