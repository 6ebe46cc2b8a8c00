/**
 * One registry: requests with what it wants to see, led on where it sends them, tried again where that may help.
 * Credentials and tokens go to the registry itself and to its token server, never to where it redirects.
 */
import type { IncomingMessage } from 'node:http'
import { hasCode, OverlaidError } from '../../errors.ts'
import { Authorizer } from './authorizer.ts'
import type { Connections } from './connections.ts'
import type { FindCredentials } from './credentials.ts'
import { exchange, type Outgoing, readRefusal, receive, receiveStart } from './exchange.ts'
import { disconnected, isNoTLS, refused, TransientError, unauthorized } from './failure.ts'
import { isLoopback } from './proxy.ts'
import { type RetryPolicy, retrying } from './retry.ts'

export interface RegistryRequest {
  readonly method: Outgoing['method']
  /** Below the registry's address, `/v2/a/b/tags/list`; or where the registry told to go on. */
  readonly path: string | URL
  readonly headers?: Readonly<Record<string, string>>
  /** A stream is sent once, without a second try. */
  readonly body?: Outgoing['body']
  /** What a token must be good for: `repository:a/b:pull`. */
  readonly scopes: readonly string[]
  /** Answers that are fine. */
  readonly expect: readonly number[]
  /** For messages: `manifest of a/b:1`. */
  readonly what: string
}

/** Docker Hub's name in references, and where it is. */
const HUB = 'docker.io'
const HUB_ADDRESS = 'registry-1.docker.io'
const MAX_REDIRECTS = 10
const REDIRECTS: ReadonlySet<number> = new Set([301, 302, 303, 307, 308])

export interface ClientParts {
  readonly connections: Connections
  readonly credentials: FindCredentials
  readonly policy: RetryPolicy
}

export class RegistryClient {
  /** As references have it. */
  readonly host: string
  readonly connections: Connections
  readonly policy: RetryPolicy
  readonly #authorizer: Authorizer
  /** https or http, where that is said. */
  readonly #scheme: string | undefined
  #base: Promise<URL> | undefined

