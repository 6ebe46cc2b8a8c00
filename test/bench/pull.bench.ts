/** Pulling from a registry on loopback into an empty store: whole commands; daemons run already. */
import { join } from 'node:path'
import { it, onTestFinished } from 'vitest'
import { startContainerd } from '../helpers/containerd.ts'
import { startDockerd } from '../helpers/dockerd.ts'
import { type Registry, skopeoPush, startRegistry } from '../helpers/registry.ts'
import { GIB } from '../helpers/sizes.ts'
import { tempDir } from '../helpers/temp-dir.ts'
import { commandOf } from './support/builds.ts'
import { chainIDs } from './support/chain-ids.ts'
import { faster, under } from './support/goal.ts'
import { type Contender, type Name, ours, race } from './support/race.ts'
import { command, jsonOf, PEAK, TIME } from './support/run.ts'
import { missingTool } from './support/tools.ts'
import { imageOf, LARGE, largeFile, sixLayers } from './support/workloads.ts'

const DOCKER = 'docker pull, durability its own'
const CTR = 'ctr images pull, durability its own'
const NONE = 'overlaid pull, durability none'
const FULL = 'overlaid pull, durability full'

/** A registry with the archive's image as `name`, its layers gzipped by skopeo. */
async function serve(archive: string, name: string): Promise<Registry> {
  const dir = tempDir('bench-registry')
  const registry = await startRegistry(dir.path)
  onTestFinished(async () => {
    await registry[Symbol.asyncDispose]()
    dir[Symbol.dispose]()
  })
  skopeoPush(`docker-archive:${archive}`, registry.host, name)
  return registry
}

function overlaidPull(name: Name, ref: string, durability: string): Contender[] {
  return ours((build) => ({
    name,
    runs: 'process',
    run: (dir) => {
      const argv = [process.execPath, commandOf(build), '--root', join(dir, 'root')]
      const values = command([...argv, '--durability', durability, '--quiet', 'pull', ref])
      const { layers } = jsonOf<{ layers: { chainID: string }[] }>([...argv, '--json', 'inspect', ref])
      return { values, output: () => layers.map(({ chainID }) => chainID).sort() }
    },
  }))
}

function peers(ref: string): Contender[] {
  return [
    {
      name: DOCKER,
      runs: 'daemon',
      needs: ['dockerd'],
      run: async (dir) => {
        await using docker = await startDockerd(join(dir, 'root'), join(dir, 'scratch'))
        docker.docker('version')
        const env = { DOCKER_HOST: `unix://${join(dir, 'scratch/sock')}` }
        const { time } = command(['docker', 'pull', '-q', ref], { env })
        const layers = docker.docker('image', 'inspect', '--format', '{{json .RootFS.Layers}}', ref)
        const made = chainIDs(JSON.parse(layers) as string[])
        return { values: { time }, output: () => made }
      },
    },
    {
      name: CTR,
      runs: 'daemon',
      needs: ['containerd'],
      run: async (dir) => {
        await using containerd = await startContainerd(join(dir, 'containerd'))
        const { time } = command(['ctr', ...containerd.address, 'images', 'pull', '--plain-http', ref])
        const made = containerd.ctr('snapshots', 'list').match(/^sha256:\w+/gm)
        return { values: { time }, output: () => made?.sort() }
      },
    },
  ]
}

const isMissing = missingTool('docker-registry') || missingTool('skopeo')

it.skipIf(isMissing)('pull of a real image', async () => {
  const registry = await serve(await sixLayers(), 'six:1')
  const ref = `${registry.host}/six:1`
  await race({
    id: 'pull',
    title: 'Pull of a Debian image of six layers from a registry on loopback',
    about:
      'From docker-registry, layers gzipped, into an empty store. Compared: the chainIDs of the layers that are ' +
      'there after. The memory of a daemon is not counted.',
    metrics: [TIME, PEAK],
    disk: 4 * GIB,
    base: DOCKER,
    contenders: [...peers(ref), ...overlaidPull(NONE, ref, 'none'), ...overlaidPull(FULL, ref, 'full')],
    goals: [faster(FULL, DOCKER, 2), faster(FULL, CTR, 1)],
  })
})

it.skipIf(isMissing)('memory of a pull', async () => {
  const registry = await serve(await imageOf(await largeFile()), 'large:1')
  const ref = `${registry.host}/large:1`
  await race({
    id: 'memory-pull',
    title: `Memory to pull an image with a layer of ${LARGE}`,
    about: 'The peak of the whole command, as the kernel counts it.',
    metrics: [PEAK, TIME],
    disk: 4 * GIB,
    base: NONE,
    contenders: [...overlaidPull(NONE, ref, 'none'), ...overlaidPull(FULL, ref, 'full')],
    goals: [under(NONE, PEAK.name, 200, PEAK.unit), under(FULL, PEAK.name, 200, PEAK.unit)],
  })
})
