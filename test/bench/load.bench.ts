/** Loading a real image into an empty store: the whole command, each run on a file system of its own. */
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { COMMAND } from '../e2e/support/command.ts'
import { debianImage } from '../fixtures/images/debian.mjs'
import { startContainerd } from '../helpers/containerd.ts'
import { startDockerd } from '../helpers/dockerd.ts'
import { loopFileSystem } from '../helpers/loopfs.ts'
import { GIB } from '../helpers/sizes.ts'
import { report, ROUNDS, type Row } from './report.ts'

/** Seconds that a command takes. @throws when it fails: what fails fast is no fast loader */
function seconds(command: string, args: readonly string[], env: Record<string, string> = {}): number {
  const start = process.hrtime.bigint()
  const { status, stderr } = spawnSync(command, args, { env: { ...process.env, ...env }, encoding: 'utf8' })
  const taken = Number(process.hrtime.bigint() - start) / 1e9
  expect({ command, status, stderr: status === 0 ? '' : stderr }).toEqual({ command, status: 0, stderr: '' })
  return taken
}

/** Each gets the archive and an empty folder on a fresh ext4; daemons are started before the clock is. */
const CONTENDERS: Record<string, (file: string, dir: string) => Promise<number>> = {
  'docker load': async (file, dir) => {
    await using docker = await startDockerd(join(dir, 'root'), join(dir, 'scratch'))
    docker.docker('version')
    return seconds('docker', ['load', '-q', '-i', file], {
      DOCKER_HOST: `unix://${join(dir, 'scratch/sock')}`,
    })
  },
  'ctr images import': async (file, dir) => {
    await using containerd = await startContainerd(join(dir, 'containerd'))
    return seconds('ctr', [...containerd.address, 'images', 'import', file])
  },
  'overlaid load': async (file, dir) =>
    seconds(process.execPath, [COMMAND, '--root', join(dir, 'root'), '--quiet', 'load', '-i', file]),
  'overlaid load, durability none': async (file, dir) => {
    const options = ['--root', join(dir, 'root'), '--durability', 'none', '--quiet']
    return seconds(process.execPath, [COMMAND, ...options, 'load', '-i', file])
  },
}

it('load of a real image, 3 layers, 9,200 entries', async () => {
  const file = await debianImage()
  const rows: Row[] = Object.keys(CONTENDERS).map((name) => ({ name, values: [] }))
  for (let round = 0; round < ROUNDS; round++) {
    for (const { name, values } of rows) {
      // ext4 re-uses inodes slowly for a minute after a deletion: a fresh file system for each run.
      using disk = loopFileSystem('ext4', 3 * GIB)
      ;(values as number[]).push((await CONTENDERS[name]?.(file, disk.dir)) ?? NaN)
    }
  }
  report('load', 'load of a three-layer Debian image', 's', rows, 'docker load')
})
