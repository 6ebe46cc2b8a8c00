/** How long a command takes that has next to nothing to do. */
import { join } from 'node:path'
import { it } from 'vitest'
import { MIB } from '../helpers/sizes.ts'
import { type Build, commandOf } from './support/builds.ts'
import { CHAIN_NAME, chainArchive } from './support/chain.ts'
import { longer } from './support/goal.ts'
import { type Contender, IS_SMOKE, type Name, ours, race, type Sample } from './support/race.ts'
import { command, PEAK, type Taken, TIME } from './support/run.ts'
import { median } from './support/statistics.mjs'

/** A start is short: each turn is the median of some. */
const STARTS = IS_SMOKE ? 2 : 7
const LAYERS = 5

const NODE = 'node -e 0, durability none'
const PS = 'overlaid ps, durability full'
const MOUNT = 'overlaid mount, durability full'

/** `run` once, not counted, then again and again. */
function several(run: () => Taken): Sample {
  run()
  const taken = Array.from({ length: STARTS }, run)
  const values = { time: median(taken.map(({ time }) => time)) }
  return { values: { ...values, 'peak memory': median(taken.map((one) => one['peak memory'])) } }
}

/** `makeRun` gets a way to run the command on a root that has an image and a container. */
function overlaid(name: Name, makeRun: (run: (...args: string[]) => Taken) => () => Taken): Contender[] {
  return ours((build: Build) => ({
    name,
    runs: 'process',
    run: (dir) => {
      const argv = [process.execPath, commandOf(build), '--root', join(dir, 'root')]
      const run = (...args: string[]): Taken => command([...argv, ...args])
      run('--quiet', 'load', '-i', chainArchive(dir, LAYERS))
      run('create', '--name', 'bench', CHAIN_NAME)
      return several(makeRun(run))
    },
  }))
}

it('start of the command', async () => {
  await race({
    id: 'start',
    title: 'Start of the command',
    about:
      'Whole processes on a root with one image and one container; mount is followed by unmount, which is not ' +
      'counted. ps and mount make nothing but the record of the mount.',
    metrics: [TIME, PEAK],
    disk: 512 * MIB,
    base: NODE,
    contenders: [
      { name: NODE, runs: 'process', run: () => several(() => command([process.execPath, '-e', '0'])) },
      ...overlaid('overlaid --version, durability full', (run) => () => run('--version')),
      ...overlaid(PS, (run) => () => run('ps')),
      ...overlaid(MOUNT, (run) => () => {
        const taken = run('mount', 'bench')
        run('unmount', 'bench')
        return taken
      }),
    ],
    goals: [longer(PS, NODE, 40, 'ms'), longer(MOUNT, NODE, 40, 'ms')],
  })
})
