/** Reads single files of a layer's merged content, for putting its tar together again. */
import { closeSync, constants, fstatSync, openSync } from 'node:fs'
import { hasCode, OverlaidError } from '../../errors.ts'
import { binding } from '../../native/binding.ts'
import { OwnedFd } from '../../native/fd.ts'
import { cleanName } from '../../tar/name.ts'
import type { DetachedMount, FileGetter } from '../driver.ts'
import type { UpperBackend } from './backend.ts'
import { folderOf } from './layout.ts'
import { readLower } from './links.ts'

/** O_NONBLOCK: a fifo that someone put in a file's place must not hang the reader. */
const OPEN_FILE = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK

/**
 * Opens files by the names that the layer's archive has for them.
 *
 * Nearly always the name is in the layer's own diff folder, which needs no mount and no privilege beyond reading. A
 * name that goes through a symlink of a lower layer (`bin/foo` over `bin -> usr/bin`) is not; it is looked up in the
 * merged view, mounted at the first such name. Asking the diff first gives no other answer than the view would: at
 * each step of a path an entry of the upper hides what lower layers have by that name.
 */
export class LayerFiles implements FileGetter {
  readonly #backend: UpperBackend
  readonly #id: string
  readonly #diff: OwnedFd
  #view: Promise<DetachedMount> | undefined

  constructor(backend: UpperBackend, id: string) {
    this.#backend = backend
    this.#id = id
    const flags = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW
    this.#diff = new OwnedFd(openSync(folderOf(backend.home.path, id).diff, flags))
  }

  async open(name: Uint8Array): Promise<number> {
    // As it was unpacked: `missing/../file` is `file`, which openat2 would not find.
    const path = cleanName(Buffer.from(name))
    const own = await this.#openIn(this.#diff, path)
    if (own !== undefined) return own
    const view = await this.#mountView()
    const found = view === undefined ? undefined : await this.#openIn(view.fd, path)
    if (found !== undefined) return found
    const text = Buffer.from(name).toString()
    throw new OverlaidError('ERR_DAMAGED', `layer ${this.#id} has no file ${JSON.stringify(text)} any more`, {
      path: text,
    })
  }

  async #openIn(root: OwnedFd, name: Uint8Array): Promise<number | undefined> {
    try {
      return regular(await binding.openInRoot(root.fd, name, OPEN_FILE, 0))
    } catch (error) {
      // ENXIO: a whiteout or another device; ELOOP: a symlink where the archive has a file.
      if (hasCode(error, 'ENOENT', 'ENOTDIR', 'ENXIO', 'ELOOP')) return undefined
      throw error
    }
  }

  async #mountView(): Promise<DetachedMount | undefined> {
    const base = readLower(folderOf(this.#backend.home.path, this.#id)).length === 0
    if (base) return undefined
    this.#view ??= this.#backend.openView(this.#id)
    return await this.#view
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#diff.close()
    const view = this.#view
    this.#view = undefined
    await (await view)?.[Symbol.asyncDispose]()
  }
}

function regular(fd: number): number | undefined {
  if (fstatSync(fd).isFile()) return fd
  closeSync(fd)
  return undefined
}
