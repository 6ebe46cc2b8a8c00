/** Opens a layer's upper directory for reading, with what it takes to understand its marks. */
import { constants, openSync } from 'node:fs'
import { binding } from '../../native/binding.ts'
import { OwnedFd } from '../../native/fd.ts'
import { MOUNT_ATTR } from '../../native/flags.ts'
import { cloneMapped } from '../../native/mount.ts'
import { type TreeEntry, walk } from '../../fs/walk.ts'
import type { DetachedMount } from '../driver.ts'
import { type DiffEntry, type DiffOptions, diffEntries, inodeOf } from '../upper/diff.ts'
import { readIDMap } from '../home/id-map-file.ts'
import { type IDMap, inverse, openUserNamespace } from '../id-map.ts'
import type { UpperBackend } from './backend.ts'
import type { LayerFolder } from './layout.ts'
import { isDirectory } from '../upper/upper.ts'

const DIRECTORY = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW

/** With the ids as in the image's layers: the kernel maps owners, and those in attributes and ACLs as well. */
async function openUnmapped(path: string, idMap: IDMap): Promise<number> {
  using userns = await openUserNamespace(inverse(idMap))
  const tree = await cloneMapped(path, userns.fd, MOUNT_ATTR.MOUNT_ATTR_RDONLY)
  // What is opened in the clone keeps it, when its own descriptor is closed.
  try {
    return await binding.openat(tree.fd.fd, '.', DIRECTORY, 0)
  } finally {
    await tree.fd.closeAsync()
  }
}

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
    const idMap = readIDMap(folder.idMap)
    const mapped = idMap !== undefined
    const fd = mapped ? await openUnmapped(folder.diff, idMap) : openSync(folder.diff, DIRECTORY)
    const diff = new OwnedFd(fd)
    try {
      const { view, ...reading } = await backend.reading(id, diff.fd)
      const options = { ...reading, mapped, ...(view !== undefined && { view: view.fd.fd }) }
      return new UpperReader(diff, options, view)
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
