/** What crashes left of datasets and snapshots: each is somebody's whose lock tells whether it is still at it. */
import { join } from 'node:path'
import { isFolder } from '../../fs/folder.ts'
import type { DriverProblem } from '../driver.ts'
import { damage, rubbish } from '../home/check.ts'
import { STAGING_DIR } from '../home/home.ts'
import { isAbandonedProbe, PROBE_PREFIX } from '../home/probe-folder.ts'
import { isAbandoned, withAbandoned } from '../home/staging-folder.ts'
import {
  type Dataset,
  destroyDataset,
  destroySnapshot,
  listDatasets,
  listSnapshots,
  renameDataset,
} from './datasets.ts'
import { layerName, parseLoose, parseSnapshot, type Place } from './layout.ts'
import { disposable, replacedDatasets, replacedID, trashReplaced } from './trash.ts'

/** @param probed folders that a probe may have been in, with their inode numbers */
export async function checkDatasets(
  home: string,
  place: Place,
  probed: ReadonlyMap<number, string>,
): Promise<DriverProblem[]> {
  const datasets = await listDatasets(place.dataset)
  return [
    ...(await staleStaging(home, place, datasets)),
    ...(await staleProbes(place, datasets, probed)),
    ...cutReplacements(place, datasets),
    ...disposable(place, datasets).map(({ name }) =>
      about(
        name,
        rubbish('trash', name, 'a removed layer, not deleted yet', () => destroyDataset(name)),
      ),
    ),
    ...(await straySnapshots(home, place)),
  ]
}

async function staleStaging(
  home: string,
  place: Place,
  datasets: readonly Dataset[],
): Promise<DriverProblem[]> {
  const problems: DriverProblem[] = []
  for (const { name } of datasets) {
    const { owner, kind, rest = '' } = parseLoose(place, name) ?? {}
    const folder = join(home, STAGING_DIR, rest.split(':')[0] ?? '')
    if (owner !== place.owner || kind !== 'staging' || !(await isLeft(folder))) continue
    const repair = (): Promise<void> => ifLeft(folder, () => destroyDataset(name))
    const detail = 'its owner died before the layer was whole'
    problems.push(about(name, rubbish('stale-staging', name, detail, repair)))
  }
  return problems
}

async function staleProbes(
  place: Place,
  datasets: readonly Dataset[],
  probed: ReadonlyMap<number, string>,
): Promise<DriverProblem[]> {
  const problems: DriverProblem[] = []
  for (const { name } of datasets) {
    const { owner = 0, kind, rest = '' } = parseLoose(place, name) ?? {}
    const parent = probed.get(owner)
    if (kind !== 'probe' || parent === undefined) continue
    const folder = join(parent, `${PROBE_PREFIX}${rest}`)
    if (isFolder(folder) && !(await isAbandonedProbe(folder))) continue
    const repair = (): Promise<void> => destroyDataset(name)
    problems.push(about(name, rubbish('probe-folder', name, 'a probe was cut off', repair)))
  }
  return problems
}

/** Between two renames there is no layer: the old one is whole, so it gets its name back. */
function cutReplacements(place: Place, datasets: readonly Dataset[]): DriverProblem[] {
  const without = replacedDatasets(place, datasets, false).map(({ name }) => {
    const id = replacedID(place, name) ?? ''
    const repair = (): Promise<void> => renameDataset(name, layerName(place, id))
    const detail = `the replacement of layer ${id} was cut off: this is the old one`
    return { ...damage('cut-replacement', name, detail, repair), id }
  })
  const beside = replacedDatasets(place, datasets, true).map(({ name }) => {
    const repair = (): Promise<void> => trashReplaced(place, name)
    return about(name, rubbish('trash', name, 'a replaced layer, not set aside for deletion yet', repair))
  })
  return [...without, ...beside]
}

/** One that goes with its last clone is as it should be. */
async function straySnapshots(home: string, place: Place): Promise<DriverProblem[]> {
  const problems: DriverProblem[] = []
  for (const { name, isDeferred } of await listSnapshots(place.dataset)) {
    const staging = parseSnapshot(place, name)
    if (staging === undefined || isDeferred) continue
    const folder = join(home, STAGING_DIR, staging)
    if (!(await isLeft(folder))) continue
    const repair = (): Promise<void> => ifLeft(folder, () => destroySnapshot(name))
    const detail = 'its owner died before the layer on top was whole'
    problems.push(about(name, rubbish('stale-staging', name, detail, repair)))
  }
  return problems
}

/** Whether nobody owns the staging folder any more: it may be gone, its datasets go first only where nobody dies. */
async function isLeft(folder: string): Promise<boolean> {
  return !isFolder(folder) || (await isAbandoned(folder))
}

/** Names of staging folders come once: one that is gone does not come back. */
async function ifLeft(folder: string, work: () => Promise<void>): Promise<void> {
  if (isFolder(folder)) await withAbandoned(folder, work)
  else await work()
}

/** None of the store's layers. */
function about(name: string, problem: DriverProblem): DriverProblem {
  return { ...problem, id: name.slice(name.lastIndexOf('/') + 1) }
}
