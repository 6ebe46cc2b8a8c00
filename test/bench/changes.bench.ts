/** The list of what a container changed: from its upper directory, and by walking its tree and its image's. */
import { join } from 'node:path'
import { it } from 'vitest'
import { GIB } from '../helpers/sizes.ts'
import { type Build, NOW } from './support/builds.ts'
import { unmountBelow } from './support/disk.ts'
import { faster } from './support/goal.ts'
import { type Contender, IS_SMOKE, type Name, ours, race, type Sample } from './support/race.ts'
import { task, textOf, TIME } from './support/run.ts'
import { median } from './support/statistics.mjs'
import { cProgram } from './support/tools.ts'
import { imageOf, smallFiles } from './support/workloads.ts'

const FILES = IS_SMOKE ? 5000 : 57_000
const FILES_PER_FOLDER = 100
const CHANGES = 100
const NS_PER_MS = 1e6

const WALK = 'C, walking both trees, durability none'
const CHANGE_LIST = 'overlaid, changes, durability none'

/** The image's folders are its own: what the init layer adds is nobody's change. */
function sampleOf(each: readonly number[], list: readonly string[]): Sample {
  const values = { time: median(each) / NS_PER_MS }
  return { values, output: () => list.filter((line) => /^. \/folder-/.test(line)) }
}

interface Changed {
  readonly root: string
  readonly merged: string
  readonly image: string
}

async function changed(build: Build, dir: string, use: (made: Changed) => Sample): Promise<Sample> {
  const root = join(dir, 'root')
  const archive = await imageOf(await smallFiles(FILES))
  const parameters = { root, archive, folders: FILES / FILES_PER_FOLDER, count: CHANGES }
  try {
    return use({ root, ...task<Omit<Changed, 'root'>>(build, 'change', parameters) })
  } finally {
    unmountBelow(root)
  }
}

function walk(name: Name): Contender {
  const repeat = IS_SMOKE ? 3 : 7
  const use = ({ merged, image }: Changed): Sample => {
    const lines = textOf([cProgram('walk-both'), merged, image, String(repeat)])
      .trim()
      .split('\n')
    return sampleOf(lines.slice(0, repeat).map(Number), lines.slice(repeat))
  }
  return { name, runs: 'in process', run: (dir) => changed(NOW, dir, use) }
}

function overlaid(name: Name): Contender[] {
  const counts = IS_SMOKE ? { warmUp: 1, count: 3 } : { warmUp: 20, count: 50 }
  return ours((build) => ({
    name,
    runs: 'in process',
    run: (dir) =>
      changed(build, dir, ({ root }) => {
        const { each, list } = task<{ each: number[]; list: string[] }>(build, 'changes', { root, ...counts })
        return sampleOf(each, list)
      }),
  }))
}

it('the list of changes', async () => {
  await race({
    id: 'changes',
    title: `${String(CHANGES)} changes over an image of ${FILES.toLocaleString('en')} files`,
    about: 'Files written, new and deleted, spread over the folders, while mounted. Compared: the lists.',
    metrics: [TIME],
    disk: 2 * GIB,
    base: WALK,
    contenders: [walk(WALK), ...overlaid(CHANGE_LIST)],
    goals: [faster(CHANGE_LIST, WALK, 30)],
  })
})
