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
import { unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { fsyncDir, mkdirDurable, writeFileAtomic } from '../../fs/atomic.ts'
import { failpoint } from '../../fs/failpoint.ts'
import { AT_FDCWD, binding } from '../../native/binding.ts'
import { RENAME } from '../../native/flags.ts'
import type { ApplyOptions } from '../driver.ts'
import type { Home } from '../home/home.ts'
import { makeUpper, settleIn, StagedUpper, stageUpper, type Unpacking, unpackInto } from '../home/staged.ts'
import type { StagingFolder } from '../home/staging-folder.ts'
import { moveToTrash } from '../home/trash.ts'
import type { UpperBackend } from './backend.ts'
import { folderOf, type LayerFolder, layerFolder, LINK_DIR, MODES } from './layout.ts'
import { existingFolder, layerExists, makeLink, nameInLinks, newLinkName, readLink } from './links.ts'
import { alreadyThere, lowerOver, markCommitted, renameInto } from './publish.ts'

function unpackingFor(backend: UpperBackend): Unpacking {
  const { home, marking } = backend
  const expectLayer = (id: string): void => void existingFolder(home.path, id)
  return { home, ...marking, expectLayer, openTree: (id) => backend.openView(id) }
}

/** Opens an empty staged layer. */
export function stageLayer(backend: UpperBackend): Promise<Staged> {
  const unpacking = unpackingFor(backend)
  return stageUpper(unpacking.home, async (folder, diff) => {
    await makeUpper(diff)
    return new Staged(unpacking, folder, diff)
  })
}

/** Unpacks `tar` into the empty layer `folder`, whose parent is `parent`. Returns its size. */
export async function applyTo(
  backend: UpperBackend,
  folder: LayerFolder,
  parent: string | undefined,
  tar: AsyncIterable<Buffer>,
  options: ApplyOptions,
): Promise<number> {
  const unpacking = unpackingFor(backend)
  const notes = await unpackInto(folder.diff, tar, { ...options, marks: unpacking.marks })
  await using view = parent === undefined ? undefined : await unpacking.openTree(parent)
  const { added } = await settleIn(folder.diff, view?.fd.fd, notes, unpacking)
  return notes.size + added
}

/** The staged layer of this driver. */
export class Staged extends StagedUpper {
  readonly layer: LayerFolder
  readonly #home: Home

  constructor(unpacking: Unpacking, folder: StagingFolder, diff: string) {
    super(unpacking, folder, diff)
    this.layer = layerFolder(this.dir)
    this.#home = unpacking.home
  }

  async commit(id: string, parent: string | undefined): Promise<void> {
    const target = folderOf(this.#home.path, id)
    if (layerExists(this.#home.path, id)) throw alreadyThere(id)
    const below = parent === undefined ? undefined : existingFolder(this.#home.path, parent)
    await this.settle(parent)
    const link = newLinkName()
    await this.#writeMetadata(link, below)
    await this.#publish(id, link, target)
    await this.finish()
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
    await this.finish()
  }

  /** Into a place that is free, under a name of l/ that may be there already. */
  async #publishAs(id: string, link: string | undefined, target: LayerFolder): Promise<void> {
    if (link === undefined) await this.#publish(id, readLink(this.layer), target)
    else {
      await renameInto(this.layer.dir, target.dir, id)
      await fsyncDir(this.#home.path, this.#home)
    }
    await this.finish()
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
}
