/**
 * Datasets that were set aside. Destroying one is the file system's own work in the background; what remains for us is
 * the order: one with clones waits until those are gone.
 */
import { randomBytes } from 'node:crypto'
import { hasReason } from './command.ts'
import { type Dataset, destroyDataset, listDatasets, renameDataset } from './datasets.ts'
import { layerName, looseName, parseLoose, type Place } from './layout.ts'

export function newTrashName(place: Place): string {
  return looseName(place, 'trash', randomBytes(16).toString('hex'))
}

/** The layer whose place a dataset had that was replaced; undefined for others. */
export function replacedID(place: Place, name: string): string | undefined {
  const { owner, kind, rest } = parseLoose(place, name) ?? {}
  if (owner !== place.owner || kind !== 'replaced') return undefined
  return rest?.slice(rest.indexOf(':') + 1)
}

/** Replaced datasets whose layer is there again, or is not. */
export function replacedDatasets(place: Place, datasets: readonly Dataset[], isThere: boolean): Dataset[] {
  const names = new Set(datasets.map(({ name }) => name))
  return datasets.filter(({ name }) => {
    const id = replacedID(place, name)
    return id !== undefined && names.has(layerName(place, id)) === isThere
  })
}

/** What can be destroyed now of `datasets`, which are all that there are. */
export function disposable(place: Place, datasets: readonly Dataset[]): Dataset[] {
  const origins = new Set(datasets.map(({ origin = '' }) => origin.slice(0, origin.indexOf('@'))))
  return datasets.filter(({ name }) => {
    const { owner, kind } = parseLoose(place, name) ?? {}
    return owner === place.owner && kind === 'trash' && !origins.has(name)
  })
}

/** Makes trash of a dataset that was replaced. */
export async function trashReplaced(place: Place, name: string): Promise<void> {
  try {
    await renameDataset(name, newTrashName(place))
  } catch (error) {
    // Another process did.
    if (!hasReason(error, 'missing')) throw error
  }
}

/** The trash of one home; see Trash for what each method does. */
export class DatasetTrash {
  /** Undefined where there is no home. */
  readonly #findPlace: () => Promise<Place | undefined>
  #deletion: Promise<void> | undefined
  #failure: Error | undefined

  constructor(findPlace: () => Promise<Place | undefined>) {
    this.#findPlace = findPlace
  }

  async empty(): Promise<number> {
    await this.settled()
    this.#failure = undefined
    return await this.#destroyAll()
  }

  start(): void {
    this.#deletion ??= this.#destroyAll()
      .then(
        () => undefined,
        (error: unknown) => void (this.#failure ??= error as Error),
      )
      .finally(() => (this.#deletion = undefined))
  }

  async settled(): Promise<void> {
    await this.#deletion
  }

  async idle(): Promise<void> {
    await this.settled()
    const failure = this.#failure
    this.#failure = undefined
    if (failure !== undefined) throw failure
  }

  /** Clones first; each that goes may set another free. What is in use stays, for the next time. */
  async #destroyAll(): Promise<number> {
    const place = await this.#findPlace()
    if (place === undefined) return 0
    let datasets = await listDatasets(place.dataset)
    const replaced = replacedDatasets(place, datasets, true)
    for (const { name } of replaced) await trashReplaced(place, name)
    if (replaced.length > 0) datasets = await listDatasets(place.dataset)
    let bytes = 0
    for (let next = disposable(place, datasets); next.length > 0; next = disposable(place, datasets)) {
      const freed = await Promise.all(next.map((dataset) => destroyUnlessUsed(dataset)))
      bytes += freed.reduce((total, one) => total + one, 0)
      datasets = datasets.filter((dataset) => !next.includes(dataset))
    }
    return bytes
  }
}

/** The bytes that it gave back. A clone may be elsewhere in the pool, a mount in another namespace. */
async function destroyUnlessUsed({ name, used }: Dataset): Promise<number> {
  try {
    await destroyDataset(name)
    return used
  } catch (error) {
    if (hasReason(error, 'busy', 'dependents')) return 0
    throw error
  }
}
