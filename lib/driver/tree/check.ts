/** Compares a home of whole trees with what the store knows, and with itself. */
import { rm, rmdir } from 'node:fs/promises'
import { join } from 'node:path'
import { mountIDAt } from '../../native/mount.ts'
import type { DriverProblem } from '../driver.ts'
import { leftovers, looseMode, missingLayers, namesIn, orphanLayers, rubbish } from '../home/check.ts'
import type { TreeBackend } from './backend.ts'
import { MERGED_DIR, PARENTS_DIR } from './layout.ts'

/** The caller holds the store's lock, so that no layer appears or goes meanwhile. */
export async function checkTrees(
  { home, treesDir }: TreeBackend,
  pathOf: (id: string) => string,
  ids: readonly string[],
  referenced: ReadonlyMap<string, string | undefined>,
  remove: (id: string) => Promise<void>,
): Promise<DriverProblem[]> {
  return [
    ...missingLayers(ids, referenced, pathOf),
    ...(await looseMode(home.path)),
    ...(await looseMode(join(home.path, treesDir))),
    ...orphanLayers(ids, referenced, pathOf, remove),
    ...(await strayParents(home.path, new Set(ids))),
    ...(await staleMerged(home.path)),
    ...(await leftovers(home)),
  ]
}

async function strayParents(home: string, ids: ReadonlySet<string>): Promise<DriverProblem[]> {
  const stray = (await namesIn(join(home, PARENTS_DIR))).filter((name) => !ids.has(name))
  return stray.map((id) => {
    const path = join(home, PARENTS_DIR, id)
    return { ...rubbish('stray-parent', path, 'the parent of no layer', () => rm(path, { force: true })), id }
  })
}

async function staleMerged(home: string): Promise<DriverProblem[]> {
  const problems: DriverProblem[] = []
  for (const id of await namesIn(join(home, MERGED_DIR))) {
    const path = join(home, MERGED_DIR, id)
    if ((await mountIDAt(path)) !== undefined) continue
    problems.push({ ...rubbish('stale-merged', path, 'nothing is mounted there', () => rmdir(path)), id })
  }
  return problems
}
