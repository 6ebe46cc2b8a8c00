/** Real registries, filled and read by real peers: skopeo, dockerd, containerd. */
import { cpSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import type { Store } from '../../lib/store/store.ts'
import { missing } from '../helpers/gates.ts'
import {
  addBlob,
  buildImage,
  dockerArchive,
  OCI,
  ociFiles,
  type TestImage,
  withIndex,
  writeFiles,
} from '../helpers/image.ts'
import { watchLeaks } from '../helpers/mounts.ts'
import {
  freePort,
  makeAuthority,
  type Registry,
  skopeo,
  skopeoPush,
  skopeoPushAsync,
  startRegistry,
} from '../helpers/registry.ts'
import { newStore, nginxImage, pythonImage, storeFolders } from '../helpers/store.ts'
import { tempDir } from '../helpers/temp-dir.ts'
import { startTokenServer } from '../helpers/token-server.ts'

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

async function blobRequests(registry: Registry): Promise<string[]> {
  return (await registry.requests()).filter((line) => line.includes('/blobs/'))
}

const isMissing = missing('canMount', 'hasRegistry', 'hasSkopeo', 'hasOpenssl', 'hasPython')

describe.skipIf(isMissing)('a registry', () => {
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

  it('with TLS from a private CA that asks for a client certificate', async () => {
    const dir = scratch()
    const authority = makeAuthority(join(dir, 'ca'))
    const tls = { ...authority.pair('server'), clientCA: authority.ca }
    await using registry = await startRegistry(join(dir, 'registry'), { tls })
    const certsDir = join(dir, 'certs.d')
    const own = join(certsDir, registry.host)
    mkdirSync(own, { recursive: true })
    const client = authority.pair('client')
    cpSync(client.cert, join(own, 'client.cert'))
    cpSync(client.key, join(own, 'client.key'))
    const image = nginxImage()
    skopeoPush(archiveFor(dir, image, 'docker'), registry.host, 'nginx:1', '--dest-cert-dir', own)
    const store = await newStore()
    await expect(store.images.pull(`${registry.host}/nginx:1`, { certsDir })).rejects.toMatchObject({
      code: 'ERR_UNREACHABLE',
      message: expect.stringMatching(/certificate/) as string,
      hint: expect.stringContaining('/etc/docker/certs.d') as string,
    })
    cpSync(authority.ca, join(own, 'ca.crt'))
    await store.images.pull(`${registry.host}/nginx:1`, { certsDir })
    await expectPulled(store, registry.host, 'nginx:1', image)
  })

  it('with basic authentication, by what docker has in config.json, a helper, or what is given', async () => {
    const dir = scratch()
    const user = { name: 'me', password: 'pass:wörd' }
    await using registry = await startRegistry(join(dir, 'registry'), { user })
    const image = nginxImage()
    const credentials = ['--dest-creds', `${user.name}:${user.password}`]
    skopeoPush(archiveFor(dir, image, 'docker'), registry.host, 'nginx:1', ...credentials)
    const ref = `${registry.host}/nginx:1`
    const store = await newStore()
    const dockerConfig = join(dir, 'docker')
    const refused = { code: 'ERR_UNAUTHORIZED', detail: ['UNAUTHORIZED: authentication required'] }
    await expect(store.images.pull(ref, { dockerConfig })).rejects.toMatchObject(refused)
    const wrong = { username: user.name, password: 'wrong-password' }
    const error: unknown = await store.images.pull(ref, { auth: wrong }).catch((reason: unknown) => reason)
    expect(error).toMatchObject(refused)
    expect(JSON.stringify(error) + String(error)).not.toContain('wrong-password')
    const { id } = await store.images.pull(ref, { auth: { username: user.name, password: user.password } })
    await expectPulled(store, registry.host, 'nginx:1', image)
    mkdirSync(dockerConfig)
    const config = (value: object): void =>
      writeFileSync(join(dockerConfig, 'config.json'), JSON.stringify(value))
    const auth = Buffer.from(`${user.name}:${user.password}`).toString('base64')
    config({ auths: { [`https://${registry.host}/v1/`]: { auth } } })
    expect((await store.images.pull(ref, { dockerConfig })).id).toBe(id)
    config({ credHelpers: { [registry.host]: 'test' } })
    await expect(store.images.pull(ref, { dockerConfig })).rejects.toMatchObject({
      message: 'the credential helper docker-credential-test is not on the PATH',
    })
    const answer = JSON.stringify({ ServerURL: registry.host, Username: user.name, Secret: user.password })
    const script = `#!/bin/sh\nread -r key\n[ "$1 $key" = "get ${registry.host}" ] && echo '${answer}'\n`
    writeFileSync(join(dir, 'docker-credential-test'), script, { mode: 0o755 })
    vi.stubEnv('PATH', `${dir}:${process.env['PATH'] ?? ''}`)
    onTestFinished(() => void vi.unstubAllEnvs())
    expect((await store.images.pull(ref, { dockerConfig })).id).toBe(id)
  })

  it('with a token server, for a name and password, an identity token, or nobody', async () => {
    const dir = scratch()
    const authority = makeAuthority(join(dir, 'ca'))
    const user = { name: 'me', password: 'secret' }
    const who = { service: 'registry.test', issuer: 'test issuer', user, identityToken: 'identity' }
    await using tokens = await startTokenServer({ ...who, pair: authority.pair('tokens') })
    const settings = { realm: tokens.realm, service: who.service, issuer: who.issuer, roots: authority.ca }
    await using registry = await startRegistry(join(dir, 'registry'), { tokens: settings })
    const image = nginxImage()
    const credentials = ['--dest-creds', 'me:secret']
    // In a process of its own: the token server is in ours.
    await skopeoPushAsync(archiveFor(dir, image, 'docker'), registry.host, 'team/nginx:1', ...credentials)
    const ref = `${registry.host}/team/nginx:1`
    tokens.asked.length = 0
    const store = await newStore()
    await store.images.pull(ref, { dockerConfig: dir })
    await expectPulled(store, registry.host, 'team/nginx:1', image)
    // One token serves the manifest, the config and all layers.
    expect(tokens.asked).toEqual(['nobody repository:team/nginx:pull'])
    await store.images.pull(ref, { auth: { username: 'me', password: 'secret' } })
    await store.images.pull(ref, { auth: { identityToken: 'identity' } })
    expect(tokens.asked.slice(1)).toEqual(['me repository:team/nginx:pull', 'me repository:team/nginx:pull'])
    const wrong = store.images.pull(ref, { auth: { username: 'me', password: 'wrong' } })
    await expect(wrong).rejects.toMatchObject({
      code: 'ERR_UNAUTHORIZED',
      detail: ['incorrect username or password'],
    })
  })

  it('of images that share layers: each is fetched once, and none that the store has', async () => {
    const dir = scratch()
    await using registry = await startRegistry(join(dir, 'registry'))
    const [nginx, python] = [nginxImage(), pythonImage()]
    skopeoPush(archiveFor(dir, nginx, 'docker'), registry.host, 'nginx:1')
    skopeoPush(archiveFor(dir, python, 'oci'), registry.host, 'python:3')
    const store = await newStore()
    await store.images.pull(`${registry.host}/nginx:1`)
    await registry.requests()
    const { layers, digest } = await store.images.pull(`${registry.host}/python:3`)
    expect(layers).toEqual({ total: 3, added: 1, shared: 2 })
    // The config and the one layer.
    expect(await blobRequests(registry)).toHaveLength(2)
    const { layers: again } = await store.images.pull(`${registry.host}/python@${digest}`)
    expect(again).toEqual({ total: 3, added: 0, shared: 3 })
    expect(await blobRequests(registry)).toHaveLength(1)
  })

  it('fetches no layer that the store has on other layers', async () => {
    const dir = scratch()
    await using registry = await startRegistry(join(dir, 'registry'))
    const [base, certs, top] = nginxImage().layers.map(({ tar }) => tar)
    const turned = buildImage({ layers: [certs!, base!, top!] })
    skopeoPush(archiveFor(dir, nginxImage(), 'docker'), registry.host, 'one:1')
    skopeoPush(archiveFor(dir, turned, 'docker'), registry.host, 'two:1')
    const store = await newStore()
    await store.images.pull(`${registry.host}/one:1`)
    await registry.requests()
    const { layers } = await store.images.pull(`${registry.host}/two:1`)
    expect(layers.added).toBe(3)
    expect(await blobRequests(registry)).toHaveLength(1)
    await expectPulled(store, registry.host, 'two:1', turned)
  })

  it('of an index for many platforms the one that is asked for', async () => {
    const dir = scratch()
    await using registry = await startRegistry(join(dir, 'registry'))
    const [here, there] = [nginxImage(), nginxImage({ config: { architecture: 'riscv64' } })]
    const files = ociFiles([here, there], {
      platform: ({ config }) => ({ os: 'linux', architecture: String(config['architecture']) }),
    })
    const index = {
      ...(JSON.parse((files.get('index.json') as Buffer).toString()) as object),
      mediaType: OCI.index,
    }
    const entry = addBlob(files, OCI.index, index)
    const annotations = { 'org.opencontainers.image.ref.name': 'all' }
    writeFiles(join(dir, 'layout'), withIndex(files, [{ ...entry, annotations }]))
    skopeoPush(`oci:${join(dir, 'layout')}:all`, registry.host, 'nginx:1', '--all', '--preserve-digests')
    const ref = `${registry.host}/nginx:1`
    const store = await newStore()
    expect(await store.images.pull(ref)).toMatchObject({ id: here.id, digest: entry.digest })
    expect(await store.images.pull(ref, { platform: 'riscv64' })).toMatchObject({
      id: there.id,
      digest: entry.digest,
      layers: { added: 0 },
    })
    await expect(store.images.pull(ref, { platform: 'linux/s390x' })).rejects.toMatchObject({
      code: 'ERR_UNSUPPORTED_PLATFORM',
    })
  })

  it('by a mirror first, and without it when that fails', async () => {
    const dir = scratch()
    await using registry = await startRegistry(join(dir, 'registry'))
    await using mirror = await startRegistry(join(dir, 'mirror'))
    const image = nginxImage()
    skopeoPush(archiveFor(dir, image, 'docker'), registry.host, 'nginx:1')
    skopeoPush(archiveFor(dir, image, 'docker'), mirror.host, 'nginx:1')
    const ref = `${registry.host}/nginx:1`
    const mirrors = [`127.0.0.1:${String(await freePort())}`, `http://${mirror.host}`]
    await registry.requests()
    const store = await newStore()
    await store.images.pull(ref, { mirrors })
    expect(await registry.requests()).toEqual([])
    await expectPulled(store, registry.host, 'nginx:1', image)
    await mirror[Symbol.asyncDispose]()
    await (await newStore()).images.pull(ref, { mirrors, retryDelay: 1 })
    expect(await registry.requests()).not.toEqual([])
  })
})
