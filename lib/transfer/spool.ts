/** Files without a name: what is spooled there is gone when its descriptor is, also after a crash. */
import { randomBytes } from 'node:crypto'
import { constants } from 'node:fs'
import { type FileHandle, mkdir, open, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { OverlaidError, hasCode } from '../errors.ts'
import { abortable } from '../tar/abortable.ts'

/** Linux's O_TMPFILE without its O_DIRECTORY bit, which differs between architectures; Node does not name it. */
const TMPFILE_BIT = 0o20000000

export interface SpoolOptions {
  /** A folder on the disk that may fill up. Made when missing. */
  readonly dir: string
  readonly maxBytes: number
  readonly signal?: AbortSignal | undefined
}

/**
 * Writes a stream to a file without a name. Returns the file, open for reading; the caller closes it.
 * @throws ERR_LIMIT_EXCEEDED, what the stream throws, and the file system's errors: ENOSPC. The signal's reason at
 *   once, also while the stream gives nothing: it may be a terminal
 */
export async function spool(
  stream: AsyncIterable<Buffer>,
  { dir, ...options }: SpoolOptions,
): Promise<FileHandle> {
  await mkdir(dir, { recursive: true, mode: 0o700 })
  const file = await openUnnamed(dir)
  const source = stream[Symbol.asyncIterator]()
  try {
    await copy(source, file, options)
    return file
  } catch (error) {
    // Not awaited: a source that waits for input ends when that comes.
    source.return?.().catch(() => undefined)
    await file.close()
    throw error
  }
}

async function copy(
  source: AsyncIterator<Buffer>,
  file: FileHandle,
  { maxBytes, signal }: Omit<SpoolOptions, 'dir'>,
): Promise<void> {
  signal?.throwIfAborted()
  let size = 0
  for (;;) {
    const next = await abortable(source.next(), signal)
    if (next.done === true) return
    size += next.value.length
    if (size > maxBytes) {
      throw new OverlaidError('ERR_LIMIT_EXCEEDED', `the archive has more than ${String(maxBytes)} bytes`)
    }
    await file.appendFile(next.value)
  }
}

/** A new file in `dir` that has no name there. */
export async function openUnnamed(dir: string, flag: number = TMPFILE_BIT): Promise<FileHandle> {
  try {
    return await open(dir, constants.O_RDWR | constants.O_DIRECTORY | flag, 0o600)
  } catch (error) {
    // EOPNOTSUPP: the file system has none (NFS, some FUSE). EISDIR: the kernel (before 3.11) did not see the flag.
    if (!hasCode(error, 'EOPNOTSUPP', 'EISDIR')) throw error
    return openAndUnlink(dir)
  }
}

async function openAndUnlink(dir: string): Promise<FileHandle> {
  const path = join(dir, `.spool-${randomBytes(8).toString('hex')}`)
  const file = await open(path, 'wx+', 0o600)
  try {
    await rm(path)
    return file
  } catch (error) {
    await file.close()
    throw error
  }
}
