/**
 * A layer on its way in, as far as all drivers do it alike: a staging folder with its lock, the archive unpacked in it
 * as an upper directory, and that settled against the parent. What it becomes is the driver's.
 */
import { join } from 'node:path'
import { OverlaidError } from '../../errors.ts'
import { mkdirDurable } from '../../fs/atomic.ts'
import { failpoint } from '../../fs/failpoint.ts'
import { openFolder } from '../../fs/folder.ts'
import { binding } from '../../native/binding.ts'
import type { OwnedFd } from '../../native/fd.ts'
import type { ByteStream } from '../../tar/byte-source.ts'
import type { ApplyOptions, StagedLayer } from '../driver.ts'
import { applyLayer } from '../upper/apply.ts'
import type { ApplyNotes } from '../upper/apply-notes.ts'
import type { Marks } from '../upper/marks.ts'
import { type Settled, settleLayer } from '../upper/settle.ts'
import type { Home } from './home.ts'
import { makeStagingFolder, removeStagingFolder, type StagingFolder } from './staging-folder.ts'

/** A merged tree to read from. */
export interface OpenTree extends AsyncDisposable {
  readonly fd: OwnedFd
}

/** How a driver's layers are unpacked. */
export interface Unpacking {
  readonly home: Home
  readonly marks: Marks
  /** Gives a settled layer other marks, where it was unpacked with passing ones. */
  translate?(diffFd: number, settled: Settled): Promise<void>
  /** @throws ERR_LAYER_NOT_FOUND */
  expectLayer(id: string): void | Promise<void>
  /** The merged content of `id`, read-only. */
  openTree(id: string): Promise<OpenTree>
}

/** The layer's folder in the staging folder. */
const LAYER = 'layer'
/** Modes of what is unpacked: the layer's folder, and its root where the archive says nothing of it. */
const LAYER_MODE = 0o710
const ROOT_MODE = 0o755

/** `broken` while something is done to the content, and for good when that fails: half a layer is never committed. */
type State = 'empty' | 'applied' | 'settled' | 'broken' | 'done'

export abstract class StagedUpper implements StagedLayer {
  readonly path: string
  /** The layer's folder, and the upper directory in it. */
  protected readonly dir: string
  protected readonly diff: string
  protected readonly unpacking: Unpacking
  /** What settling came to; nothing was unpacked where undefined. */
  protected settled: Settled | undefined
  /** That of the unpacking; what is built from it belongs to the same work. */
  protected signal: AbortSignal | undefined
  readonly #folder: StagingFolder
  #state: State = 'empty'
  #notes: ApplyNotes | undefined
  #size = 0
  #parent: string | undefined

  /** @param diff the empty upper directory */
  constructor(unpacking: Unpacking, folder: StagingFolder, diff: string) {
    this.unpacking = unpacking
    this.path = folder.path
    this.dir = join(folder.path, LAYER)
    this.diff = diff
    this.#folder = folder
  }

  async apply(tar: ByteStream, options: ApplyOptions = {}): Promise<number> {
    this.#expect('empty')
    this.#state = 'broken'
    this.signal = options.signal
    this.#notes = await unpackInto(this.diff, tar, { ...options, marks: this.unpacking.marks })
    this.#size = this.#notes.size
    this.#state = 'applied'
    return this.#size
  }

  async settle(parent: string | undefined): Promise<number> {
    if (this.#state === 'settled' && this.#parent === parent) return this.#size
    this.#expect('applied', 'empty')
    if (parent !== undefined) await this.unpacking.expectLayer(parent)
    this.#state = 'broken'
    if (this.#notes !== undefined) {
      await using below = parent === undefined ? undefined : await this.unpacking.openTree(parent)
      this.settled = await settleIn(this.diff, below?.fd.fd, this.#notes, this.unpacking)
      this.#size += this.settled.added
    }
    await this.build(parent)
    this.#state = 'settled'
    this.#parent = parent
    return this.#size
  }

  /** What a driver makes of the settled upper directory; what is slow is done here and not in commit(). */
  protected build(_parent: string | undefined): Promise<void> {
    return Promise.resolve()
  }

  abstract commit(id: string, parent: string | undefined): Promise<void>
  abstract replace(id: string, parent: string | undefined): Promise<void>

  /** The layer is where it belongs: what is left of the staging folder goes. */
  protected async finish(): Promise<void> {
    this.#state = 'done'
    failpoint('driver.commit.before-cleanup')
    await this.#clear()
  }

  async discard(): Promise<void> {
    if (this.#state === 'done') return
    this.#state = 'done'
    await this.#clear()
  }

  async #clear(): Promise<void> {
    try {
      await this.drop()
    } finally {
      await removeStagingFolder(this.unpacking.home.path, this.#folder)
    }
  }

  /** Removes what a driver has beside the staging folder. */
  protected drop(): Promise<void> {
    return Promise.resolve()
  }

  #expect(...states: State[]): void {
    if (states.includes(this.#state)) return
    throw new OverlaidError(
      'ERR_INVALID_ARGUMENT',
      `this staged layer is ${this.#state}: it takes one apply, one commit`,
    )
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.discard()
  }
}

/** Opens an empty staged layer. `make` makes it of the folder and the place for an upper directory, not there yet. */
export async function stageUpper<T extends StagedUpper>(
  home: Home,
  make: (folder: StagingFolder, diff: string) => Promise<T>,
): Promise<T> {
  const folder = await makeStagingFolder(home.path)
  try {
    await mkdirDurable(join(folder.path, LAYER), { mode: LAYER_MODE, durability: 'none' })
    return await make(folder, join(folder.path, LAYER, 'diff'))
  } catch (error) {
    await removeStagingFolder(home.path, folder)
    throw error
  }
}

/** Makes the folder to unpack into. */
export async function makeUpper(path: string): Promise<void> {
  await mkdirDurable(path, { mode: ROOT_MODE, durability: 'none' })
}

/** Unpacks `tar` into the empty upper directory `diff`. */
export async function unpackInto(
  diff: string,
  tar: ByteStream,
  options: ApplyOptions & { readonly marks: Marks },
): Promise<ApplyNotes> {
  using fd = openFolder(diff)
  return await applyLayer(fd.fd, tar, options)
}

/** Settles an unpacked upper directory against the tree below and makes its content durable. */
export async function settleIn(
  diff: string,
  below: number | undefined,
  notes: ApplyNotes,
  unpacking: Unpacking,
): Promise<Settled> {
  const { home, marks } = unpacking
  using fd = openFolder(diff)
  const settled = await settleLayer(fd.fd, below, notes, { marks })
  await unpacking.translate?.(fd.fd, settled)
  // One syncfs costs less than an fsync a file, and brings the folders' entries along.
  if (home.durability === 'full') await binding.syncfs(fd.fd)
  return settled
}
