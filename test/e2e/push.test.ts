/** What we push into a real registry is pulled by the peers, and run; what is there already is not sent again. */
import { execFileSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { startContainerd } from '../helpers/containerd.ts'
import { startDockerd } from '../helpers/dockerd.ts'
import { missing } from '../helpers/gates.ts'
import { buildImage, dockerArchive, type TestImage } from '../helpers/image.ts'
import { watchLeaks } from '../helpers/mounts.ts'
import { makeAuthority, type Registry, skopeo, startRegistry } from '../helpers/registry.ts'
import { archiveOf, BASE_LAYER, newStore, nginxImage, pythonImage, storeFolders } from '../helpers/store.ts'
import { tempDir } from '../helpers/temp-dir.ts'
import { startTokenServer } from '../helpers/token-server.ts'

function scratch(): string {
  const dir = tempDir('push')
  onTestFinished(() => dir[Symbol.dispose]())
  return dir.path
}

const SAYS = 'it runs'

/** An image with one program, which needs no library. */
function runnableImage(dir: string): TestImage {
  const [source, program] = [join(dir, 'says.c'), join(dir, 'says')]
  writeFileSync(source, `#include <stdio.h>\nint main(void) { puts("${SAYS}"); return 0; }\n`)
  execFileSync('cc', ['-static', '-O1', '-o', program, source])
  const members = [{ name: 'bin/' }, { name: 'bin/says', mode: 0o755, body: readFileSync(program) }]
  return buildImage({ layers: [members, BASE_LAYER], config: { config: { Cmd: ['/bin/says'] } } })
}

/** Layer blobs that were sent: each is a PATCH. */
async function sent(registry: Registry): Promise<number> {
  return (await registry.requests()).filter((line) => line.startsWith('PATCH ')).length
}

const isMissing = missing('canMount', 'hasRegistry', 'hasSkopeo', 'hasOpenssl', 'hasPython')

describe.skipIf(isMissing)('push', () => {
  watchLeaks(() => storeFolders)

  it('sends what skopeo reads, each layer once, and records it as dockerd does', async () => {
    const dir = scratch()
    await using registry = await startRegistry(join(dir, 'registry'))
    const [name, other] = [`${registry.host}/team/nginx:1`, `${registry.host}/team/python:3`]
    const store = await newStore()
    const [nginx, python] = [nginxImage(), pythonImage()]
    await store.images.loadAll(archiveOf(nginx, python))
    await store.images.tag('nginx:1', name)
    await store.images.tag('python:3', other)
    const report = await store.images.push(name)
    expect(report).toMatchObject({ name, layers: { total: 3, sent: 3 } })
    expect(await sent(registry)).toBe(3)
    const inspected = JSON.parse(
      skopeo('inspect', '--tls-verify=false', '--config', `docker://${name}`),
    ) as unknown
    expect(inspected).toEqual(nginx.config)
    // Copying checks every digest.
    skopeo('copy', '--src-tls-verify=false', `docker://${name}`, `oci:${join(dir, 'copy')}:it`)
    expect((await store.images.get(name)).names).toContain(`${registry.host}/team/nginx@${report.digest}`)
    // The second has two of the first one's layers, which the registry gives it from there.
    expect((await store.images.push(other)).layers).toEqual({ total: 3, sent: 1 })
    expect(await sent(registry)).toBe(1)
    expect((await store.images.push(name)).digest).toBe(report.digest)
    expect(await sent(registry)).toBe(0)
    expect(await store.check({ deep: true })).toEqual({ ok: true, problems: [] })
  })

  it('after a pull sends no layer, and makes the same manifest', async () => {
    const dir = scratch()
    await using registry = await startRegistry(join(dir, 'registry'))
    writeFileSync(join(dir, 'nginx.tar'), dockerArchive([nginxImage()]))
    const from = `docker-archive:${join(dir, 'nginx.tar')}`
    skopeo('copy', '--dest-tls-verify=false', from, `docker://${registry.host}/from/nginx:1`)
    const store = await newStore()
    const { digest, id } = await store.images.pull(`${registry.host}/from/nginx:1`)
    await store.images.tag(id, `${registry.host}/to/nginx:2`)
    const pushed = await store.images.push(`${registry.host}/to/nginx:2`)
    expect(pushed.layers).toEqual({ total: 3, sent: 0 })
    const manifest = (ref: string): unknown =>
      JSON.parse(skopeo('inspect', '--raw', '--tls-verify=false', `docker://${registry.host}/${ref}`))
    expect(manifest('to/nginx:2')).toEqual(manifest('from/nginx:1'))
    expect(await store.images.pull(`${registry.host}/to/nginx@${pushed.digest}`)).toMatchObject({ id })
    expect(digest).toMatch(/^sha256:/)
  })

  it('with a token server, to which the scopes are said', async () => {
    const dir = scratch()
    const authority = makeAuthority(join(dir, 'ca'))
    const user = { name: 'me', password: 'secret' }
    const who = { service: 'registry.test', issuer: 'test issuer', user }
    await using tokens = await startTokenServer({ ...who, pair: authority.pair('tokens') })
    const settings = { realm: tokens.realm, service: who.service, issuer: who.issuer, roots: authority.ca }
    await using registry = await startRegistry(join(dir, 'registry'), { tokens: settings })
    const store = await newStore()
    await store.images.loadAll(archiveOf(nginxImage({ names: [`${registry.host}/nginx:1`] })))
    const ref = `${registry.host}/nginx:1`
    await expect(store.images.push(ref, { dockerConfig: dir })).rejects.toMatchObject({
      code: 'ERR_UNAUTHORIZED',
    })
    await store.images.push(ref, { auth: { username: 'me', password: 'secret' } })
    await store.images.tag(ref, `${registry.host}/other:1`)
    await store.images.push(`${registry.host}/other:1`, { auth: { username: 'me', password: 'secret' } })
    expect([...new Set(tokens.asked)]).toEqual([
      'nobody repository:nginx:pull,push',
      'me repository:nginx:pull,push',
      'me repository:other:pull,push',
      'me repository:other:pull,push repository:nginx:pull',
    ])
  })
})

describe.skipIf(isMissing || missing('hasDockerd', 'hasDocker', 'hasContainerd', 'hasCtr', 'hasRunc'))(
  'what is pushed',
  () => {
    watchLeaks(() => storeFolders)

    it('is pulled and run by dockerd and containerd; dockerd knows what we noted', async () => {
      const dir = scratch()
      await using registry = await startRegistry(join(dir, 'registry'))
      const name = `${registry.host}/team/says:1`
      const store = await newStore()
      const image = runnableImage(dir)
      await store.images.loadAll(archiveOf({ ...image, names: [name] }))
      const { digest } = await store.images.push(name)
      {
        await using dockerd = await startDockerd(join(dir, 'docker'), join(dir, 'scratch'))
        expect(dockerd.docker('pull', name)).toContain(digest)
        expect(dockerd.docker('inspect', '-f', '{{.Id}}', name).trim()).toBe(image.id)
        expect(dockerd.docker('run', '--rm', '--network', 'none', name).trim()).toBe(SAYS)
      }
      {
        await using containerd = await startContainerd(join(dir, 'containerd'))
        containerd.ctr('images', 'pull', '--plain-http', name)
        expect(containerd.ctr('images', 'ls', `name==${name}`)).toContain(digest)
        expect(containerd.ctr('run', '--rm', name, 'says').trim()).toBe(SAYS)
      }
      await store.close()
      await using dockerd = await startDockerd(store.root, join(dir, 'ours'))
      const digests = dockerd.docker('inspect', '-f', '{{json .RepoDigests}}', name)
      expect(JSON.parse(digests)).toEqual([`${registry.host}/team/says@${digest}`])
      // By what we noted of our push: dockerd finds all layers there, and makes the same manifest.
      const said = dockerd.docker('push', name)
      expect(said.match(/Layer already exists/g)).toHaveLength(2)
      expect(said).toContain(digest)
    })
  },
)
