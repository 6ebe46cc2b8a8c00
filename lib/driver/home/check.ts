/** What the check of every driver's home looks for, and the form of what it finds. */
import type { Stats } from 'node:fs'
import { chmod, lstat, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { hasCode } from '../../errors.ts'
import type { DriverProblem } from '../driver.ts'
import { type Home, MODES } from './home.ts'
import { isAbandonedProbe, PROBE_PREFIX, removeAbandonedProbe } from './probe-folder.ts'
import { isAbandoned, listStaging, withAbandoned } from './staging-folder.ts'
import { deleteTree, listTrash, moveToTrash } from './trash.ts'

/** Ids that only the store gives, so that one it does not know belongs to nobody. */
const STORE_ID = /^[0-9a-f]{64}(-init)?$/

/** Layers that the store knows and the home has not. `pathOf` is where one would be. */
export function missingLayers(
  ids: readonly string[],
  referenced: ReadonlyMap<string, string | undefined>,
  pathOf: (id: string) => string,
): DriverProblem[] {
  const there = new Set(ids)
  return [...referenced.keys()]
    .filter((id) => !there.has(id))
    .map((id) =>
      damage('missing-layer', pathOf(id), 'the store knows this layer, its folder is gone'),
    )
}

/** Layers that are named as the store names them, and that it does not know. */
export function orphanLayers(
  ids: readonly string[],
  referenced: ReadonlyMap<string, string | undefined>,
  pathOf: (id: string) => string,
  remove: (id: string) => Promise<void>,
): DriverProblem[] {
  const detail = 'no image and no container has this layer'
  return ids
    .filter((id) => !referenced.has(id) && STORE_ID.test(id))
    .map((id) => rubbish('orphan-layer', pathOf(id), detail, () => remove(id)))
}

/** CVE-2021-41091: whoever may walk into a layer may run the setuid programs of old images. */
export async function looseMode(path: string): Promise<DriverProblem[]> {
  const stat = await find(path)
  if (stat === undefined || (stat.mode & 0o007) === 0) return []
  const mode = (stat.mode & 0o777).toString(8)
  const repair = (): Promise<void> => chmod(path, MODES.home)
  return [
    damage('loose-mode', path, `its mode is 0${mode}: any user can reach the setuid files below it`, repair),
  ]
}

/** What crashes left in the folders that all homes have. */
export async function leftovers(home: Home): Promise<DriverProblem[]> {
  const problems: DriverProblem[] = []
  for (const path of await listStaging(home.path)) {
    if (!(await isAbandoned(path))) continue
    const repair = async (): Promise<void> => {
      await withAbandoned(path, async () => deleteTree(await moveToTrash(home.path, path)))
    }
    problems.push(rubbish('stale-staging', path, 'its owner died before the layer was whole', repair))
  }
  for (const path of await listTrash(home.path)) {
    const repair = (): Promise<void> => deleteTree(path)
    problems.push(rubbish('trash', path, 'a removed layer, not deleted yet', repair))
  }
  for (const name of (await namesIn(home.path)).filter((found) => found.startsWith(PROBE_PREFIX))) {
    const path = join(home.path, name)
    if (!(await isAbandonedProbe(path))) continue
    problems.push(rubbish('probe-folder', path, 'a probe was cut off', () => removeAbandonedProbe(path)))
  }
  return problems
}

/** What is at `path` itself; undefined where nothing is. */
export async function find(path: string): Promise<Stats | undefined> {
  try {
    return await lstat(path)
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined
    throw error
  }
}

/** Sorted; none where there is no such folder. */
export async function namesIn(dir: string): Promise<string[]> {
  try {
    return (await readdir(dir)).sort()
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return []
    throw error
  }
}

export function damage(kind: string, path: string, detail: string, repair?: () => Promise<void>): DriverProblem {
  return { kind, severity: 'damage', path, detail, ...(repair === undefined ? {} : { repair }) }
}

export function rubbish(kind: string, path: string, detail: string, repair: () => Promise<void>): DriverProblem {
  return { kind, severity: 'rubbish', path, detail, repair }
}
