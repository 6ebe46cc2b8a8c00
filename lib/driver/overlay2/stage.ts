/**
 * A layer on its way in. The protocol, with what a crash after each step leaves:
 *
 *     staging/<x>/ made and locked, unpacked, settled       rubbish: the folder, for whoever gets its lock
 *     syncfs (durability full)                              the content is on disk before any name is
 *     <parent>/committed written                            nothing: the parent just stays read-only
 *     link, lower, work/ written in the staged folder       rubbish, as before
 *     l/<link> made, pointing to where the layer will be    rubbish: a dangling link
 *     staging/<x>/layer → <id>, the home synced             the layer is there, whole
 *     staging/<x>/ removed                                  rubbish: an empty staging folder
 */
import { constants, openSync } from 'node:fs'
import { unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { hasCode, OverlaidError } from '../../errors.ts'
import { fsyncDir, mkdirDurable, writeFileAtomic } from '../../fs/atomic.ts'
import { failpoint } from '../../fs/failpoint.ts'
import { AT_FDCWD, binding } from '../../native/binding.ts'
import { OwnedFd } from '../../native/fd.ts'
import { RENAME } from '../../native/flags.ts'
import type { ByteStream } from '../../tar/byte-source.ts'
import type { ApplyOptions, StagedLayer } from '../driver.ts'
import { applyLayer } from './apply.ts'
import type { ApplyNotes } from './apply-notes.ts'
import { type Home, XATTR_PREFIX } from './home.ts'
import { folderOf, type LayerFolder, layerFolder, LINK_DIR, MODES } from './layout.ts'
import { existingFolder, layerExists, makeLink, nameInLinks, newLinkName, readLink } from './links.ts'
import { alreadyThere, lowerOver, markCommitted, renameInto } from './publish.ts'
import { settleLayer } from './settle.ts'
import { makeStagingFolder, type StagingFolder } from './staging-folder.ts'
import { deleteTree, moveToTrash } from './trash.ts'
import { openView } from './view.ts'

/** Opens an empty staged layer. */
export async function stageLayer(home: Home): Promise<Staged> {
  const folder = await makeStagingFolder(home.path)
  const staged = new Staged(home, folder)
  try {
    await mkdirDurable(staged.layer.dir, { mode: MODES.layer, durability: 'none' })
    await mkdirDurable(staged.layer.diff, { mode: MODES.diff, durability: 'none' })
  } catch (error) {
    await staged.discard()
    throw error
  }
  return staged
}

/** `broken` while something is done to the content, and for good when that fails: half a layer is never committed. */
type State = 'empty' | 'applied' | 'settled' | 'broken' | 'done'

/** The {@link StagedLayer} of this driver. */
export class Staged implements StagedLayer {
  readonly path: string
  readonly layer: LayerFolder
  readonly #home: Home
  readonly #lock: OwnedFd
  #state: State = 'empty'
  #notes: ApplyNotes | undefined
  #size = 0
  #parent: string | undefined

  constructor(home: Home, folder: StagingFolder) {
    this.path = folder.path
    this.layer = layerFolder(join(folder.path, 'layer'))
    this.#home = home
    this.#lock = folder.lock
  }

  async apply(tar: ByteStream, options: ApplyOptions = {}): Promise<number> {
    this.#expect('empty')
    this.#state = 'broken'
    this.#notes = await applyTo(this.layer, tar, options)
    this.#size = this.#notes.size
    this.#state = 'applied'
    return this.#size
  }

  async settle(parent: string | undefined): Promise<number> {
    if (this.#state === 'settled' && this.#parent === parent) return this.#size
    this.#expect('applied', 'empty')
    if (parent !== undefined) existingFolder(this.#home.path, parent)
    this.#state = 'broken'
    if (this.#notes !== undefined) this.#size += await settleIn(this.#home, this.layer, parent, this.#notes)
    this.#state = 'settled'
    this.#parent = parent
    return this.#size
  }

  async commit(id: string, parent: string | undefined): Promise<void> {
    const target = folderOf(this.#home.path, id)
    if (layerExists(this.#home.path, id)) throw alreadyThere(id)
    const below = parent === undefined ? undefined : existingFolder(this.#home.path, parent)
    await this.settle(parent)
    const link = newLinkName()
    await this.#writeMetadata(link, below)
    await this.#publish(id, link, target)
    await this.#finish()
  }

  async replace(id: string, parent: string | undefined): Promise<void> {
    const { path: home } = this.#home
    const target = folderOf(home, id)
    const below = parent === undefined ? undefined : existingFolder(home, parent)
    await this.settle(parent)
    const link = await nameInLinks(home, id)
    await this.#writeMetadata(link ?? newLinkName(), below)
    // What was built on the old one is built on this.
    await markCommitted(this.layer, this.#home)
    if (!layerExists(home, id)) return this.#publishAs(id, link, target)
    if (link === undefined) makeLink(home, readLink(this.layer), id)
    await binding.renameat2(AT_FDCWD, this.layer.dir, AT_FDCWD, target.dir, RENAME.RENAME_EXCHANGE)
    await fsyncDir(home, this.#home)
    await moveToTrash(home, this.layer.dir)
    await this.#finish()
  }

  /** Into a place that is free, under a name of l/ that may be there already. */
  async #publishAs(id: string, link: string | undefined, target: LayerFolder): Promise<void> {
    if (link === undefined) await this.#publish(id, readLink(this.layer), target)
    else {
      await renameInto(this.layer.dir, target.dir, id)
      await fsyncDir(this.#home.path, this.#home)
    }
    await this.#finish()
  }

  async #writeMetadata(link: string, parent: LayerFolder | undefined): Promise<void> {
    const { durability } = this.#home
    if (parent !== undefined) {
      const lower = lowerOver(parent)
      failpoint('driver.commit.before-parent-committed')
      await markCommitted(parent, this.#home)
      await mkdirDurable(this.layer.work, { mode: MODES.work, durability: 'none' })
      await writeFileAtomic(this.layer.lower, lower, { mode: MODES.lower, durability })
    }
    await writeFileAtomic(this.layer.link, link, {
      mode: MODES.link,
      durability,
      beforeRename: () => failpoint('driver.commit.before-link-file'),
    })
  }

  async #publish(id: string, link: string, target: LayerFolder): Promise<void> {
    const { path: home } = this.#home
    failpoint('driver.commit.before-l-entry')
    makeLink(home, link, id)
    await fsyncDir(join(home, LINK_DIR), this.#home)
    failpoint('driver.commit.before-rename')
    try {
      await renameInto(this.layer.dir, target.dir, id)
    } catch (error) {
      await unlink(join(home, LINK_DIR, link))
      throw error
    }
    failpoint('driver.commit.before-sync')
    await fsyncDir(home, this.#home)
  }

  async #finish(): Promise<void> {
    this.#state = 'done'
    failpoint('driver.commit.before-cleanup')
    await this.#removeFolder()
  }

  async discard(): Promise<void> {
    if (this.#state === 'done') return
    this.#state = 'done'
    await this.#removeFolder()
  }

  /** The lock goes last, so that nobody else begins to remove the same folder. */
  async #removeFolder(): Promise<void> {
    try {
      await deleteTree(await moveToTrash(this.#home.path, this.path))
    } catch (error) {
      // A collector that took it for abandoned cannot be: the lock was held. But the home may be gone as a whole.
      if (!hasCode(error, 'ENOENT')) throw error
    } finally {
      this.#lock.close()
    }
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

/** Unpacks `tar` into a layer's diff folder. */
export async function applyTo(
  folder: LayerFolder,
  tar: ByteStream,
  options: ApplyOptions,
): Promise<ApplyNotes> {
  const diff = openDirectory(folder.diff)
  try {
    return await applyLayer(diff.fd, tar, options)
  } finally {
    diff.close()
  }
}

/** Settles an unpacked layer against its parent and makes its content durable; returns the bytes that added. */
export async function settleIn(
  home: Home,
  folder: LayerFolder,
  parent: string | undefined,
  notes: ApplyNotes,
): Promise<number> {
  await using view = parent === undefined ? undefined : await openView(home.path, parent)
  const diff = openDirectory(folder.diff)
  try {
    const added = await settleLayer(diff.fd, view?.fd.fd, notes, { xattrPrefix: XATTR_PREFIX })
    // One syncfs costs less than an fsync a file, and brings the folders' entries along.
    if (home.durability === 'full') await binding.syncfs(diff.fd)
    return added
  } finally {
    diff.close()
  }
}

function openDirectory(path: string): OwnedFd {
  return new OwnedFd(openSync(path, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW))
}
