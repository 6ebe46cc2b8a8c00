/** Loading a real image into an empty store: whole commands; daemons run already when the clock starts. */
import { execFileSync } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { it } from 'vitest'
import { DEBIAN_NAME, debianImage } from '../fixtures/images/debian.mjs'
import { startContainerd } from '../helpers/containerd.ts'
import { startDockerd } from '../helpers/dockerd.ts'
import { GIB } from '../helpers/sizes.ts'
import { commandOf } from './support/builds.ts'
import { chainIDs } from './support/chain-ids.ts'
import { unmountBelow } from './support/disk.ts'
import { faster } from './support/goal.ts'
import { type Contender, type Name, ours, race } from './support/race.ts'
import { command, jsonOf, PEAK, TIME } from './support/run.ts'
import { GNU_TAR_OPTIONS, loadTime, ociLayout } from './support/unpackers.ts'
import { layersIn } from './support/workloads.ts'

const DOCKER = 'docker load, durability its own'
const CTR = 'ctr images import, durability its own'
const GNU_TAR = 'GNU tar, of the archive and its layers; durability none'
const NONE = 'overlaid load, durability none'
const FULL = 'overlaid load, durability full'

function peers(file: string): Contender[] {
  return [
    {
      name: DOCKER,
      runs: 'daemon',
      needs: ['dockerd'],
      run: async (dir) => {
        await using docker = await startDockerd(join(dir, 'root'), join(dir, 'scratch'))
        docker.docker('version')
        const env = { DOCKER_HOST: `unix://${join(dir, 'scratch/sock')}` }
        const values = command(['docker', 'load', '-q', '-i', file], { env })
        const layers = docker.docker('image', 'inspect', '--format', '{{json .RootFS.Layers}}', DEBIAN_NAME)
        const made = chainIDs(JSON.parse(layers) as string[])
        return { values: { time: values.time }, output: () => made }
      },
    },
    {
      name: CTR,
      runs: 'daemon',
      needs: ['containerd'],
      run: async (dir) => {
        await using containerd = await startContainerd(join(dir, 'containerd'))
        const { time } = command(['ctr', ...containerd.address, 'images', 'import', file])
        const made = containerd.ctr('snapshots', 'list').match(/^sha256:\w+/gm)
        return { values: { time }, output: () => made?.sort() }
      },
    },
    {
      name: 'skopeo copy to containers-storage, durability none',
      runs: 'process',
      needs: ['skopeo', 'containers-storage'],
      run: (dir) => {
        const root = join(dir, 'root')
        const store = `containers-storage:[overlay@${root}+${join(dir, 'run')}]${DEBIAN_NAME}`
        const argv = ['skopeo', '--insecure-policy', 'copy', '-q', `docker-archive:${file}`, store]
        const values = command(argv)
        unmountBelow(root)
        return { values }
      },
    },
    {
      name: 'umoci unpack of an OCI layout, gzip; durability none',
      runs: 'process',
      needs: ['umoci', 'skopeo'],
      run: (dir) => {
        const image = ociLayout(dir, file)
        return { values: command(['umoci', 'unpack', '--image', image, join(dir, 'bundle')]) }
      },
    },
  ]
}

/** What loading can't be faster than when tar does it: the layers out of the archive, then the files out of them. */
function gnuTar(file: string): Contender {
  return {
    name: GNU_TAR,
    runs: 'process',
    run: (dir) => {
      const layers = layersIn(file)
      for (const i of layers.keys()) mkdirSync(join(dir, String(i)))
      const options = GNU_TAR_OPTIONS.join(' ')
      const steps = layers.map(
        (layer, i) => `tar -xpf ${join(dir, layer)} ${options} -C ${join(dir, String(i))}`,
      )
      return { values: command(['sh', '-ec', [`tar -xf ${file} -C ${dir}`, ...steps].join('\n')]) }
    },
  }
}

function overlaidLoad(name: Name, file: string, durability: string): Contender[] {
  return ours((build) => ({
    name,
    runs: 'process',
    run: (dir) => {
      const argv = [process.execPath, commandOf(build), '--root', join(dir, 'root')]
      const values = command([...argv, '--durability', durability, '--quiet', 'load', '-i', file])
      const { layers } = jsonOf<{ layers: { chainID: string }[] }>([
        ...argv,
        '--json',
        'inspect',
        DEBIAN_NAME,
      ])
      return { values, output: () => layers.map(({ chainID }) => chainID).sort() }
    },
  }))
}

function inProcess(name: Name, archive: string, durability: 'none' | 'full'): Contender[] {
  return ours((build) => ({
    name,
    runs: 'in process',
    run: (dir) => {
      const parameters = { durability, warmUp: archive }
      return { values: { time: loadTime(build, join(dir, 'root'), archive, parameters) } }
    },
  }))
}

it('load of a real image', async () => {
  const file = await debianImage()
  execFileSync('sh', ['-c', 'cat "$0" > /dev/null', file])
  await race({
    id: 'load',
    title: 'Load of a Debian image: three layers, 9,200 entries, 190 MB',
    about:
      'From a docker-archive into an empty store. Compared: the chainIDs of the layers that are there after. The ' +
      'memory of a daemon is not counted.',
    metrics: [TIME, PEAK],
    disk: 3 * GIB,
    base: DOCKER,
    contenders: [
      ...peers(file),
      gnuTar(file),
      ...overlaidLoad(NONE, file, 'none'),
      ...overlaidLoad(FULL, file, 'full'),
      ...inProcess('overlaid, library, durability none', file, 'none'),
    ],
    goals: [faster(FULL, DOCKER, 3), faster(FULL, CTR, 2), faster(NONE, GNU_TAR, 1)],
  })
})
