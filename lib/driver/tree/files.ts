/** Reads single files of a tree, for putting a layer's tar together again. */
import { closeSync, constants, fstatSync } from 'node:fs'
import { hasCode, OverlaidError } from '../../errors.ts'
import { binding } from '../../native/binding.ts'
import type { OwnedFd } from '../../native/fd.ts'
import { cleanName } from '../../tar/name.ts'
import type { FileGetter } from '../driver.ts'

/** O_NONBLOCK: a fifo that someone put in a file's place must not hang the reader. */
const OPEN_FILE = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK

export class TreeFiles implements FileGetter {
  readonly #id: string
  readonly #root: OwnedFd

  /** @param root is closed with this */
  constructor(id: string, root: OwnedFd) {
    this.#id = id
    this.#root = root
  }

  async open(name: Uint8Array): Promise<number> {
    try {
      const fd = await binding.openInRoot(this.#root.fd, cleanName(Buffer.from(name)), OPEN_FILE, 0)
      if (fstatSync(fd).isFile()) return fd
      closeSync(fd)
    } catch (error) {
      // ENXIO: a device; ELOOP: a symlink where the archive has a file.
      if (!hasCode(error, 'ENOENT', 'ENOTDIR', 'ENXIO', 'ELOOP')) throw error
    }
    const text = Buffer.from(name).toString()
    throw new OverlaidError('ERR_DAMAGED', `layer ${this.#id} has no file ${JSON.stringify(text)} any more`, {
      path: text,
    })
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#root.close()
    return Promise.resolve()
  }
}
