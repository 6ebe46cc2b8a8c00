/** Registries that misbehave: a clear error in bounded time and memory, and a store that is as before. */
import { once } from 'node:events'
import { createServer, type ServerResponse } from 'node:http'
import { gzipSync } from 'node:zlib'
import type { AddressInfo } from 'node:net'
import { beforeEach, describe, expect, it, onTestFinished } from 'vitest'
import type { PullOptions } from '../../lib/store/image-store.ts'
import type { Store } from '../../lib/store/store.ts'
import { type Behaviour, type FakeRegistry, fakeRegistry, refuse } from '../helpers/fake-registry.ts'
import { missing } from '../helpers/gates.ts'
import { addBlob, archive, type Files, OCI } from '../helpers/image.ts'
import { watchLeaks } from '../helpers/mounts.ts'
import { MIB } from '../helpers/sizes.ts'
import { archiveOf, newStore, nginxImage, pythonImage, storeFolders } from '../helpers/store.ts'

/** So that giving up takes no time worth telling. */
const QUICK: PullOptions = {
  attempts: 3,
  retryDelay: 1,
  dockerConfig: '/nonexistent',
  timeouts: { connect: 2000, response: 500, stall: 500 },
}
const nginx = nginxImage()
const SECRET = 'a-secret-password'
const auth = { username: 'me', password: SECRET }