  /** @param address of a registry: `host:port`, or a URL without a path. @throws ERR_INVALID_ARGUMENT */
  constructor(address: string, { connections, credentials, policy }: ClientParts) {
    const [, scheme, host = ''] = /^(?:(https?):\/\/)?([^/?#@\s]+)\/?$/.exec(address) ?? []
    if (!URL.canParse(`https://${host}`) || host === '') {
      throw new OverlaidError(
        'ERR_INVALID_ARGUMENT',
        `${JSON.stringify(address)} is not the address of a registry`,
      )
    }
    this.host = host
    this.#scheme = scheme
    this.connections = connections
    this.policy = policy
    this.#authorizer = new Authorizer(host, credentials, connections)
  }

  /**
   * Sends a request; its answer is one of those expected, with the body unread.
   * @throws ERR_UNREACHABLE, ERR_UNAUTHORIZED, ERR_IMAGE_NOT_FOUND, ERR_REGISTRY, the signal's reason
   */
  send(request: RegistryRequest, signal?: AbortSignal): Promise<IncomingMessage> {
    const isStream = request.body !== undefined && !Buffer.isBuffer(request.body)
    if (isStream) return this.sendOnce(request, signal)
    return retrying(this.policy, () => this.sendOnce(request, signal), signal)
  }

  /** As {@link RegistryClient.send}, without a second try: for callers that know better how to go on. */
  async sendOnce(request: RegistryRequest, signal?: AbortSignal): Promise<IncomingMessage> {
    const asked = `${this.host}: ${request.what}`
    try {
      const response = await this.#follow(request, asked, signal)
      if (request.expect.includes(response.statusCode ?? 0)) return response
      throw refused(asked, await readRefusal(response, this.connections, signal), this.#authorizer.secrets)
    } catch (error) {
      throw disconnected(asked, error)
    }
  }

  /** The bytes of an answer, at most `max` and one more. */
  async receiveStart(
    response: IncomingMessage,
    max: number,
    what: string,
    signal?: AbortSignal,
  ): Promise<Buffer> {
    try {
      return await receiveStart(response, this.connections, max, signal)
    } catch (error) {
      throw disconnected(`${this.host}: ${what}`, error)
    }
  }

  /** The URL of a path. */
  async address(path: string | URL, signal?: AbortSignal): Promise<URL> {
    this.#base ??= this.#findBase(signal)
    // A failure is not kept.
    this.#base.catch(() => (this.#base = undefined))
    return new URL(path, await this.#base)
  }

  async #follow(request: RegistryRequest, asked: string, signal?: AbortSignal): Promise<IncomingMessage> {
    const base = await this.address('/', signal)
    let url = this.#checked(request.path, base, asked)
    for (let redirects = 0; redirects <= MAX_REDIRECTS; redirects++) {
      const isHome = url.origin === base.origin
      const response = isHome
        ? await this.#authorized(request, url, signal)
        : await this.#ask(request, url, undefined, signal)
      const { location } = response.headers
      const mayFollow = request.method === 'GET' || request.method === 'HEAD'
      if (!mayFollow || location === undefined || !REDIRECTS.has(response.statusCode ?? 0)) return response
      await this.discard(response, signal)
      url = this.#checked(location, url, asked)
    }
    throw new OverlaidError('ERR_REGISTRY', `${asked}: more than ${String(MAX_REDIRECTS)} redirects`)
  }

  /** Where one is told to go. */
  #checked(location: string | URL, from: URL, asked: string): URL {
    const url = URL.canParse(String(location), from.href) ? new URL(location, from) : undefined
    const isSafe = url?.protocol === 'https:' || this.#mayBePlain(url?.hostname ?? '')
    if (url !== undefined && /^https?:$/.test(url.protocol) && isSafe) return url
    // Without the location: its query may be signed.
    throw new OverlaidError('ERR_REGISTRY', `${asked}: the registry leads to where one does not go`, {
      hint: 'from HTTPS it may lead to HTTPS only',
    })
  }

  /** Asks, and once more when the registry wants other credentials. */
  async #authorized(request: RegistryRequest, url: URL, signal?: AbortSignal): Promise<IncomingMessage> {
    const { scopes } = request
    const header = await this.#authorizer.header(scopes, signal)
    const response = await this.#ask(request, url, header, signal)
    const wanted = response.headers['www-authenticate']
    if (response.statusCode !== 401 || wanted === undefined) return response
    const refusal = await readRefusal(response, this.connections, signal)
    const renewed = await this.#authorizer.renew(wanted, scopes, header, signal)
    const asked = `${this.host}: ${request.what}`
    if (renewed === undefined) throw refused(asked, refusal, this.#authorizer.secrets)
    // A stream is spent.
    if (request.body !== undefined && !Buffer.isBuffer(request.body)) {
      throw new TransientError('ERR_UNAUTHORIZED', unauthorized(asked).message)
    }
    return this.#ask(request, url, renewed, signal)
  }

  #ask(
    { method, headers = {}, body }: RegistryRequest,
    url: URL,
    authorization: string | undefined,
    signal?: AbortSignal,
  ): Promise<IncomingMessage> {
    const all = {
      'user-agent': 'overlaid',
      ...headers,
      ...(authorization !== undefined && { authorization }),
    }
    return exchange(this.connections, { method, url, headers: all, body }, signal)
  }

  /** Reads an answer's body, so that its connection can be used again; a long one is cut off with it. */
  async discard(response: IncomingMessage, signal?: AbortSignal): Promise<void> {
    await readRefusal(response, this.connections, signal)
  }

  #mayBePlain(hostname: string): boolean {
    return this.connections.isInsecure || isLoopback(hostname)
  }

  /** HTTPS; where it may be plain HTTP, what is spoken there. */
  async #findBase(signal?: AbortSignal): Promise<URL> {
    const address = this.host === HUB ? HUB_ADDRESS : this.host
    const [secure, plain] = [new URL(`https://${address}`), new URL(`http://${address}`)]
    const mayBePlain = this.#mayBePlain(secure.hostname)
    if (this.#scheme === 'http') {
      if (mayBePlain) return plain
      const hint = 'ask for --insecure if that is meant'
      throw new OverlaidError('ERR_INVALID_ARGUMENT', `${this.host} is to be asked without TLS`, { hint })
    }
    if (this.#scheme === 'https' || !mayBePlain) return secure
    try {
      await this.discard(
        await this.#ask(
          { method: 'GET', path: '', scopes: [], expect: [], what: '' },
          new URL('/v2/', secure),
          undefined,
          signal,
        ),
        signal,
      )
      return secure
    } catch (error) {
      const { code = '' } = error as { code?: string }
      if (isNoTLS(code) || hasCode(error, 'ECONNREFUSED', 'ECONNRESET')) return plain
      throw error
    }
  }

  /** The body of an answer. */
  async *receive(response: IncomingMessage, what: string, signal?: AbortSignal): AsyncGenerator<Buffer> {
    try {
      yield* receive(response, this.connections, signal)
    } catch (error) {
      throw disconnected(`${this.host}: ${what}`, error)
    }
  }
}
