/** Programs and packages that unpack a layer's tar: contenders of apply. */
import { mkdirSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { dumpTree } from '../../../lib/driver-suite/tree.ts'
import { GIB } from '../../helpers/sizes.ts'
import { type Build, NOW } from './builds.ts'
import { benchDisk, unmountBelow } from './disk.ts'
import { type Contender, type Name, ours, type Sample } from './race.ts'
import { command, type Taken, task, textOf } from './run.ts'

export const GNU_TAR_OPTIONS = ['--xattrs', '--xattrs-include=*', '--numeric-owner']

/** The tree below `files` is what it made. The root's own entry is not in every layer. */
export function sampleOf(time: number, files: string): Sample {
  return { values: { time }, output: () => dumpTree(files, { root: false }) }
}

function wholeProcess(name: Name, needs: Contender['needs'], unpack: (files: string) => Taken): Contender {
  return {
    name,
    runs: 'process',
    needs: needs ?? [],
    run: (dir) => {
      const files = join(dir, 'files')
      mkdirSync(files)
      return sampleOf(unpack(files).time, files)
    },
  }
}

/** A shell command that unpacks into the folder `$FILES`. */
export function shell(name: Name, script: string, needs?: Contender['needs']): Contender {
  return wholeProcess(name, needs, (files) =>
    command(['bash', '-c', `set -o pipefail; ${script}`], { env: { FILES: files } }),
  )
}

/** A program of its own, without a shell. */
export function program(name: Name, argv: readonly string[], needs?: Contender['needs']): Contender {
  return wholeProcess(name, needs, (files) => command([...argv, '-C', files]))
}

/** A package for Node in a process that runs already. */
export function nodePackage(name: Name, script: 'npm-tar' | 'tar-stream', archive: string): Contender {
  return {
    name,
    runs: 'in process',
    run: (dir) => {
      const files = join(dir, 'files')
      return sampleOf(task<number>(NOW, script, { archive, files }), files)
    },
  }
}

/** What containers/storage does with a layer: podman's way. */
export function containersStorage(name: Name, archive: string): Contender {
  return {
    name,
    runs: 'process',
    needs: ['containers-storage'],
    run: (dir) => {
      const root = join(dir, 'root')
      const options = ['--graph', root, '--run', join(dir, 'run'), '--storage-driver', 'overlay']
      const { time } = command(['containers-storage', ...options, 'import-layer', '-r', '-f', archive])
      unmountBelow(root)
      // The layer's folder is named by its id; `l` holds the short names.
      const [id = ''] = readdirSync(join(root, 'overlay')).filter((entry) => /^[0-9a-f]{64}$/.test(entry))
      return sampleOf(time, join(root, 'overlay', id, 'diff'))
    },
  }
}

/** umoci, from an OCI layout that skopeo makes of the archive before the clock starts. */
export function umoci(name: Name, image: string): Contender {
  return {
    name,
    runs: 'process',
    needs: ['umoci', 'skopeo'],
    run: (dir) => {
      const bundle = join(dir, 'bundle')
      const { time } = command(['umoci', 'unpack', '--image', ociLayout(dir, image), bundle])
      return sampleOf(time, join(bundle, 'rootfs'))
    },
  }
}

/** @returns `<folder>:<tag>`, as umoci and skopeo name it */
export function ociLayout(dir: string, image: string): string {
  const layout = `${join(dir, 'layout')}:bench`
  textOf(['skopeo', '--insecure-policy', 'copy', '--quiet', `docker-archive:${image}`, `oci:${layout}`])
  return layout
}

export interface LoadParameters {
  readonly durability: 'none' | 'full'
  /** One syncfs after it is part of the time. */
  readonly syncfs?: boolean
  /** An archive that the process has loaded before, into another store; without it this is its first. */
  readonly warmUp?: string
}

/** Our library loading a docker-archive of one layer; its files are the layer's folder. */
export function overlaid(name: Name, image: string, parameters: LoadParameters): Contender[] {
  return ours((build) => ({
    name,
    runs: 'in process',
    run: (dir) => {
      const root = join(dir, 'root')
      return sampleOf(loadTime(build, root, image, parameters), onlyLayer(root))
    },
  }))
}

/** Milliseconds of a load by the library into a store that is made at `root`. */
export function loadTime(
  build: Build,
  root: string,
  archive: string,
  { durability, syncfs = false, warmUp }: LoadParameters,
): number {
  const parameters = { root, archive, durability, syncfs }
  if (warmUp === undefined) return task<number>(build, 'load', parameters)
  using memory = benchDisk(GIB, 'tmpfs')
  const before = { root: join(memory.dir, 'root'), archive: warmUp }
  return task<number>(build, 'load', { ...parameters, warmUp: before })
}

/** The folder of the only layer of a store. */
function onlyLayer(root: string): string {
  const home = join(root, 'overlay2')
  const [id = ''] = readdirSync(home).filter((entry) => /^[0-9a-f]{64}$/.test(entry))
  return join(home, id, 'diff')
}
