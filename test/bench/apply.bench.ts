/**
 * One layer from an archive to files: the library in a process that runs already, tar programs and peers as processes.
 * Ours makes both digests and the tar-split record on the way, and refuses what would leave the layer's root.
 */
import { join } from 'node:path'
import { it } from 'vitest'
import { GIB, MIB } from '../helpers/sizes.ts'
import { faster, within } from './support/goal.ts'
import { type Contender, type Name, type Race, race } from './support/race.ts'
import { command, TIME } from './support/run.ts'
import {
  containersStorage,
  GNU_TAR_OPTIONS,
  nodePackage,
  overlaid,
  program,
  shell,
  umoci,
} from './support/unpackers.ts'
import {
  debianBase,
  gzipped,
  imageOf,
  LARGE,
  largeFile,
  SMALL_FILES,
  smallFiles,
} from './support/workloads.ts'

const GNU_TAR = 'GNU tar, durability none'
const PIPELINE = 'pigz, tee, sha256sum, tar; durability none'
const SHA256 = 'sha256sum alone, durability none'
const CREATION = 'plain creation with dd, durability none'
const NONE = 'overlaid, durability none'
const SYNCED = 'overlaid, durability none + one syncfs'
const FULL = 'overlaid, durability full'
const FIRST = 'overlaid, the first load of a process, durability none'

const ABOUT =
  'Both digests and the tar-split record are part of our time; the tree that each has made is compared. ' +
  'umoci reads gzip, always.'
const DISK = 5 * GIB

/** @param warmUp an image that the process has loaded before */
function allOurs(image: string, warmUp: string = image): Contender[] {
  return [
    ...overlaid(NONE, image, { durability: 'none', warmUp }),
    ...overlaid(FIRST, image, { durability: 'none' }),
    ...overlaid(SYNCED, image, { durability: 'none', syncfs: true, warmUp }),
    ...overlaid(FULL, image, { durability: 'full', warmUp }),
  ]
}

function tarPrograms(tar: string): Contender[] {
  const gnu = ['tar', '-xpf', tar, ...GNU_TAR_OPTIONS]
  return [
    program(GNU_TAR, gnu),
    shell('GNU tar, durability none + one syncfs', `${gnu.join(' ')} -C $FILES && sync -f $FILES`),
    program('bsdtar, durability none', ['bsdtar', '-xpf', tar, '--numeric-owner'], ['bsdtar']),
  ]
}

/** It keeps neither xattrs nor devices: a contender where there are none. */
function tarStream(tar: string): Contender {
  return nodePackage('npm tar-stream and fs, durability none', 'tar-stream', tar)
}

/** A command that makes nothing to compare: a floor. */
function floor(name: Name, argv: (dir: string) => readonly string[]): Contender {
  return { name, runs: 'process', run: (dir) => ({ values: { time: command(argv(dir)).time } }) }
}

/** A race whose trees are compared and whose time counts. */
function raceOnTime(plan: Omit<Race, 'about' | 'metrics' | 'disk'>): Promise<void> {
  return race({ ...plan, about: ABOUT, metrics: [TIME], disk: DISK })
}

it('apply of a Debian base system', async () => {
  const tar = await debianBase()
  const image = await imageOf(tar)
  await raceOnTime({
    id: 'apply-debian',
    title: 'Apply of a Debian base system: 6,700 entries, 170 MB',
    base: GNU_TAR,
    contenders: [
      ...tarPrograms(tar),
      ...allOurs(image),
      containersStorage('containers-storage import-layer, durability none', tar),
      umoci('umoci unpack, durability none', image),
    ],
    goals: [faster(NONE, GNU_TAR, 1.5), within(FULL, SYNCED, 1.3)],
  })
})

it('apply of a Debian base system, gzip', async () => {
  const tar = await gzipped(await debianBase())
  const image = await imageOf(tar)
  const unpack = `tar -xpf - ${GNU_TAR_OPTIONS.join(' ')} -C $FILES`
  const pipeline = `sha256sum ${tar} & pigz -dc ${tar} | tee >(sha256sum) | ${unpack} && wait`
  await raceOnTime({
    id: 'apply-debian-gzip',
    title: 'Apply of a Debian base system, gzip',
    base: PIPELINE,
    contenders: [
      shell(PIPELINE, pipeline, ['pigz']),
      shell('pigz, tar, without digests; durability none', `pigz -dc ${tar} | ${unpack}`, ['pigz']),
      program(
        'bsdtar, without digests, durability none',
        ['bsdtar', '-xpf', tar, '--numeric-owner'],
        ['bsdtar'],
      ),
      ...allOurs(image),
      containersStorage('containers-storage import-layer, durability none', tar),
      umoci('umoci unpack, durability none', image),
    ],
    goals: [faster(NONE, PIPELINE, 2.5), within(FULL, SYNCED, 1.3)],
  })
})

it('apply of many small files', async () => {
  const tar = await smallFiles()
  const image = await imageOf(tar)
  await raceOnTime({
    id: 'apply-small',
    title: `Apply of ${SMALL_FILES.toLocaleString('en')} small files`,
    base: GNU_TAR,
    contenders: [...tarPrograms(tar), ...allOurs(image), tarStream(tar)],
    goals: [faster(NONE, GNU_TAR, 1.5), within(FULL, SYNCED, 1.3)],
  })
})

it('apply of one large file', async () => {
  const tar = await largeFile()
  const image = await imageOf(tar)
  // Of the large one there would be less memory afterwards than the others have.
  const warmUp = await imageOf(await largeFile(64 * MIB))
  await raceOnTime({
    id: 'apply-large',
    title: `Apply of one file of ${LARGE}`,
    base: GNU_TAR,
    contenders: [
      ...tarPrograms(tar),
      floor(SHA256, () => ['sha256sum', tar]),
      floor(CREATION, (dir) => ['dd', `if=${tar}`, `of=${join(dir, 'file')}`, 'bs=1M', 'status=none']),
      ...allOurs(image, warmUp),
      tarStream(tar),
      // Not where there are folders, whose times it loses.
      nodePackage('npm tar, durability none', 'npm-tar', tar),
    ],
    goals: [within(NONE, [SHA256, CREATION], 1.15), faster(NONE, GNU_TAR, 1), within(FULL, SYNCED, 1.3)],
  })
})
