/**
 * The zfs driver: a layer is a dataset, one on top of it a clone of that with its own changes. Docker's layout and names,
 * see layout.ts.
 *
 * Nothing merges at mount time, and a container's first write to a large file copies no file. What it costs is a few
 * commands for each layer and container that is made, each a transaction group of the pool.
 *
 * There is no command that puts one dataset in the place of another: replace() renames twice, and for a moment there is
 * no layer. A crash right then is damage that check finds and mends. What stands on the old one stays its clone, and
 * keeps it in the trash.
 */
import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import type { Durability } from '../../fs/atomic.ts'
import { failpoint } from '../../fs/failpoint.ts'
import { isFolder } from '../../fs/folder.ts'
import { hasCode } from '../../errors.ts'
import type { Detached } from '../../native/mount.ts'
import type { DriverProblem, LayerQuota } from '../driver.ts'
import { type Home, isPlainID } from '../home/home.ts'
import type { TreeBackend, TreeRoot } from '../tree/backend.ts'
import { TreeDriver } from '../tree/driver.ts'
import { alreadyThere, expectID, notThere } from '../tree/layout.ts'
import { readParent } from '../tree/parent.ts'
import { checkDatasets } from './check.ts'
import { hasReason } from './command.ts'
import {
  datasetExists,
  destroyDataset,
  listDatasets,
  readProperties,
  renameDataset,
  setQuota,
} from './datasets.ts'
import { GRAPH_DIR, layerName, looseName, type Place } from './layout.ts'
import { mountDataset } from './mount.ts'
import { inodeOf, isSole, placeOf } from './place.ts'
import { zfsStatus } from './status.ts'
import { DatasetTrash, newTrashName, trashReplaced } from './trash.ts'
import { cloneTree, type DatasetTree, makeTree, rootOf } from './tree.ts'
import { verifyZfs } from './verify.ts'

class ZfsBackend implements TreeBackend {
  readonly name = 'zfs'
  readonly mergedDir: string = GRAPH_DIR
  readonly clonesShare = true
  readonly home: Home
  readonly trash: DatasetTrash
  #known: Place | undefined

  constructor(home: Home) {
    this.home = home
    this.trash = new DatasetTrash(() => this.#placeIfAny())
  }

  verify(): Promise<void> {
    return verifyZfs(this.home.path)
  }

  makeFolders(): Promise<void> {
    return Promise.resolve()
  }

  pathOf(id: string): string {
    return join(this.home.path, GRAPH_DIR, expectID(id))
  }

  async exists(id: string): Promise<boolean> {
    const place = await this.#placeIfAny()
    return place !== undefined && (await datasetExists(layerName(place, id)))
  }

  async list(): Promise<string[]> {
    const place = await this.#placeIfAny()
    if (place === undefined) return []
    const names = (await listDatasets(place.dataset)).map(({ name }) => name.slice(place.dataset.length + 1))
    return names.filter((name) => isPlainID(name))
  }

  async open(id: string): Promise<TreeRoot> {
    return rootOf(await this.mount(id))
  }

  async mount(id: string, attributes = 0, signal?: AbortSignal): Promise<Detached> {
    return await ofLayer(id, async () => mountDataset(await this.#nameOf(id), attributes, signal))
  }

  async createTree(path: string): Promise<DatasetTree> {
    return await makeTree(this.home.path, await this.#place(), path)
  }

  async cloneTree(parent: string, path: string): Promise<DatasetTree> {
    const place = await this.#place()
    return await ofLayer(parent, () => cloneTree(this.home.path, place, parent, path))
  }

  async limitTree({ name }: DatasetTree, _id: string, size: number): Promise<void> {
    await setQuota(name, size)
  }

  async publish(tree: DatasetTree, id: string): Promise<void> {
    try {
      await renameDataset(tree.name, await this.#nameOf(id))
    } catch (error) {
      throw hasReason(error, 'exists') ? alreadyThere(id) : error
    }
    tree.isPublished = true
  }

  async replace(tree: DatasetTree, id: string): Promise<void> {
    const place = await this.#place()
    const name = layerName(place, id)
    const aside = looseName(place, 'replaced', `${randomBytes(4).toString('hex')}:${id}`)
    await renameDataset(name, aside)
    try {
      failpoint('driver.zfs.between-renames')
      await renameDataset(tree.name, name)
    } catch (error) {
      await renameDataset(aside, name)
      throw error
    }
    tree.isPublished = true
    failpoint('driver.zfs.before-trash')
    await trashReplaced(place, aside)
  }

  async discard({ name, isPublished }: DatasetTree): Promise<void> {
    if (!isPublished) await destroyDataset(name)
  }

  async remove(id: string): Promise<boolean> {
    const place = await this.#placeIfAny()
    if (place === undefined) return false
    try {
      await renameDataset(layerName(place, id), newTrashName(place))
      return true
    } catch (error) {
      if (hasReason(error, 'missing')) return false
      throw error
    }
  }

  async quotaOf(id: string): Promise<LayerQuota | undefined> {
    const read = async () => readProperties(await this.#nameOf(id), 'quota', 'used', 'refquota', 'referenced')
    const { quota, used, refquota, referenced } = await ofLayer(id, read)
    if (Number(quota) > 0) return { used: Number(used), limit: Number(quota) }
    // Somebody else's: the image counts too.
    return Number(refquota) > 0 ? { used: Number(referenced), limit: Number(refquota) } : undefined
  }

  async diskUsageOf(id: string): Promise<number> {
    const read = async () => readProperties(await this.#nameOf(id), 'used')
    return Number((await ofLayer(id, read)).used)
  }

  /** One that we made has a parent's file, from before it has its name. */
  async isOurs(id: string): Promise<boolean> {
    return readParent(this.home.path, id) !== undefined || (await isSole(this.home.path))
  }

  async check(): Promise<DriverProblem[]> {
    const place = await this.#placeIfAny()
    if (place === undefined) return []
    const root = join(this.home.path, '..')
    const probed = new Map([root, this.home.path].map((folder) => [inodeOf(folder), folder]))
    return await checkDatasets(this.home.path, place, probed)
  }

  status(): Promise<readonly (readonly [string, string])[]> {
    return zfsStatus(this.home.path)
  }

  async #nameOf(id: string): Promise<string> {
    const place = await this.#placeIfAny()
    if (place === undefined) throw notThere(id)
    return layerName(place, id)
  }

  async #place(): Promise<Place> {
    this.#known ??= await placeOf(this.home.path)
    return this.#known
  }

  async #placeIfAny(): Promise<Place | undefined> {
    return this.#known !== undefined || isFolder(this.home.path) ? await this.#place() : undefined
  }
}

/** @throws ERR_LAYER_NOT_FOUND where there is no such dataset */
async function ofLayer<T>(id: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    throw hasReason(error, 'missing') || hasCode(error, 'ENOENT') ? notThere(id) : error
  }
}

/** Opens the driver on its home, `<root>/zfs`. Reads and writes nothing yet. */
export function openZfs(home: string, { durability }: { readonly durability: Durability }): TreeDriver {
  return new TreeDriver(new ZfsBackend({ path: home, durability }))
}
