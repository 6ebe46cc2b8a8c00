/** `--change` against the real thing: dockerd makes of each change in the table what we make of it. */
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { applyChanges } from '../../lib/oci/change.ts'
import type { ContainerConfig } from '../../lib/oci/config.ts'
import { APPLIED, base } from '../fixtures/changes.ts'
import { type Dockerd, startDockerd } from '../helpers/dockerd.ts'
import { missing } from '../helpers/gates.ts'
import { buildImage, dockerArchive } from '../helpers/image.ts'
import { type TempDir, tempDir } from '../helpers/temp-dir.ts'

/** Several changes at once, where the order or what came before counts. */
const SEQUENCES: readonly (readonly string[])[] = [
  ['ENTRYPOINT ["e"]'],
  ['ENTRYPOINT e f'],
  ['CMD ["c"]', 'ENTRYPOINT ["e"]'],
  ['ENTRYPOINT ["e"]', 'CMD ["c"]'],
  ['ENV A=/a', 'ENV B=$A/b P="80 81"', 'WORKDIR $B', 'WORKDIR c', 'EXPOSE $P', 'USER $A'],
]
const REFUSED = [
  'ENV A',
  'ENV A=1 B',
  'ENV =1',
  'LABEL a',
  'EXPOSE x',
  'EXPOSE 65536',
  'CMD [1]',
  'RUN x',
  'FROM x',
]

describe.skipIf(missing('hasDocker', 'hasDockerd', 'canMount'))('dockerd', () => {
  let dir: TempDir
  let dockerd: Dockerd
  let container: string

  beforeAll(async () => {
    dir = tempDir('changes')
    dockerd = await startDockerd(join(dir.path, 'root'), join(dir.path, 'scratch'))
    const image = buildImage({ layers: [[{ name: 'f' }]], config: { config: base }, names: ['base:1'] })
    dockerd.dockerWith(dockerArchive([image]), 'load')
    container = dockerd.docker('create', 'base:1').trim()
  })
  afterAll(async () => {
    await dockerd.stop()
    dir[Symbol.dispose]()
  })

  function commit(changes: readonly string[]): ContainerConfig {
    const options = changes.flatMap((change) => ['--change', change])
    const id = dockerd.docker('commit', ...options, container).trim()
    const config = JSON.parse(
      dockerd.docker('image', 'inspect', '--format', '{{json .Config}}', id),
    ) as ContainerConfig
    return relevant(config)
  }

  it.each([...APPLIED.map(([change]) => [change]), ...SEQUENCES])('applies %s', (...changes) => {
    expect(relevant(applyChanges(base, changes))).toEqual(commit(changes))
  })

  // Its commit fills what is empty from the image again, so there no change can take an entry point away.
  it('cannot clear the entry point, which we can', () => {
    expect(commit(['ENTRYPOINT []']).Entrypoint).toEqual(base.Entrypoint)
    expect(applyChanges(base, ['ENTRYPOINT []'])).not.toHaveProperty('Entrypoint')
  })

  it.each(REFUSED)('refuses %s', (change) => {
    expect(() => commit([change])).toThrow()
    expect(() => applyChanges(base, [change])).toThrow()
  })
})

/** The fields that changes set, absent where docker writes null or nothing. */
function relevant(config: ContainerConfig): ContainerConfig {
  const { Cmd, Entrypoint, Env, WorkingDir, User, Labels, ExposedPorts, Volumes } = config
  const fields = { Cmd, Entrypoint, Env, WorkingDir, User, Labels, ExposedPorts, Volumes }
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => (value ?? '') !== ''))
}
