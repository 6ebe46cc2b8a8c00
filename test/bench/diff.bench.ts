/** A container's changes as a layer tar: the library in a process that runs already, tar programs as processes. */
import { mkdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { it } from 'vitest'
import { GIB, MIB } from '../helpers/sizes.ts'
import { dumpTree } from '../../lib/driver-suite/tree.ts'
import { NOW } from './support/builds.ts'
import { benchDisk } from './support/disk.ts'
import { faster } from './support/goal.ts'
import { type Contender, type Name, ours, race, type Sample } from './support/race.ts'
import { command, task, TIME } from './support/run.ts'
import { unpack, upperWith } from './support/upper.ts'
import { LARGE, largeFile, SMALL_FILES, smallFiles } from './support/workloads.ts'

const GNU_TAR = 'GNU tar --xattrs, no atime or ctime, sorted, durability none'
const DIFF = 'overlaid, diff, durability none'
/** Holds the largest diff. */
const WARM_UP_BYTES = 2 * GIB

/** The tar is unpacked by GNU tar and compared with what the others made. */
function sampleOf(dir: string, time: number, output: string): Sample {
  const files = join(dir, 'unpacked')
  return {
    values: { time, written: statSync(output).size / MIB },
    output: () => {
      mkdirSync(files)
      unpack(output, files)
      return dumpTree(files, { root: false, nanoseconds: false })
    },
  }
}

function tarProgram(name: Name, argv: readonly string[], tar: string): Contender {
  return {
    name,
    runs: 'process',
    ...(argv[0] === 'bsdtar' && { needs: ['bsdtar'] }),
    run: (dir) => {
      const upper = upperWith(NOW, dir, tar)
      const output = join(dir, 'out.tar')
      const { time } = command([...argv, '-cf', output, '-C', upper.dir, '.'])
      return sampleOf(dir, time, output)
    },
  }
}

function overlaid(name: Name, how: 'diff' | 'digest', tar: string): Contender[] {
  return ours((build) => ({
    name,
    runs: 'in process',
    run: (dir) => {
      const { root } = upperWith(build, dir, tar)
      const output = join(dir, 'out.tar')
      using memory = benchDisk(WARM_UP_BYTES, 'tmpfs')
      const parameters = { root, how, output, warmUp: join(memory.dir, 'out.tar') }
      return sampleOf(dir, task<number>(build, 'diff', parameters), output)
    },
  }))
}

function commit(name: Name, durability: string, tar: string): Contender[] {
  return ours((build) => ({
    name,
    runs: 'in process',
    run: (dir) => {
      const { root } = upperWith(build, dir, tar)
      return {
        values: { time: task<number>(build, 'diff', { root, how: 'commit', durability }) },
      }
    },
  }))
}

it.each([
  [`${SMALL_FILES.toLocaleString('en')} changed files`, 'diff-small', smallFiles, 1.2],
  [`one changed file of ${LARGE}`, 'diff-large', largeFile, 1.4],
] as const)('diff of %s', async (title, id, makeTar, factor) => {
  const tar = await makeTar()
  const gnu = ['tar', '--xattrs', '--pax-option=delete=atime,delete=ctime', '--sort=name', '--numeric-owner']
  await race({
    id,
    title: `Diff of ${title}`,
    about:
      'The upper directory as a tar, written to a file. Each tar is unpacked and the trees are compared; commit ' +
      'makes a layer of it, with digest and tar-split, and writes no tar.',
    metrics: [TIME, { name: 'written', unit: 'MiB', better: 'less' }],
    disk: 6 * GIB,
    base: GNU_TAR,
    contenders: [
      tarProgram(GNU_TAR, gnu, tar),
      tarProgram('bsdtar, durability none', ['bsdtar', '--format=rpax', '--numeric-owner'], tar),
      ...overlaid(DIFF, 'diff', tar),
      ...overlaid('overlaid, diff with sha256, durability none', 'digest', tar),
      ...commit('overlaid, commit, durability none', 'none', tar),
      ...commit('overlaid, commit, durability full', 'full', tar),
    ],
    goals: [faster(DIFF, GNU_TAR, factor)],
  })
})
