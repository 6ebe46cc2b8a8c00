/**
 * Small durable writes: what a crash leaves is the old state or the new one, and a temporary name beside it.
 *
 * The order is always the same: write under a temporary name in the same folder → fsync the file → rename → fsync
 * the folder. Without the first fsync a power cut can leave the new name on an empty file (the empty `link` files of
 * moby#44909 and podman#5986); without the second it can bring the old name back.
 *
 * Folders are made in the calling thread, and without a sync to wait for (durability `none`) so are small writes: these
 * are calls of a few µs, and a turn of the pool for each would cost ten times as much.
 */
import { randomBytes } from 'node:crypto'
import { chmodSync, closeSync, fchmodSync, mkdirSync, openSync, renameSync, writeFileSync } from 'node:fs'
import { open, rename, rm } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { hasCode } from '../errors.ts'

/** How much a store syncs: `full` survives a power cut, `none` only the death of the process. */
export type Durability = 'full' | 'none'

/** Bytes that are copied into the page cache sooner than another thread is woken for it. */
const SMALL = 65536

/** What temporary names begin with; moby's atomicwriter uses the same, so both stores' leftovers look alike. */
export const TEMP_PREFIX = '.tmp-'

export interface DurableOptions {
  readonly durability: Durability
}

export interface ModeOptions extends DurableOptions {
  /** Permission bits, exact whatever the umask. */
  readonly mode: number
}

export interface AtomicWriteOptions extends ModeOptions {
  /** Called when the temporary file is complete: the place for the caller's failpoint. */
  readonly beforeRename?: () => void
}

/**
 * Writes `data` to `path` so that a reader sees the old content or the new, never a part. On failure the temporary
 * file is removed and `path` is as before.
 */
export async function writeFileAtomic(
  path: string,
  data: string | Uint8Array,
  options: AtomicWriteOptions,
): Promise<void> {
  const temp = join(dirname(path), `${TEMP_PREFIX}${basename(path)}${randomBytes(6).toString('hex')}`)
  try {
    await writeNew(temp, data, options)
    options.beforeRename?.()
    await renameNamed(temp, path, options)
  } catch (error) {
    await removeQuietly(temp)
    throw error
  }
  await fsyncDir(dirname(path), options)
}

/** Writes a file that must not exist yet, in place: for files of a folder that is renamed as a whole later. */
export async function writeNew(path: string, data: string | Uint8Array, options: ModeOptions): Promise<void> {
  if (options.durability === 'none' && data.length <= SMALL) return writeNewNow(path, data, options.mode)
  const file = await open(path, 'wx', 0o600)
  try {
    await file.writeFile(data)
    // After the write: a reader that may open it finds it whole. fchmod, because open's mode goes through the umask.
    await file.chmod(options.mode)
    if (options.durability === 'full') await file.sync()
  } finally {
    await file.close()
  }
}

/** What is synced after it waits for the pool anyway. */
async function renameNamed(from: string, to: string, { durability }: DurableOptions): Promise<void> {
  if (durability === 'none') renameSync(from, to)
  else await rename(from, to)
}

/** The first error counts; a temporary file that stays is rubbish that gc names. */
async function removeQuietly(path: string): Promise<void> {
  try {
    await rm(path, { force: true })
  } catch {
    // Any errno: the same fault (EROFS, EIO) that the caller is about to report.
  }
}

/** As {@link writeNew}, in the calling thread and without a sync: for a few bytes of a folder that is being made. */
export function writeNewNow(path: string, data: string | Uint8Array, mode: number): void {
  const fd = openSync(path, 'wx', 0o600)
  try {
    writeFileSync(fd, data)
    fchmodSync(fd, mode)
  } finally {
    closeSync(fd)
  }
}

/** As {@link mkdirDurable}, in the calling thread and without a sync. @throws EEXIST */
export function mkdirExactly(path: string, mode: number): void {
  // mkdir's own mode goes through the umask; 0700 until then, so that nobody looks in before the mode is right.
  mkdirSync(path, { mode: 0o700 })
  chmodSync(path, mode)
}

/** Makes the names in a folder durable. */
export async function fsyncDir(path: string, { durability }: DurableOptions): Promise<void> {
  if (durability === 'full') await fsyncPath(path)
}

/** Makes a file's content, or a folder's names, durable. */
export async function fsyncPath(path: string): Promise<void> {
  const file = await open(path, 'r')
  try {
    await file.sync()
  } finally {
    await file.close()
  }
}

/** Makes one folder with exactly this mode. Returns false, and changes nothing, where `path` exists already. */
export async function mkdirDurable(path: string, options: ModeOptions): Promise<boolean> {
  try {
    mkdirExactly(path, options.mode)
  } catch (error) {
    if (hasCode(error, 'EEXIST')) return false
    throw error
  }
  await fsyncDir(dirname(path), options)
  return true
}

/** Makes `path` and the folders above it that are missing, each with `options.mode`. */
export async function mkdirsDurable(path: string, options: ModeOptions): Promise<void> {
  try {
    await mkdirDurable(path, options)
  } catch (error) {
    if (!hasCode(error, 'ENOENT') || dirname(path) === path) throw error
    await mkdirsDurable(dirname(path), options)
    await mkdirDurable(path, options)
  }
}

/** Renames and makes both folders' names durable, the new one first: a crash between shows both, never neither. */
export async function renameDurable(from: string, to: string, options: DurableOptions): Promise<void> {
  await renameNamed(from, to, options)
  await fsyncDir(dirname(to), options)
  if (dirname(from) !== dirname(to)) await fsyncDir(dirname(from), options)
}