describe.skipIf(missing('canMount'))('a registry that misbehaves', () => {
  watchLeaks(() => storeFolders)
  let store: Store
  let registry: FakeRegistry
  let before: unknown

  beforeEach(async () => {
    registry = await fakeRegistry({ 'nginx:1': nginx })
    const served = registry
    onTestFinished(() => served[Symbol.asyncDispose]())
    store = await newStore()
    await store.images.loadAll(archiveOf(pythonImage()))
    before = await snapshot()
  })

  async function snapshot(): Promise<unknown> {
    return {
      images: await store.images.list(),
      layers: await store.layers.list(),
      check: await store.check(),
    }
  }

  /** Pulls, which must fail; the error, with the store as before. */
  async function failure(options: PullOptions = {}, name = 'nginx:1'): Promise<Error> {
    const pulling = store.images.pull(`${registry.host}/${name}`, { ...QUICK, ...options })
    const error: unknown = await pulling.then(
      () => new Error('it went through'),
      (reason: unknown) => reason,
    )
    expect(await snapshot()).toEqual(before)
    expect(`${String(error)} ${JSON.stringify(error)}`).not.toContain(SECRET)
    return error as Error
  }

  /** Does `how` for layers. The config is a blob too, and the smaller one of the kinds. */
  function forLayers(how: (response: ServerResponse, body: Buffer) => boolean): Behaviour {
    return ({ url = '' }, response) => {
      const body = registry.blobs.get(url.slice(url.lastIndexOf('/') + 1))
      return url.includes('/blobs/') && body !== undefined && body[0] === 0x1f && how(response, body)
    }
  }

  const end = (response: ServerResponse, body: Buffer): boolean => {
    response.end(body)
    return true
  }

  it.each([
    [
      'other bytes',
      'ERR_DIGEST_MISMATCH',
      // The time in gzip's header: what comes out is as it should be.
      (r: ServerResponse, body: Buffer) =>
        end(r, Buffer.concat([body.subarray(0, 4), Buffer.alloc(4, 1), body.subarray(8)])),
    ],
    [
      'less than it should',
      'ERR_SIZE_MISMATCH',
      (r: ServerResponse, body: Buffer) => end(r, body.subarray(0, -1)),
    ],
    [
      'more than it should',
      'ERR_SIZE_MISMATCH',
      (r: ServerResponse, body: Buffer) => end(r, Buffer.concat([body, body])),
    ],
  ])('gives a layer with %s', async (_name, code, how) => {
    registry.behave(forLayers(how))
    const error = await failure()
    expect(['ERR_BAD_COMPRESSION', 'ERR_BAD_TAR', code]).toContain((error as { code?: string }).code)
    // What is wrong is not asked for again.
    const asked = registry.requests.filter((line) => line.includes('/blobs/'))
    expect(new Set(asked).size).toBe(asked.length)
  })

  it('gives a layer without an end', async () => {
    let closed = 0
    registry.behave(
      forLayers((response, body) => {
        const more = (): void => {
          while (!response.destroyed && response.write(body));
        }
        response.on('drain', more).on('close', () => closed++)
        more()
        return true
      }),
    )
    expect(await failure()).toMatchObject({
      code: expect.stringMatching(/SIZE_MISMATCH|BAD_COMPRESSION/) as string,
    })
    expect(closed).toBeGreaterThan(0)
  })

  it('gives a manifest of 100 MB', async () => {
    let sent = 0
    registry.behave(({ url = '' }, response) => {
      if (!url.includes('/manifests/')) return false
      const more = (): void => {
        while (sent < 100 * MIB && !response.destroyed) {
          sent += MIB
          if (!response.write(Buffer.alloc(MIB, ' '))) return
        }
        response.end()
      }
      response.on('drain', more)
      more()
      return true
    })
    expect(await failure()).toMatchObject({ code: 'ERR_LIMIT_EXCEEDED' })
    expect(sent).toBeLessThan(50 * MIB)
  })

  it('gives a manifest with another digest than it says', async () => {
    const digest = `sha256:${'0'.repeat(64)}`
    registry.behave(({ url = '' }, response) => {
      if (url.includes('/manifests/')) response.setHeader('docker-content-digest', digest)
      return false
    })
    expect(await failure()).toMatchObject({ code: 'ERR_DIGEST_MISMATCH' })
  })

  it('redirects in a circle', async () => {
    const around = /^GET \/v2\/nginx\/blobs\/around$/
    registry.behave(({ url = '' }, response) => {
      if (!url.includes('/blobs/')) return false
      response.writeHead(307, { location: '/v2/nginx/blobs/around' }).end()
      return true
    })
    expect(await failure()).toMatchObject({
      code: 'ERR_REGISTRY',
      message: expect.stringContaining('more than 10 redirects') as string,
    })
    expect(registry.requests.filter((line) => around.test(line)).length).toBeLessThan(11)
  })

  it('redirects to another host, which gets neither password nor token', async () => {
    await using other = await fakeRegistry({ 'nginx:1': nginx })
    const seen: unknown[] = []
    other.behave(({ headers }) => {
      seen.push(headers.authorization)
      return false
    })
    registry.behave(({ url = '', headers }, response) => {
      if (headers.authorization === undefined) {
        response.setHeader('www-authenticate', 'Basic realm="test"')
        refuse(response, 401, 'UNAUTHORIZED')
        return true
      }
      if (!url.includes('/blobs/')) return false
      response.writeHead(307, { location: `http://${other.host}${url}` }).end()
      return true
    })
    const { id } = await store.images.pull(`${registry.host}/nginx:1`, { ...QUICK, auth })
    expect(id).toBe(nginx.id)
    expect(new Set(seen)).toEqual(new Set([undefined]))
    expect(seen.length).toBeGreaterThan(1)
  })

  it('redirects to where no TLS is, and nobody follows', async () => {
    registry.behave(({ url = '' }, response) => {
      if (!url.includes('/blobs/')) return false
      response.writeHead(307, { location: 'http://198.51.100.1/blob?signature=secret' }).end()
      return true
    })
    const error = await failure()
    expect(error).toMatchObject({ code: 'ERR_REGISTRY' })
    expect(error.message).not.toContain('signature')
  })

  it('names a token server that would get the password without TLS', async () => {
    registry.behave((_request, response) => {
      response.setHeader('www-authenticate', 'Bearer realm="http://198.51.100.1/token",service="s"')
      refuse(response, 401, 'UNAUTHORIZED')
      return true
    })
    expect(await failure({ auth })).toMatchObject({
      code: 'ERR_REGISTRY',
      hint: 'credentials do not go there without TLS',
    })
  })

  it.each(['Basic realm="x"', 'Bearer realm="TOKENS"'])(
    'never is content with credentials: %s',
    async (header) => {
      const tokens = createServer(
        (_request, response) => void response.end(JSON.stringify({ token: SECRET })),
      )
      tokens.listen(0, '127.0.0.1')
      await once(tokens, 'listening')
      onTestFinished(() => void tokens.close())
      const realm = `http://127.0.0.1:${String((tokens.address() as AddressInfo).port)}`
      registry.behave((_request, response) => {
        response.setHeader('www-authenticate', header.replace('TOKENS', realm))
        refuse(response, 401, 'UNAUTHORIZED', `not with ${SECRET}`)
        return true
      })
      const error = await failure({ auth })
      expect(error).toMatchObject({ code: 'ERR_UNAUTHORIZED', detail: ['UNAUTHORIZED: not with ***'] })
      expect(registry.requests.filter((line) => line.includes('/manifests/'))).toHaveLength(2)
      tokens.closeAllConnections()
    },
  )

  it.each([
    [429, 'TOOMANYREQUESTS', {}],
    [503, 'UNAVAILABLE', {}],
    [500, 'UNKNOWN', { 'retry-after': '0' }],
  ])('answers %i again and again', async (status, code, headers) => {
    registry.behave((_request, response) => {
      refuse(response, status, code, 'busy', headers)
      return true
    })
    expect(await failure()).toMatchObject({ code: 'ERR_REGISTRY', detail: [`${code}: busy`] })
    expect(registry.requests.filter((line) => line.includes('/manifests/'))).toHaveLength(3)
  })

  it('wants to be asked again in an hour', async () => {
    registry.behave(({ url = '' }, response) => {
      if (!url.includes('/manifests/')) return false
      refuse(response, 429, 'TOOMANYREQUESTS', 'come back', { 'retry-after': '3600' })
      return true
    })
    expect(await failure()).toMatchObject({ code: 'ERR_REGISTRY' })
    expect(registry.requests.filter((line) => line.includes('/manifests/'))).toHaveLength(1)
  })

  it('answers 503 twice, and then as it should', async () => {
    let left = 2
    registry.behave(({ url = '' }, response) => {
      if (!url.includes('/manifests/') || left-- <= 0) return false
      refuse(response, 503, 'UNAVAILABLE', 'busy', { 'retry-after': '0' })
      return true
    })
    expect((await store.images.pull(`${registry.host}/nginx:1`, QUICK)).id).toBe(nginx.id)
  })

  it.each([
    ['never answers', () => true],
    [
      'sends a byte now and then',
      (response: ServerResponse) => {
        response.writeHead(200, { 'content-length': 1_000_000 })
        const timer = setInterval(() => response.write('x'), 20)
        response.on('close', () => clearInterval(timer))
        return true
      },
    ],
  ])('%s', async (_name, how) => {
    registry.behave(({ url = '' }, response) => url.includes('/manifests/') && how(response))
    expect(await failure({ attempts: 2 })).toMatchObject({ code: 'ERR_UNREACHABLE' })
    expect(registry.requests.filter((line) => line.includes('/manifests/'))).toHaveLength(2)
  })

  it('gives a layer that inflates without end', async () => {
    // A thousandfold each time, in members: 4 MiB of blob are 4 GiB of tar.
    const zeros = gzipSync(Buffer.alloc(16 * MIB))
    const header = archive(new Map([['huge', Buffer.alloc(0)]])).subarray(0, 512)
    const bomb = Buffer.concat([gzipSync(header), ...Array.from({ length: 256 }, () => zeros)])
    const files: Files = new Map()
    const diff = `sha256:${'1'.repeat(64)}`
    const config = addBlob(files, OCI.config, {
      ...nginx.config,
      history: [],
      rootfs: { type: 'layers', diff_ids: [diff] },
    })
    const layer = addBlob(files, OCI.gzip, bomb)
    const manifest = addBlob(files, OCI.manifest, { schemaVersion: 2, config, layers: [layer] })
    registry.behave(({ url = '' }, response) => {
      const name = url.endsWith('/manifests/1') ? manifest.digest : url.slice(url.lastIndexOf('/') + 1)
      const body = files.get(`blobs/sha256/${name.slice('sha256:'.length)}`)
      if (!Buffer.isBuffer(body)) return false
      if (url.includes('/manifests/')) response.setHeader('content-type', OCI.manifest)
      return end(response, body)
    })
    const limits = { maxBytes: 64 * MIB }
    expect(await failure({ limits })).toMatchObject({
      code: expect.stringMatching(/LIMIT_EXCEEDED|BAD_TAR/) as string,
    })
  })

  it('is not one, and says what it wants in no known form', async () => {
    registry.behave(({ url = '' }, response) => {
      if (url === '/v2/') return false
      response.writeHead(418, { 'content-type': 'text/html' }).end('<html>teapot</html>')
      return true
    })
    const error = await failure()
    expect(error).toMatchObject({ code: 'ERR_REGISTRY' })
    expect(error.message).toContain('answered 418')
  })
})
