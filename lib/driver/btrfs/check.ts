/** What only the btrfs driver has in its home. */
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { DriverProblem } from '../driver.ts'
import { damage, namesIn, rubbish } from '../home/check.ts'
import { QUOTAS_DIR, quotaFile } from './layout.ts'
import { isSubvolume } from './subvolume.ts'

export async function checkSubvolumes(
  home: string,
  pathOf: (id: string) => string,
  ids: readonly string[],
): Promise<DriverProblem[]> {
  return [...(await plainFolders(pathOf, ids)), ...(await strayQuotas(home, new Set(ids)))]
}

/** A data root that was copied with cp or rsync: what is in it can be read, and no layer made on top. */
async function plainFolders(
  pathOf: (id: string) => string,
  ids: readonly string[],
): Promise<DriverProblem[]> {
  const problems: DriverProblem[] = []
  for (const path of ids.map((id) => pathOf(id))) {
    if (await isSubvolume(path)) continue
    problems.push(
      damage('no-subvolume', path, 'a folder, not a subvolume: no layer can be made on top of it'),
    )
  }
  return problems
}

async function strayQuotas(home: string, ids: ReadonlySet<string>): Promise<DriverProblem[]> {
  const stray = (await namesIn(join(home, QUOTAS_DIR))).filter((name) => !ids.has(name))
  return stray.map((name) => {
    const path = quotaFile(home, name)
    return rubbish('stray-quota', path, 'the size of no layer', () => rm(path, { force: true }))
  })
}
