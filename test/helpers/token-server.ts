/** A token server as docker-registry trusts it: it gives who logs in what they ask for, and others only to pull. */
import { randomUUID, sign, X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'

export interface TokenServer extends AsyncDisposable {
  readonly realm: string
  /** Who asked for which scopes: `user repository:a/b:pull`. */
  readonly asked: string[]
}

export interface TokenSettings {
  readonly service: string
  readonly issuer: string
  readonly pair: { readonly cert: string; readonly key: string }
  readonly user: { readonly name: string; readonly password: string }
  readonly identityToken?: string
}

/** A URL's query, or a form. */
async function parametersOf(request: IncomingMessage): Promise<URLSearchParams> {
  if (request.method === 'GET') return new URL(request.url ?? '', 'http://x').searchParams
  const chunks: Buffer[] = []
  for await (const chunk of request) chunks.push(chunk as Buffer)
  return new URLSearchParams(Buffer.concat(chunks).toString())
}

export async function startTokenServer(settings: TokenSettings): Promise<TokenServer> {
  const asked: string[] = []
  const { name, password } = settings.user
  const basic = `Basic ${Buffer.from(`${name}:${password}`).toString('base64')}`
  const server = createServer((request, response) => {
    void parametersOf(request).then((parameters) => {
      const { authorization } = request.headers
      const isKnown = authorization === basic || parameters.get('refresh_token') === settings.identityToken
      if (!isKnown && (authorization !== undefined || parameters.has('refresh_token'))) {
        response.writeHead(401).end(JSON.stringify({ details: 'incorrect username or password' }))
        return
      }
      const scopes = parameters.getAll('scope').flatMap((scope) => scope.split(' '))
      asked.push(`${isKnown ? name : 'nobody'} ${scopes.join(' ')}`)
      const access = scopes
        .map((scope) => scope.split(':'))
        .map(([type, path, actions = '']) => ({
          type,
          name: path,
          actions: actions.split(',').filter((action) => isKnown || action === 'pull'),
        }))
      response.end(JSON.stringify({ token: tokenOf(settings, access), expires_in: 300 }))
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    realm: `http://127.0.0.1:${String((server.address() as AddressInfo).port)}/token`,
    asked,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}

/** @see distribution/distribution, docs/spec/auth/jwt.md */
function tokenOf({ service, issuer, pair }: TokenSettings, access: readonly object[]): string {
  const certificate = new X509Certificate(readFileSync(pair.cert))
  const header = { typ: 'JWT', alg: 'ES256', x5c: [certificate.raw.toString('base64')] }
  const now = Math.floor(Date.now() / 1000)
  const claims = {
    iss: issuer,
    sub: '',
    aud: service,
    exp: now + 300,
    nbf: now - 10,
    iat: now,
    jti: randomUUID(),
    access,
  }
  const text = [header, claims]
    .map((part) => Buffer.from(JSON.stringify(part)).toString('base64url'))
    .join('.')
  const signature = sign('sha256', Buffer.from(text), {
    key: readFileSync(pair.key),
    dsaEncoding: 'ieee-p1363',
  })
  return `${text}.${signature.toString('base64url')}`
}
