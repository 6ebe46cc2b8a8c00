/** Removing an image of one layer with many files. */
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { it } from 'vitest'
import { startDockerd } from '../helpers/dockerd.ts'
import { GIB } from '../helpers/sizes.ts'
import { type Contender, type Name, ours, race } from './support/race.ts'
import type { Metric } from './support/result.ts'
import { command, task } from './support/run.ts'
import { unpack } from './support/upper.ts'
import { IMAGE_NAME, imageOf, SMALL_FILES, smallFiles } from './support/workloads.ts'

const METRICS: readonly Metric[] = [
  { name: 'the caller waits', unit: 'ms', better: 'less' },
  { name: 'until it is gone', unit: 'ms', better: 'less' },
]
const RM = 'rm -rf of the files, durability none'

/** What is left of layers in an overlay2 home. */
function leftIn(home: string): string[] {
  const names = readdirSync(home).filter((name) => /^[0-9a-f]{64}$/.test(name))
  return [...names, ...readdirSync(join(home, 'l'))]
}

function rm(tar: string): Contender {
  return {
    name: RM,
    runs: 'process',
    run: (dir) => {
      const files = join(dir, 'files')
      unpack(tar, files)
      const { time } = command(['rm', '-rf', files])
      const left = readdirSync(dir).filter((name) => name === 'files')
      return { values: { 'the caller waits': time, 'until it is gone': time }, output: () => left }
    },
  }
}

function docker(archive: string): Contender {
  return {
    name: 'docker rmi, durability its own',
    runs: 'daemon',
    needs: ['dockerd'],
    run: async (dir) => {
      const root = join(dir, 'root')
      await using docker = await startDockerd(root, join(dir, 'scratch'))
      docker.docker('load', '-q', '-i', archive)
      const env = { DOCKER_HOST: `unix://${join(dir, 'scratch/sock')}` }
      const { time } = command(['docker', 'rmi', IMAGE_NAME], { env })
      const left = leftIn(join(root, 'overlay2'))
      return { values: { 'the caller waits': time, 'until it is gone': time }, output: () => left }
    },
  }
}

/** What is left of the library's, in the trash too. */
function leftOf(root: string): string[] {
  const home = join(root, 'overlay2')
  return [...leftIn(home), ...readdirSync(join(home, 'trash'))]
}

function overlaid(name: Name, archive: string, durability: string): Contender[] {
  return ours((build) => ({
    name,
    runs: 'in process',
    run: (dir) => {
      const root = join(dir, 'root')
      task(build, 'load', { root, archive, durability, syncfs: true })
      const { waits, gone } = task<{ waits: number; gone: number }>(build, 'remove', { root, durability })
      return { values: { 'the caller waits': waits, 'until it is gone': gone }, output: () => leftOf(root) }
    },
  }))
}

function gc(name: Name, tar: string): Contender[] {
  return ours((build) => ({
    name,
    runs: 'in process',
    run: (dir) => {
      const root = join(dir, 'root')
      const time = task<number>(build, 'gc', { root, tar })
      return { values: { 'the caller waits': time, 'until it is gone': time }, output: () => leftOf(root) }
    },
  }))
}

it('removal of an image', async () => {
  const tar = await smallFiles()
  const archive = await imageOf(tar)
  await race({
    id: 'remove',
    title: `Removal of an image of ${SMALL_FILES.toLocaleString('en')} files`,
    about: 'Compared: that no folder and no short name of the layer is left.',
    metrics: METRICS,
    disk: 2 * GIB,
    base: RM,
    contenders: [
      rm(tar),
      ...overlaid('overlaid, images.remove, durability none', archive, 'none'),
      ...overlaid('overlaid, images.remove, durability full', archive, 'full'),
      ...gc('overlaid, gc of a layer that nothing names, durability none', tar),
      docker(archive),
    ],
  })
})
