/** Opens a layer's upper directory for reading, with what it takes to understand its marks. */
import { constants, openSync } from 'node:fs'
import { OwnedFd } from '../../native/fd.ts'
import { type TreeEntry, walk } from '../../fs/walk.ts'
import type { DetachedMount } from '../driver.ts'
import { type DiffEntry, type DiffOptions, diffEntries, inodeOf } from '../upper/diff.ts'
import type { UpperBackend } from './backend.ts'
import type { LayerFolder } from './layout.ts'
import { isDirectory } from '../upper/upper.ts'

export class UpperReader implements AsyncDisposable {
  readonly diff: OwnedFd
  readonly options: DiffOptions
  readonly #view: DetachedMount | undefined

  private constructor(diff: OwnedFd, options: DiffOptions, view: DetachedMount | undefined) {
    this.diff = diff
    this.options = options
    this.#view = view
  }

  static async open(backend: UpperBackend, id: string, folder: LayerFolder): Promise<UpperReader> {
    const flags = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW
    const diff = new OwnedFd(openSync(folder.diff, flags))
    try {
      const { view, ...reading } = await backend.reading(id, diff.fd)
      return new UpperReader(diff, { ...reading, ...(view !== undefined && { view: view.fd.fd }) }, view)
    } catch (error) {
      diff.close()
      throw error
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.diff.close()
    await this.#view?.[Symbol.asyncDispose]()
  }
}

/**
 * Apparent bytes of the diff by moby's rule (pkg/directory): the sizes of all that is no directory, each inode once.
 * A symlink counts its target's length, a whiteout nothing, a sparse file its holes too.
 */
export async function sizeOfDiff({ diff, options }: UpperReader): Promise<number> {
  const seen = new Set<string>()
  let size = 0
  for await (const entries of sized(diff.fd, options)) {
    for (const one of entries) {
      const { stat } = one.entry
      if (isDirectory(one.entry)) continue
      const linked = stat.nlink > 1
      const inode = linked ? inodeOf(one) : ''
      if (linked && seen.has(inode)) continue
      if (linked) seen.add(inode)
      size += stat.size
    }
  }
  return size
}

type Sized = Pick<DiffEntry, 'entry' | 'merged'>

/** Without a view nothing in the upper stands for something elsewhere, and attributes need not be read. */
async function* sized(diffFd: number, options: DiffOptions): AsyncGenerator<Iterable<Sized>> {
  if (options.view !== undefined) yield* diffEntries(diffFd, options)
  else for await (const entries of (options.walk ?? walk)(diffFd, { xattrs: false })) yield unmerged(entries)
}

function* unmerged(entries: Iterable<TreeEntry>): Generator<Sized> {
  for (const entry of entries) yield { entry, merged: false }
}
