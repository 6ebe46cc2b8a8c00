/** A folder on disk as files by path. */
import { constants } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { join } from 'node:path'
import { OverlaidError, hasCode } from '../errors.ts'
import { readRange } from './file.ts'
import type { Part, Parts } from './parts.ts'

/**
 * Files of a folder. Callers pass fixed names and paths made of validated digests, so that nothing in a manifest
 * chooses a path; symlinks in the folder are its owner's and are followed.
 */
export class Folder implements Parts {
  readonly name: string

  constructor(path: string) {
    this.name = path
  }

  async find(path: string): Promise<Part | undefined> {
    const full = join(this.name, path)
    const file = await openRegular(full)
    if (file === undefined) return undefined
    try {
      return { size: (await file.stat()).size, read: (signal) => readFile(full, signal) }
    } finally {
      await file.close()
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return Promise.resolve()
  }
}

async function* readFile(path: string, signal?: AbortSignal): AsyncGenerator<Buffer> {
  const file = await openRegular(path)
  if (file === undefined) throw new OverlaidError('ERR_BAD_MANIFEST', `${path} has disappeared`)
  try {
    yield* readRange(file, { offset: 0, size: (await file.stat()).size }, path, signal)
  } finally {
    await file.close()
  }
}

/** Opens a regular file; undefined when there is none. Not blocking: a fifo would wait for a writer forever. */
async function openRegular(path: string): Promise<FileHandle | undefined> {
  let file: FileHandle
  try {
    file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK)
  } catch (error) {
    if (hasCode(error, 'ENOENT', 'ENOTDIR', 'ENXIO')) return undefined
    throw error
  }
  if ((await file.stat()).isFile()) return file
  await file.close()
  throw new OverlaidError('ERR_BAD_MANIFEST', `${path} is not a regular file`)
}
