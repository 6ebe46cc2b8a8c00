/**
 * The init layer: between an image and a container, so that what a runtime mounts over is there and never gets
 * into a commit.
 *
 * dockerd 20.10 to 29 make the same names (daemon/initlayer/setup_unix.go): a container whose init layer lacks one
 * of them would not start under dockerd.
 */
import { constants, lstatSync } from 'node:fs'
import { dirname } from 'node:path'
import { pathAt } from '../fs/walk.ts'
import { type FileOp, fileops } from '../native/file-op.ts'

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
  const plan = new Plan(rootFd)
  for (const entry of ENTRIES) plan.add(entry)
  await fileops(rootFd, plan.steps)
}

/** What is to be done, found out first so that it can be done in one call. Nobody else changes the root meanwhile. */
class Plan {
  readonly steps: FileOp[] = []
  readonly #rootFd: number
  /** Folders on the way that have been seen to, and whether they were there: what is not has nothing in it. */
  readonly #folders = new Map<string, boolean>()
  readonly #now = now()

  constructor(rootFd: number) {
    this.#rootFd = rootFd
  }

  add(entry: InitEntry): void {
    const parent = dirname(entry.path)
    const isThere = parent === '.' || this.#folder(parent)
    if (entry.type === 'dir') this.#makeFolder(entry.path, isThere)
    // A folder in the place of a file stays, too: moby's unlink fails on it and its stat then finds something.
    else if (!this.#clear(entry.path, isThere)) this.#makeLast(entry)
  }

  /** Whether the folder `path`, a name of the root, is there; it will be. */
  #folder(path: string): boolean {
    const known = this.#folders.get(path)
    if (known !== undefined) return known
    const isThere = this.#makeFolder(path, true)
    this.#folders.set(path, isThere)
    return isThere
  }

  #makeFolder(path: string, parentIsThere: boolean): boolean {
    const isThere = this.#clear(path, parentIsThere)
    const meta = { mode: constants.S_IFDIR | MODE, uid: 0, gid: 0, ...this.#now }
    if (!isThere) this.steps.push({ op: 'dir', path, ...meta })
    return isThere
  }

  #makeLast(entry: InitEntry): void {
    const { path } = entry
    const meta = { uid: 0, gid: 0, ...this.#now }
    if ('target' in entry) {
      this.steps.push({ op: 'symlink', path, target: entry.target, mode: constants.S_IFLNK | 0o777, ...meta })
    } else {
      this.steps.push({ op: 'file', path, data: [], mode: constants.S_IFREG | MODE, ...meta })
    }
  }

  /** Removes what is at `path` unless that is a folder; whether it is one. The folders above it are no links. */
  #clear(path: string, parentIsThere: boolean): boolean {
    if (!parentIsThere) return false
    const found = lstatSync(pathAt(this.#rootFd, Buffer.from(path)), { throwIfNoEntry: false })
    if (found?.isDirectory() === true) return true
    if (found !== undefined) this.steps.push({ op: 'remove', path })
    return false
  }
}

/** The time, as a step has it. */
export function now(): { mtimeSec: number; mtimeNsec: number } {
  const ms = Date.now()
  return { mtimeSec: Math.floor(ms / 1000), mtimeNsec: (ms % 1000) * 1_000_000 }
}
