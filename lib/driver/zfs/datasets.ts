/** Datasets by their names: one command each, see zfs(8). */
import { hasReason, zfs } from './command.ts'
import { expectName } from './layout.ts'

/** Nothing but mount(2) mounts it, at a place of our own. */
const LEGACY = ['-o', 'mountpoint=legacy'] as const

export async function createDataset(name: string): Promise<void> {
  await zfs('create', ...LEGACY, expectName(name))
}

export async function snapshotDataset(snapshot: string): Promise<void> {
  await zfs('snapshot', expectName(snapshot))
}

export async function cloneSnapshot(snapshot: string, name: string): Promise<void> {
  await zfs('clone', ...LEGACY, expectName(snapshot), expectName(name))
}

/** Destroys a snapshot now, or with its last clone. */
export async function destroySnapshot(snapshot: string): Promise<void> {
  await zfs('destroy', '-d', expectName(snapshot))
}

export async function renameDataset(from: string, to: string): Promise<void> {
  await zfs('rename', expectName(from), expectName(to))
}

/** How often, and after how many milliseconds, a busy dataset is tried again: another process may be just at it. */
const PAUSES = [10, 40, 160] as const

/** Destroys a dataset with its snapshots; one that is gone already is fine. @throws busy, dependents */
export async function destroyDataset(name: string): Promise<void> {
  for (const pause of [...PAUSES, undefined]) {
    try {
      await zfs('destroy', '-r', expectName(name))
      return
    } catch (error) {
      if (hasReason(error, 'missing')) return
      if (pause === undefined || !hasReason(error, 'busy')) throw error
    }
    await new Promise((resolve) => setTimeout(resolve, pause))
  }
}

export async function datasetExists(name: string): Promise<boolean> {
  try {
    await zfs('list', '-Hp', '-t', 'filesystem', '-o', 'name', expectName(name))
    return true
  } catch (error) {
    if (hasReason(error, 'missing')) return false
    throw error
  }
}

export interface Dataset {
  readonly name: string
  /** The snapshot that it is a clone of. */
  readonly origin: string | undefined
  /** Bytes that no other dataset shares: what destroying it gives back. */
  readonly used: number
}

/** The file systems right below `parent`. */
export async function listDatasets(parent: string): Promise<Dataset[]> {
  const text = await zfs(
    ...['list', '-Hp', '-t', 'filesystem', '-d', '1', '-o', 'name,origin,used'],
    expectName(parent),
  )
  return rows(text)
    .map(([name = '', origin = '-', used = '']) => ({
      name,
      origin: origin === '-' ? undefined : origin,
      used: Number(used),
    }))
    .filter(({ name }) => name !== parent)
}

export interface Snapshot {
  readonly name: string
  /** It goes with its last clone. */
  readonly isDeferred: boolean
}

/** The snapshots of the datasets right below `parent`, and of itself. */
export async function listSnapshots(parent: string): Promise<Snapshot[]> {
  const text = await zfs(
    ...['list', '-Hp', '-t', 'snapshot', '-d', '2', '-o', 'name,defer_destroy'],
    expectName(parent),
  )
  return rows(text).map(([name = '', deferred]) => ({ name, isDeferred: deferred === 'on' }))
}

/**
 * The limit on what the dataset takes, without what it shares with the snapshot that it is a clone of. `refquota` counts
 * that too: ZFS refuses one that is less than the image, and a larger one says nothing of what is written.
 */
export async function setQuota(name: string, bytes: number): Promise<void> {
  await zfs('set', `quota=${String(bytes)}`, expectName(name))
}

/** Properties of a dataset as zfs prints them for programs: sizes in bytes, `-` for none. */
export async function readProperties<P extends string>(
  name: string,
  ...properties: readonly P[]
): Promise<Readonly<Record<P, string>>> {
  const text = await zfs('get', '-Hp', '-o', 'property,value', properties.join(','), expectName(name))
  const found = new Map(rows(text).map(([property = '', value = '']) => [property, value]))
  return Object.fromEntries(properties.map((name) => [name, found.get(name) ?? '-'])) as Record<P, string>
}

function rows(text: string): string[][] {
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => line.split('\t'))
}
