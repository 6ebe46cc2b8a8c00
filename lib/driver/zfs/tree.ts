/** Trees that are datasets: seen through a mount that is in no mount table and ends with its process. */
import { basename, dirname, relative } from 'node:path'
import { failpoint } from '../../fs/failpoint.ts'
import type { Detached } from '../../native/mount.ts'
import { STAGING_DIR } from '../home/home.ts'
import type { LooseTree, TreeRoot } from '../tree/backend.ts'
import { cloneSnapshot, createDataset, destroyDataset, destroySnapshot, snapshotDataset } from './datasets.ts'
import { looseName, type Place, snapshotName } from './layout.ts'
import { mountDataset } from './mount.ts'

/** The root of a mounted dataset by a path: through the descriptor, as with the mount goes the place. */
export function rootOf({ fd }: Detached): TreeRoot {
  return { path: `/proc/self/fd/${String(fd.fd)}/.`, [Symbol.asyncDispose]: () => fd.closeAsync() }
}

export class DatasetTree implements LooseTree {
  readonly path: string
  readonly name: string
  /** It has an id by now, and is not to be discarded. */
  isPublished = false
  readonly #root: TreeRoot

  constructor(name: string, root: TreeRoot) {
    this.name = name
    this.path = root.path
    this.#root = root
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#root[Symbol.asyncDispose]()
  }
}

export async function makeTree(home: string, place: Place, path: string): Promise<DatasetTree> {
  const { name } = staged(home, place, path)
  await createDataset(name)
  return await opened(name)
}

/** The snapshot is destroyed once there is a clone, and the kernel keeps it until the last one goes. */
export async function cloneTree(
  home: string,
  place: Place,
  parent: string,
  path: string,
): Promise<DatasetTree> {
  const { name, folder } = staged(home, place, path)
  const snapshot = snapshotName(place, parent, folder)
  await snapshotDataset(snapshot)
  try {
    failpoint('driver.zfs.before-clone')
    await cloneSnapshot(snapshot, name)
    failpoint('driver.zfs.after-clone')
  } finally {
    await destroySnapshot(snapshot)
  }
  return await opened(name)
}

async function opened(name: string): Promise<DatasetTree> {
  try {
    failpoint('driver.zfs.before-mount')
    return new DatasetTree(name, rootOf(await mountDataset(name)))
  } catch (error) {
    await destroyDataset(name)
    throw error
  }
}

/** The dataset that belongs to a place below a staging folder, and that folder's name. */
function staged(
  home: string,
  place: Place,
  path: string,
): { readonly name: string; readonly folder: string } {
  const [, folder = ''] = relative(home, dirname(path)).split('/')
  return { name: looseName(place, STAGING_DIR, `${folder}:${basename(path)}`), folder }
}
