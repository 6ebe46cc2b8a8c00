/** Pulling as a change of the store: what is fetched, kept, told and undone. */
import { gzipSync } from 'node:zlib'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { connect, type AddressInfo, type Socket } from 'node:net'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import type { PullOptions } from '../../lib/store/image-store.ts'
import type { Progress } from '../../lib/store/progress.ts'
import { type FakeRegistry, fakeRegistry, sendBlob } from '../helpers/fake-registry.ts'
import { missing } from '../helpers/gates.ts'
import { buildImage, type TestImage } from '../helpers/image.ts'
import { watchLeaks } from '../helpers/mounts.ts'
import { MIB } from '../helpers/sizes.ts'
import {
  archiveOf,
  newRoot,
  newStore,
  nginxImage,
  openStore,
  pythonImage,
  storeFolders,
} from '../helpers/store.ts'

const QUICK: PullOptions = { retryDelay: 1, dockerConfig: '/nonexistent' }

async function serve(images: Readonly<Record<string, TestImage>>, gzip = true): Promise<FakeRegistry> {
  const registry = await fakeRegistry(images, { gzip })
  onTestFinished(() => registry[Symbol.asyncDispose]())
  return registry
}

/** How often each blob was asked for. */
function blobCounts({ requests }: FakeRegistry): number[] {
  const counts = new Map<string, number>()
  for (const line of requests.filter((each) => each.includes('/blobs/')))
    counts.set(line, (counts.get(line) ?? 0) + 1)
  return [...counts.values()]
}

