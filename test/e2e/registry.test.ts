/** Real registries, filled and read by real peers: skopeo, dockerd, containerd. */
import { cpSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import type { Store } from '../../lib/store/store.ts'
import { missing } from '../helpers/gates.ts'
import { dockerArchive, ociFiles, type TestImage, writeFiles } from '../helpers/image.ts'
import { watchLeaks } from '../helpers/mounts.ts'
import { makeAuthority, type Registry, skopeo, skopeoPush, startRegistry } from '../helpers/registry.ts'
import { newRoot, newStore, nginxImage, openStore, pythonImage, storeFolders } from '../helpers/store.ts'
import { tempDir } from '../helpers/temp-dir.ts'

function scratch(): string {
  const dir = tempDir('registry')
  onTestFinished(() => dir[Symbol.dispose]())
  return dir.path
}

/** The image as skopeo takes it, and where. */
function archiveFor(dir: string, image: TestImage, format: 'docker' | 'oci'): string {
  const path = join(dir, `${format}-${image.id.slice(7, 19)}`)
  if (format === 'oci') {
    writeFiles(
      path,
      ociFiles([{ ...image, names: ['it'] }], {
        annotations: () => ({ 'org.opencontainers.image.ref.name': 'it' }),
      }),
    )
    return `oci:${path}:it`
  }
  writeFileSync(path, dockerArchive([image]))
  return `docker-archive:${path}`
}

/** The digest of the manifest, as skopeo sees it. */
function digestOf(host: string, name: string, ...options: string[]): string {
  return skopeo(
    'inspect',
    '--tls-verify=false',
    ...options,
    '--format',
    '{{.Digest}}',
    `docker://${host}/${name}`,
  ).trim()
}

async function expectPulled(store: Store, host: string, name: string, image: TestImage): Promise<void> {
  const pulled = await store.images.get(`${host}/${name}`)
  expect(pulled.id).toBe(image.id)
  expect(pulled.diffIDs).toEqual(image.layers.map(({ diffID }) => diffID))
  expect(await store.check({ deep: true })).toEqual({ ok: true, problems: [] })
}

describe.skipIf(missing('canMount', 'hasRegistry', 'hasSkopeo', 'hasOpenssl', 'hasPython'))(
  'a registry',
  () => {
    watchLeaks(() => storeFolders)

    it.each([
      ['docker', []],
      ['oci', []],
      ['oci', ['--dest-compress-format', 'zstd', '--dest-compress']],
    ] as const)('without TLS: %s images %j that skopeo pushed', async (format, options) => {
      const dir = scratch()
      await using registry = await startRegistry(join(dir, 'registry'))
      const image = nginxImage()
      skopeoPush(archiveFor(dir, image, format), registry.host, 'team/nginx:1', ...options)
      const store = await newStore()
      const pulled = await store.images.pull(`${registry.host}/team/nginx:1`)
      expect(pulled.digest).toBe(digestOf(registry.host, 'team/nginx:1'))
      expect(pulled.layers).toEqual({ total: 3, added: 3, shared: 0 })
      expect(pulled.names).toEqual([
        `${registry.host}/team/nginx:1`,
        `${registry.host}/team/nginx@${pulled.digest}`,
      ])
      await expectPulled(store, registry.host, 'team/nginx:1', image)
    })
  },
)
