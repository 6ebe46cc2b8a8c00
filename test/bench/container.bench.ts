/** A container's life: created on a chain of layers, mounted, unmounted, removed. */
import { join } from 'node:path'
import { it } from 'vitest'
import { startContainerd } from '../helpers/containerd.ts'
import { startDockerd } from '../helpers/dockerd.ts'
import { GIB } from '../helpers/sizes.ts'
import { chainArchive, CHAIN_NAME, filesOf, loadChain } from './support/chain.ts'
import { dockerContainers } from './support/docker-containers.ts'
import { faster, within } from './support/goal.ts'
import { type Contender, IS_SMOKE, type Name, ours, race, type Sample } from './support/race.ts'
import type { Metric } from './support/result.ts'
import { jsonOf, task, textOf } from './support/run.ts'
import { mean, quantile } from './support/statistics.mjs'
import { cProgram, goProgram } from './support/tools.ts'

const [WARM_UP, COUNT] = IS_SMOKE ? [5, 20] : [500, 400]
/** dockerd takes ten times as long, at 120 layers a hundred times. */
const DOCKER_COUNT = IS_SMOKE ? 3 : 40
const NS_PER_US = 1000

const METRICS: readonly Metric[] = [
  { name: 'median', unit: 'µs', better: 'less' },
  { name: 'mean, with deletion', unit: 'µs', better: 'less' },
  { name: 'p99', unit: 'µs', better: 'less' },
]

/** Containers one after the other, in nanoseconds; `total` is all of them with what was put off. */
export interface Lives {
  readonly names: readonly string[]
  readonly each: readonly number[]
  readonly total: number
}

function sampleOf({ names, each, total }: Lives): Sample {
  const values = {
    median: quantile(each, 0.5) / NS_PER_US,
    'mean, with deletion': total / each.length / NS_PER_US,
    p99: quantile(each, 0.99) / NS_PER_US,
  }
  return { values, output: () => filesOf(names) }
}

function cLoop(name: Name, how: 'steps' | 'bare', layers: number): Contender {
  const run = (dir: string): Sample => {
    const { home, parent, lowers } = loadChain(dir, layers)
    const argv = [cProgram('container-loop'), how, home, String(WARM_UP + COUNT), parent, ...lowers]
    const lines = textOf(argv).trim().split('\n')
    const each = lines.slice(layers).map(Number).slice(WARM_UP)
    return sampleOf({ names: lines.slice(0, layers), each, total: mean(each) * each.length })
  }
  return { name, runs: 'in process', run }
}

const STEPS = 'C, the same folders, files and calls, durability none'
const MOBY = "moby's overlay2 driver, durability none"
const CONTAINERD = 'containerd snapshots over gRPC, durability its own'
const DOCKER = "create + rm by dockerd's API, durability its own"
const DRIVER = 'overlaid, driver, durability none'
const STORE = 'overlaid, store, durability none'

function overlaid(name: Name, level: string, durability: string, layers: number): Contender[] {
  return ours((build) => ({
    name,
    runs: 'in process',
    run: (dir) => {
      const counts = { warmUp: WARM_UP, count: COUNT }
      const place = { root: join(dir, 'root'), archive: chainArchive(dir, layers) }
      return sampleOf(task<Lives>(build, 'container', { ...place, level, durability, ...counts }))
    },
  }))
}

function peers(layers: number): Contender[] {
  const counts = [layers, WARM_UP, COUNT].map(String)
  return [
    {
      name: MOBY,
      runs: 'in process',
      needs: ['moby in GOPATH'],
      run: (dir) => sampleOf(jsonOf<Lives>([goProgram('moby-containers'), join(dir, 'overlay2'), ...counts])),
    },
    {
      name: CONTAINERD,
      runs: 'daemon',
      needs: ['containerd', 'containerd in GOPATH'],
      run: async (dir) => {
        await using containerd = await startContainerd(join(dir, 'containerd'))
        const [, socket = ''] = containerd.address
        return sampleOf(
          jsonOf<Lives>([goProgram('containerd-containers'), socket, join(dir, 'mnt'), ...counts]),
        )
      },
    },
    {
      name: DOCKER,
      runs: 'daemon',
      needs: ['dockerd'],
      run: async (dir) => {
        const scratch = join(dir, 'scratch')
        await using docker = await startDockerd(join(dir, 'root'), scratch)
        docker.docker('load', '-q', '-i', chainArchive(dir, layers))
        const lives = await dockerContainers(join(scratch, 'sock'), CHAIN_NAME, DOCKER_COUNT)
        // It shows no root: what was mounted is not compared.
        return { values: sampleOf(lives).values }
      },
    },
  ]
}

// 120: where the options of moby's mount(2) pass a page.
it.each(IS_SMOKE ? [5, 120] : [5, 50, 120])('a container on %i layers', async (layers) => {
  await race({
    id: `container-${String(layers)}`,
    title: `A container's life on ${String(layers)} layers`,
    about: 'Create, mount, unmount, remove, one after the other; compared: the names in the mounted root.',
    metrics: METRICS,
    disk: GIB,
    base: STEPS,
    contenders: [
      cLoop('C, four folders and mount(2) alone, durability none', 'bare', layers),
      cLoop(STEPS, 'steps', layers),
      ...overlaid(DRIVER, 'driver', 'none', layers),
      ...overlaid('overlaid, driver, durability full', 'driver', 'full', layers),
      ...overlaid(STORE, 'store', 'none', layers),
      ...overlaid('overlaid, store, durability full', 'store', 'full', layers),
      ...peers(layers),
    ],
    goals: [
      within(DRIVER, STEPS, 1.3),
      faster(DRIVER, MOBY, 1),
      faster(DRIVER, CONTAINERD, 2.5),
      faster(STORE, DOCKER, 10),
    ],
  })
})
