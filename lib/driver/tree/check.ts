/** Compares a home of whole trees with what the store knows, and with itself. */
import { rm, rmdir } from 'node:fs/promises'
import { join } from 'node:path'
import { mountIDAt } from '../../native/mount.ts'
import type { DriverProblem } from '../driver.ts'
import { leftovers, looseMode, missingLayers, namesIn, orphanLayers, rubbish } from '../home/check.ts'
import type { TreeBackend } from './backend.ts'
import { ID_MAPS_DIR, PARENTS_DIR } from './layout.ts'

/** The caller holds the store's lock, so that no layer appears or goes meanwhile. */
export async function checkTrees(
  backend: TreeBackend,
  referenced: ReadonlyMap<string, string | undefined>,
  remove: (id: string) => Promise<void>,
): Promise<DriverProblem[]> {
  const { home, mergedDir } = backend
  const ids = await backend.list()
  const pathOf = (id: string): string => backend.pathOf(id)
  return [
    ...missingLayers(ids, referenced, pathOf),
    ...(await looseMode(home.path)),
    ...(await ours(backend, orphanLayers(ids, referenced, pathOf, remove))),
    ...(await strayFiles(home.path, new Set(ids))),
    ...(await staleMerged(join(home.path, mergedDir))),
    ...((await backend.check?.(ids)) ?? []),
    ...(await leftovers(home)),
  ]
}

/** Without those that may belong to another home. */
async function ours(backend: TreeBackend, orphans: readonly DriverProblem[]): Promise<DriverProblem[]> {
  const kept: DriverProblem[] = []
  for (const orphan of orphans) {
    if ((await backend.isOurs?.(orphan.id ?? '')) !== false) kept.push(orphan)
  }
  return kept
}

/** What is written down of layers that are not there. */
const RECORDS = [
  [PARENTS_DIR, 'stray-parent', 'the parent of no layer'],
  [ID_MAPS_DIR, 'stray-id-map', 'the id map of no layer'],
] as const

async function strayFiles(home: string, ids: ReadonlySet<string>): Promise<DriverProblem[]> {
  const problems: DriverProblem[] = []
  for (const [dir, kind, detail] of RECORDS) {
    for (const id of (await namesIn(join(home, dir))).filter((name) => !ids.has(name))) {
      const path = join(home, dir, id)
      problems.push({ ...rubbish(kind, path, detail, () => rm(path, { force: true })), id })
    }
  }
  return problems
}

async function staleMerged(dir: string): Promise<DriverProblem[]> {
  const problems: DriverProblem[] = []
  for (const id of await namesIn(dir)) {
    const path = join(dir, id)
    if ((await mountIDAt(path)) !== undefined) continue
    problems.push({ ...rubbish('stale-merged', path, 'nothing is mounted there', () => rmdir(path)), id })
  }
  return problems
}
