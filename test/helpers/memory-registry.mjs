/** A registry in memory that takes what is pushed. Plain JavaScript, since it runs in children too. */
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:http'

/** @param {import('node:http').IncomingMessage} request */
async function bodyOf(request) {
  /** @type {Buffer[]} */
  const chunks = []
  for await (const chunk of request) chunks.push(chunk)
  return Buffer.concat(chunks)
}

/**
 * @param {(request: import('node:http').IncomingMessage, response: import('node:http').ServerResponse) => boolean}
 *   [behave] asked first; true when it has answered, or never will
 * @returns {Promise<{ host: string, close: () => Promise<void> }>}
 */
export async function memoryRegistry(behave = () => false) {
  /** Manifests by tag, sessions by name, blobs and manifests by digest. @type {Map<string, Buffer>} */
  const kept = new Map()
  let sessions = 0
  const server = createServer((request, response) => {
    if (behave(request, response)) return
    void bodyOf(request).then((body) => {
      const { pathname, searchParams } = new URL(request.url ?? '', 'http://x')
      const name = pathname.split('/').at(-1) ?? ''
      const digest = `sha256:${createHash('sha256').update(body).digest('hex')}`
      response.setHeader('location', pathname)
      switch (request.method) {
        case 'POST':
          return response.writeHead(202, { location: `/v2/x/blobs/uploads/${String(sessions++)}` }).end()
        case 'PATCH':
          kept.set(name, body)
          return response.writeHead(202).end()
        case 'PUT':
          if (pathname.includes('/manifests/')) kept.set(name, body).set(digest, body)
          else kept.set(searchParams.get('digest') ?? '', kept.get(name) ?? body)
          return response.writeHead(201).end()
        default:
          return answer(request, response, kept.get(name))
      }
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = /** @type {import('node:net').AddressInfo} */ (server.address())
  const close = async () => {
    server.closeAllConnections()
    server.close()
    await once(server, 'close')
  }
  return { host: `127.0.0.1:${String(port)}`, close }
}

/**
 * @param {import('node:http').IncomingMessage} request
 * @param {import('node:http').ServerResponse} response
 * @param {Buffer | undefined} body
 */
function answer({ method, url = '' }, response, body) {
  if (url === '/v2/') return response.end('{}')
  if (body === undefined) return response.writeHead(404).end()
  const type = 'application/vnd.docker.distribution.manifest.v2+json'
  response.writeHead(200, { 'content-length': body.length, 'content-type': type })
  return response.end(method === 'HEAD' ? undefined : body)
}
