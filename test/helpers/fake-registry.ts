/**
 * A registry in this process that does as it is told: images in memory, and a say in every answer. Independent of
 * lib/, as the images are.
 */
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { addManifest, type Files, OCI, sha256, type TestImage } from './image.ts'

/** True when it has answered, or never will. */
export type Behaviour = (request: IncomingMessage, response: ServerResponse) => boolean | Promise<boolean>

export interface FakeRegistry extends AsyncDisposable {
  /** `127.0.0.1:<port>`. */
  readonly host: string
  /** `GET /v2/…`, in order. */
  readonly requests: string[]
  /** Blobs by digest, of all images. */
  readonly blobs: ReadonlyMap<string, Buffer>
  /** Asked first from now on. */
  behave(behaviour: Behaviour): void
}

/** Serves the images under `repository/path:tag`, their layers gzipped unless told otherwise. */
export async function fakeRegistry(
  images: Readonly<Record<string, TestImage>>,
  { gzip = true }: { readonly gzip?: boolean } = {},
): Promise<FakeRegistry> {
  const blobs = new Map<string, Buffer>()
  const manifests = new Map<string, string>()
  for (const [name, image] of Object.entries(images)) {
    const files: Files = new Map()
    manifests.set(name, addManifest(files, image, gzip).digest)
    for (const body of files.values()) if (Buffer.isBuffer(body)) blobs.set(sha256(body), body)
  }
  const requests: string[] = []
  let behaviour: Behaviour = () => false
  const serve = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    requests.push(`${String(request.method)} ${String(request.url)}`)
    if (!(await behaviour(request, response))) answer(request, response, manifests, blobs)
  }
  const server = createServer((request, response) => {
    // A cut connection is what some tests are about.
    response.on('error', () => undefined)
    void serve(request, response)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    host: `127.0.0.1:${String((server.address() as AddressInfo).port)}`,
    requests,
    blobs,
    behave: (next) => void (behaviour = next),
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}

function answer(
  request: IncomingMessage,
  response: ServerResponse,
  manifests: ReadonlyMap<string, string>,
  blobs: ReadonlyMap<string, Buffer>,
): void {
  const [, path = '', kind = '', name = ''] =
    /^\/v2\/(.+)\/(manifests|blobs)\/([^/]+)$/.exec(request.url ?? '') ?? []
  if (request.url === '/v2/') return void response.end('{}')
  const digest = name.startsWith('sha256:') ? name : manifests.get(`${path}:${name}`)
  const body = blobs.get(digest ?? '')
  if (body === undefined) return refuse(response, 404, kind === 'blobs' ? 'BLOB_UNKNOWN' : 'MANIFEST_UNKNOWN')
  response.setHeader('content-type', kind === 'manifests' ? OCI.manifest : 'application/octet-stream')
  sendBlob(request, response, body)
}

/** With its Range, if it asks for one. */
export function sendBlob(request: IncomingMessage, response: ServerResponse, body: Buffer): void {
  const from = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1] ?? 0)
  if (from > 0)
    response.setHeader(
      'content-range',
      `bytes ${String(from)}-${String(body.length - 1)}/${String(body.length)}`,
    )
  response.writeHead(from > 0 ? 206 : 200, { 'content-length': body.length - from })
  response.end(request.method === 'HEAD' ? undefined : body.subarray(from))
}

/** An error of the distribution specification's. */
export function refuse(
  response: ServerResponse,
  status: number,
  code: string,
  message = 'said the registry',
  headers: Readonly<Record<string, string>> = {},
): void {
  response.writeHead(status, { 'content-type': 'application/json', ...headers })
  response.end(JSON.stringify({ errors: [{ code, message }] }))
}
