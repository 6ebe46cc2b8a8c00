/** Archives in and out: from `-i` or stdin, to `-o` or stdout. */
import { randomBytes } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { open, realpath, rename, rm, stat } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { addAbortSignal } from 'node:stream'
import type { TarStream } from '../driver/tar-stream.ts'
import { OverlaidError, hasCode } from '../errors.ts'
import type { Context } from './verb.ts'

/** Bytes read at a time; the unpacking pipeline's own chunk. */
const CHUNK_BYTES = 1 << 20

/** stdin as the archive. Aborting ends the wait for its next byte. @throws ERR_INVALID_ARGUMENT on a terminal */
export function readStdin({ host, signal }: Context): AsyncIterable<Buffer> {
  const stdin = host.stdin()
  if (stdin.isTTY === true) {
    throw new OverlaidError('ERR_INVALID_ARGUMENT', 'refusing to read an archive from the terminal', {
      hint: 'name a file with -i, or redirect stdin',
    })
  }
  return addAbortSignal(signal, stdin)
}

/** The archive in `file`, or on stdin when there is none. */
export function readArchive(context: Context, file: string | undefined): AsyncIterable<Buffer> {
  if (file === undefined) return readStdin(context)
  return createReadStream(file, { highWaterMark: CHUNK_BYTES, signal: context.signal })
}

/**
 * Refuses to write an archive to a terminal. Verbs call it before they open the store.
 *
 * @throws ERR_INVALID_ARGUMENT
 */
export function checkDestination({ out }: Context, file: string | undefined): void {
  if (file !== undefined || !out.isTerminal) return
  throw new OverlaidError('ERR_INVALID_ARGUMENT', 'refusing to write an archive to the terminal', {
    hint: 'name a file with -o, or redirect stdout',
  })
}

/** Writes `chunks` to `file`, whole or not at all, or to stdout when there is none. */
export async function writeArchive(
  context: Context,
  file: string | undefined,
  chunks: AsyncIterable<Buffer>,
): Promise<void> {
  if (file !== undefined) return await writeFileWhole(file, chunks)
  for await (const chunk of chunks) await context.out.write(chunk)
}

async function writeFileWhole(file: string, chunks: AsyncIterable<Buffer>): Promise<void> {
  const target = await destination(file)
  // A device or a fifo is written to: renaming over it would put a file in its place.
  if (!target.replace) return await fill(target.path, 'w', chunks)
  const temp = join(dirname(target.path), `.${basename(target.path)}.${randomBytes(6).toString('hex')}.tmp`)
  try {
    // 0600 as docker save has it: an image may hold what is not for everybody.
    await fill(temp, 'wx', chunks)
    await rename(temp, target.path)
  } catch (error) {
    await rm(temp, { force: true })
    throw error
  }
}

/** Where `file` leads (a symlink stays one) and whether it is for replacing: not there, or a regular file. */
async function destination(file: string): Promise<{ path: string; replace: boolean }> {
  try {
    const facts = await stat(file)
    return { path: await realpath(file), replace: facts.isFile() }
  } catch (error) {
    if (!hasCode(error, 'ENOENT')) throw error
    return { path: file, replace: true }
  }
}

async function fill(path: string, flags: 'w' | 'wx', chunks: AsyncIterable<Buffer>): Promise<void> {
  await using file = await open(path, flags, 0o600)
  if (isTarStream(chunks)) await chunks.writeTo(file.fd)
  else for await (const chunk of chunks) await file.writeFile(chunk)
  // fsync is for files; pipes and most devices answer EINVAL.
  if (flags === 'wx') await file.sync()
}

/** By what it can do: its class would bring all of the store along, to show no more than a verb's help. */
function isTarStream(chunks: AsyncIterable<Buffer>): chunks is TarStream {
  return 'writeTo' in chunks
}