describe.skipIf(missing('canMount'))('pull', () => {
  watchLeaks(() => storeFolders)

  it('goes on by Range where a transfer is cut off, 50 times at random', async () => {
    const cuts = 50
    const body = randomBytes(20 * MIB).toString('latin1')
    const image = buildImage({ layers: [[{ name: 'noise', body: Buffer.from(body, 'latin1') }]] })
    const registry = await serve({ 'big:1': image }, false)
    let left = cuts
    const offsets: string[] = []
    registry.behave(({ url = '', headers }, response) => {
      const blob = registry.blobs.get(url.slice(url.lastIndexOf('/') + 1))
      if (blob === undefined || blob.length < MIB || left === 0) return false
      left--
      const from = Number(/^bytes=(\d+)-$/.exec(headers.range ?? '')?.[1] ?? 0)
      offsets.push(String(from))
      const length = blob.length - from
      if (from > 0)
        response.setHeader(
          'content-range',
          `bytes ${String(from)}-${String(blob.length - 1)}/${String(blob.length)}`,
        )
      response.writeHead(from > 0 ? 206 : 200, { 'content-length': length })
      const some = Math.floor(Math.random() * Math.min(length, (2 * blob.length) / cuts))
      response.write(blob.subarray(from, from + some), () => response.destroy())
      return true
    })
    const store = await newStore()
    const { id } = await store.images.pull(`${registry.host}/big:1`, { ...QUICK, attempts: cuts })
    expect(id).toBe(image.id)
    expect(left).toBe(0)
    expect(new Set(offsets).size).toBeGreaterThan(cuts / 2)
    expect(await store.check({ deep: true })).toEqual({ ok: true, problems: [] })
  })

  it('goes on where the registry has no ranges', async () => {
    const image = nginxImage()
    const registry = await serve({ 'nginx:1': image })
    const cut = new Set<string>()
    registry.behave((request, response) => {
      const { url = '', headers } = request
      const blob = registry.blobs.get(url.slice(url.lastIndexOf('/') + 1))
      if (!url.includes('/blobs/') || blob === undefined) return false
      delete headers.range
      if (cut.has(url)) sendBlob(request, response, blob)
      else {
        response.writeHead(200, { 'content-length': blob.length })
        response.write(blob.subarray(0, 40), () => response.destroy())
      }
      cut.add(url)
      return true
    })
    const store = await newStore()
    expect((await store.images.pull(`${registry.host}/nginx:1`, QUICK)).id).toBe(image.id)
  })

  it('interrupted, keeps the layers that were whole: the next one fetches only the others', async () => {
    const image = nginxImage()
    const registry = await serve({ 'nginx:1': image })
    const store = await newStore()
    const stop = new AbortController()
    const top = image.layers.at(-1)!.diffID
    // The last layer comes when the others are in the store.
    const done = new Set<string>()
    const onProgress = ({ id, state }: Progress): void => {
      if (state === 'done') done.add(id)
      if (done.size === 2) stop.abort(new Error('stopped'))
    }
    registry.behave(({ url = '' }) => {
      const body = registry.blobs.get(url.slice(url.lastIndexOf('/') + 1))
      const isTop = body !== undefined && body.equals(gzipSync(image.layers.at(-1)!.tar))
      return url.includes('/blobs/') && isTop
    })
    const pulling = store.images.pull(`${registry.host}/nginx:1`, {
      ...QUICK,
      onProgress,
      signal: stop.signal,
    })
    await expect(pulling).rejects.toThrow('stopped')
    expect(await store.images.list()).toEqual([])
    expect(await store.layers.list()).toHaveLength(2)
    expect((await store.check()).ok).toBe(true)
    registry.behave(() => false)
    registry.requests.length = 0
    const events: Progress[] = []
    const again = await store.images.pull(`${registry.host}/nginx:1`, {
      ...QUICK,
      onProgress: (event) => events.push(event),
    })
    expect(again.layers).toEqual({ total: 3, added: 1, shared: 2 })
    expect(blobCounts(registry)).toEqual([1, 1])
    const states = new Set(events.filter(({ id }) => id === top).map(({ state }) => state))
    expect([...states]).toEqual(['waiting', 'unpacking', 'done'])
    const total = events.find(({ id, state }) => id === top && state === 'unpacking')!.total
    expect(events.filter(({ id, state }) => id === top && state === 'unpacking').at(-1)!.done).toBe(total)
    expect(await store.check({ deep: true })).toEqual({ ok: true, problems: [] })
  })

  it('eight at once fetch each layer once', async () => {
    const images = Object.fromEntries(
      Array.from({ length: 8 }, (_, i) => {
        const own = [{ name: `own-${String(i)}`, body: randomBytes(50_000).toString('hex') }]
        const [base, certs] = nginxImage().layers.map(({ tar }) => tar)
        return [`image-${String(i)}:1`, buildImage({ layers: [base!, certs!, own] })]
      }),
    )
    const registry = await serve(images)
    const root = newRoot()
    // Two stores on one root exclude each other as two processes do.
    const stores = [await openStore(root), await openStore(root)]
    const pulls = Object.keys(images).map((name, i) =>
      stores[i % 2]!.images.pull(`${registry.host}/${name}`, QUICK),
    )
    const pulled = await Promise.all(pulls)
    expect(pulled.map(({ id }) => id)).toEqual(Object.values(images).map(({ id }) => id))
    // Two shared layers, eight of their own, eight configs.
    expect(registry.requests.filter((line) => line.includes('/blobs/'))).toHaveLength(18)
    expect(await stores[0]!.check({ deep: true })).toEqual({ ok: true, problems: [] })
  })

  it('of one image eight times at once does the work once', async () => {
    const image = nginxImage()
    const registry = await serve({ 'nginx:1': image })
    const store = await newStore()
    await Promise.all(Array.from({ length: 8 }, () => store.images.pull(`${registry.host}/nginx:1`, QUICK)))
    // The config each time, each layer once.
    expect(blobCounts(registry).sort()).toEqual([1, 1, 1, 8])
    expect(await store.check({ deep: true })).toEqual({ ok: true, problems: [] })
  })

  it('fetches a layer that is damaged where it could be copied from', async () => {
    const [base, certs, top] = nginxImage().layers.map(({ tar }) => tar)
    const turned = buildImage({ layers: [certs!, base!, top!] })
    const registry = await serve({ 'turned:1': turned })
    const warnings: string[] = []
    const store = await newStore({ onWarning: (message) => warnings.push(message) })
    const { chainIDs } = await store.images.load(archiveOf(nginxImage()))
    const { cacheID } = await store.layers.get(chainIDs[0]!)
    const path = join(store.root, 'overlay2', cacheID, 'diff/etc/motd')
    writeFileSync(path, 'changed')
    const { id } = await store.images.pull(`${registry.host}/turned:1`, QUICK)
    expect(id).toBe(turned.id)
    expect(warnings).toEqual([expect.stringContaining('damaged there: it is fetched again')])
    // The config, and that layer.
    expect(blobCounts(registry)).toEqual([1, 1])
  })

  it('notes blobs as dockerd does, the newest last', async () => {
    const [one, two] = [nginxImage(), pythonImage()]
    const registry = await serve({ 'a/one:1': one, 'b/two:1': two })
    const store = await newStore()
    await store.images.pull(`${registry.host}/a/one:1`, QUICK)
    await store.images.pull(`${registry.host}/b/two:1`, QUICK)
    const folder = join(store.root, 'image/overlay2/distribution')
    const { diffID } = one.layers[0]!
    const read = (path: string): string => readFileSync(join(folder, path), 'utf8')
    const known = JSON.parse(read(`v2metadata-by-diffid/sha256/${diffID.slice(7)}`)) as { Digest: string }[]
    const digest = known[0]!.Digest
    expect(known).toEqual([
      { Digest: digest, SourceRepository: `${registry.host}/a/one` },
      { Digest: digest, SourceRepository: `${registry.host}/b/two` },
    ])
    expect(read(`diffid-by-digest/sha256/${digest.slice(7)}`)).toBe(diffID)
  })

  it('goes through the proxy of the environment, by CONNECT or with the whole URL', async () => {
    const image = nginxImage()
    const registry = await serve({ 'nginx:1': image })
    const asked: string[] = []
    const proxy = createServer((request, response) => {
      asked.push(
        `${String(request.method)} ${String(request.url)} ${String(request.headers['proxy-authorization'])}`,
      )
      const { pathname } = new URL(request.url ?? '')
      void fetch(`http://${registry.host}${pathname}`).then(async (answer) => {
        const type = answer.headers.get('content-type') ?? 'text/plain'
        response
          .writeHead(answer.status, { 'content-type': type })
          .end(Buffer.from(await answer.arrayBuffer()))
      })
    })
    proxy.on('connect', (request, client: Socket) => {
      asked.push(`CONNECT ${String(request.url)}`)
      const [host = '', port = ''] = registry.host.split(':')
      const upstream = connect(Number(port), host, () => {
        client.write('HTTP/1.1 200 OK\r\n\r\n')
        upstream.pipe(client).pipe(upstream)
      })
      for (const socket of [client, upstream]) socket.on('error', () => undefined)
    })
    proxy.listen(0, '127.0.0.1')
    await once(proxy, 'listening')
    onTestFinished(() => {
      proxy.closeAllConnections()
      proxy.close()
    })
    const url = `http://user:word@127.0.0.1:${String((proxy.address() as AddressInfo).port)}`
    const env = { HTTP_PROXY: url, https_proxy: url, NO_PROXY: 'other.test' }
    const store = await newStore()
    // A name that only the proxy knows. It is asked by TLS first, which the registry behind it does not speak.
    await store.images.pull('registry.test:5000/nginx:1', { ...QUICK, env, insecure: true })
    expect(asked[0]).toBe('CONNECT registry.test:5000')
    const basic = `Basic ${Buffer.from('user:word').toString('base64')}`
    expect(asked).toContain(`GET http://registry.test:5000/v2/nginx/manifests/1 ${basic}`)
    const exempt = { ...env, NO_PROXY: '.test:5000' }
    const direct = store.images.pull('registry.test:5000/nginx:1', { ...QUICK, env: exempt, attempts: 1 })
    await expect(direct).rejects.toMatchObject({ code: 'ERR_UNREACHABLE' })
  })
})
