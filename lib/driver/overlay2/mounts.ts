/** The mounts at `<home>/<id>/merged`: made at the first get, counted, undone at the last put. */
import { lstatSync } from 'node:fs'
import { hasCode, OverlaidError } from '../../errors.ts'
import { attachAtHome, mountIDAt, removeMountPoint, unmount } from '../../native/mount.ts'
import type { MountOptions } from '../driver.ts'
import { noteFeatures, readFeatures } from './features.ts'
import type { Home } from './home.ts'
import { folderOf, type LayerFolder } from './layout.ts'
import { existingFolder, readLower } from './links.ts'
import { mountOverlay, type OverlayMount } from './mount.ts'
import { lowerLinks } from './view.ts'

export class Mounts {
  readonly #home: Home
  /** How many gets are to be undone, by id; one that is mounted and not in it is another process's. */
  readonly #counts = new Map<string, number>()
  readonly #turns = new Map<string, Promise<unknown>>()

  constructor(home: Home) {
    this.#home = home
  }

  /** See Driver.get. */
  get(id: string, options: MountOptions): Promise<string> {
    const folder = folderOf(this.#home.path, id)
    return this.#inTurn(id, async () => {
      const count = await this.#countOf(id, folder)
      if (count === 0) await this.#mount(id, folder, options)
      this.#counts.set(id, count + 1)
      return folder.merged
    })
  }

  /** See Driver.put. */
  put(id: string, force: boolean): Promise<void> {
    const folder = folderOf(this.#home.path, id)
    return this.#inTurn(id, async () => {
      const count = this.#counts.get(id) ?? ((await isMountPoint(folder.merged)) ? 1 : 0)
      if (count === 1) await unmountMerged(folder, force)
      if (count <= 1) this.#counts.delete(id)
      else this.#counts.set(id, count - 1)
    })
  }

  /** Runs `work` when nobody has `id` mounted, and keeps this process from mounting it meanwhile. */
  whileUnmounted(id: string, work: (folder: LayerFolder) => Promise<void>): Promise<void> {
    const folder = folderOf(this.#home.path, id)
    return this.#inTurn(id, async () => {
      if ((await this.#countOf(id, folder)) > 0) {
        throw new OverlaidError('ERR_IN_USE', `layer ${id} is mounted at ${folder.merged}`, {
          path: folder.merged,
        })
      }
      await work(folder)
    })
  }

  /** Unmounts everything that this process mounted, busy or not. */
  async unmountAll(): Promise<void> {
    for (const id of [...this.#counts.keys()]) {
      await this.#inTurn(id, async () => {
        await unmountMerged(folderOf(this.#home.path, id), true)
        this.#counts.delete(id)
      })
    }
  }

  /** The merged tree of `id` as a detached mount: what get() attaches. */
  async open(id: string, folder: LayerFolder, options: MountOptions): Promise<OverlayMount> {
    const { path: home, durability } = this.#home
    const lowers = lowerLinks(readLower(folder))
    // A layer that has parents is there: one look less.
    if (lowers.length === 0) existingFolder(home, id)
    const upper = `${id}/diff`
    const readOnly = options.readOnly === true || isCommitted(folder)
    const features = readOnly ? readFeatures(folder) : await noteFeatures(folder, options, durability)
    const layers = lowers.length === 0 ? { lowers, upper } : { lowers, upper, work: `${id}/work` }
    return mountOverlay({ home, ...layers, options: { ...options, ...features, readOnly } })
  }

  async #mount(id: string, folder: LayerFolder, options: MountOptions): Promise<void> {
    const { fd } = await this.open(id, folder, options)
    try {
      await attachAtHome(fd, folder.merged)
    } finally {
      await fd.closeAsync()
    }
  }

  /** What is counted ends with the mount: another process may have undone it. */
  async #countOf(id: string, folder: LayerFolder): Promise<number> {
    return (await isMountPoint(folder.merged)) ? (this.#counts.get(id) ?? 1) : 0
  }

  /** One thing at a time for each id: a get must not meet a put that has unmounted and not yet removed the folder. */
  async #inTurn<T>(id: string, work: () => Promise<T>): Promise<T> {
    const before = this.#turns.get(id)
    const turn = (before ?? Promise.resolve()).then(work, work)
    this.#turns.set(id, turn)
    try {
      return await turn
    } finally {
      if (this.#turns.get(id) === turn) this.#turns.delete(id)
    }
  }
}

function isCommitted({ committed }: LayerFolder): boolean {
  return lstatSync(committed, { throwIfNoEntry: false }) !== undefined
}

async function isMountPoint(path: string): Promise<boolean> {
  return (await mountIDAt(path)) !== undefined
}

async function unmountMerged(folder: LayerFolder, force: boolean): Promise<void> {
  try {
    await unmount(folder.merged, { detach: force })
  } catch (error) {
    if (hasCode(error, 'EBUSY')) throw busy(folder, error)
    // Somebody unmounted it, and may have removed the folder: what was asked for is so.
    if (!hasCode(error, 'EINVAL', 'ENOENT')) throw error
  }
  removeMountPoint(folder.merged)
}

function busy({ merged }: LayerFolder, cause: unknown): OverlaidError {
  return new OverlaidError(
    'ERR_IN_USE',
    `${merged} is busy: a process has a file or its working directory there`,
    {
      path: merged,
      cause,
      hint: 'end it (`fuser -vm` names it), or force the unmount',
    },
  )
}
