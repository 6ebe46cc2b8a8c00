/**
 * The header Authorization for one registry: none until the registry asks for it, then basic or a bearer token of the
 * token server that it names.
 * @see distribution/distribution, docs/spec/auth/token.md and oauth.md
 */
import * as v from 'valibot'
import { OverlaidError } from '../../errors.ts'
import { decode, MAX_JSON_BYTES, maybe, parseJSON } from '../../oci/json.ts'
import { type Challenge, parseChallenges } from './challenge.ts'
import type { Connections } from './connections.ts'
import type { FindCredentials } from './credentials.ts'
import { exchange, type Outgoing, readRefusal, receiveStart } from './exchange.ts'
import { disconnected, refused } from './failure.ts'
import type { RegistryAuth } from './options.ts'
import { isLoopback } from './proxy.ts'

interface Token {
  readonly header: string
  /** By performance.now(). */
  readonly until: number
}

const CLIENT = 'overlaid'
/** What a token is good for when its server does not say, in s; and how long before its end it is renewed. */
const DEFAULT_LIFE = 60
const MARGIN = 10

const answer = v.object({
  token: maybe(v.string()),
  access_token: maybe(v.string()),
  expires_in: maybe(v.number()),
})

export class Authorizer {
  readonly #host: string
  readonly #find: FindCredentials
  readonly #connections: Connections
  readonly #secrets = new Set<string>()
  #challenge: Challenge | undefined
  /** By scope. */
  readonly #tokens = new Map<string, Promise<Token>>()

  /** @param host as references have it */
  constructor(host: string, find: FindCredentials, connections: Connections) {
    this.#host = host
    this.#find = find
    this.#connections = connections
  }

  /** What must not be in any message. */
  get secrets(): string[] {
    return [...this.#secrets]
  }

  /** The header for what is asked with these scopes, as far as it is known that one is needed. */
  async header(scopes: readonly string[], signal?: AbortSignal): Promise<string | undefined> {
    const challenge = this.#challenge
    if (challenge === undefined) return undefined
    const auth = await this.#find(this.#host)
    if (challenge.scheme === 'basic') return auth === undefined ? undefined : this.#basic(auth)
    if (auth !== undefined && 'registryToken' in auth) return this.#secretHeader('Bearer', auth.registryToken)
    const key = scopes.join(' ')
    let token = await this.#tokens.get(key)
    if (token === undefined || token.until < performance.now()) {
      const fetching = this.#fetch(challenge, scopes, auth, signal)
      this.#tokens.set(key, fetching)
      // Those who wait for it have its error; who comes later tries again.
      fetching.catch(() => this.#tokens.delete(key))
      token = await fetching
    }
    return token.header
  }

  /**
   * The header after the registry refused a request that had `before`.
   * @param asked its WWW-Authenticate
   * @returns undefined when there is no other one to try
   */
  async renew(
    asked: string,
    scopes: readonly string[],
    before: string | undefined,
    signal?: AbortSignal,
  ): Promise<string | undefined> {
    const challenges = parseChallenges(asked)
    this.#challenge =
      challenges.find(({ scheme }) => scheme === 'bearer') ??
      challenges.find(({ scheme }) => scheme === 'basic')
    if (this.#challenge === undefined) return undefined
    const key = scopes.join(' ')
    // Not one that another request has renewed meanwhile.
    if (before !== undefined && (await this.#tokens.get(key))?.header === before) this.#tokens.delete(key)
    const after = await this.header(scopes, signal)
    return after === before ? undefined : after
  }

  #basic(auth: RegistryAuth): string | undefined {
    if (!('username' in auth)) return undefined
    this.#secrets.add(auth.password)
    return this.#secretHeader('Basic', Buffer.from(`${auth.username}:${auth.password}`).toString('base64'))
  }

  #secretHeader(scheme: string, secret: string): string {
    this.#secrets.add(secret)
    return `${scheme} ${secret}`
  }

  async #fetch(
    challenge: Challenge,
    scopes: readonly string[],
    auth: RegistryAuth | undefined,
    signal: AbortSignal | undefined,
  ): Promise<Token> {
    const request = this.#tokenRequest(challenge, scopes, auth)
    const what = `${request.url.host}: token for ${this.#host}`
    try {
      const response = await exchange(this.#connections, request, signal)
      if (response.statusCode !== 200) {
        throw refused(what, await readRefusal(response, this.#connections, signal), this.secrets)
      }
      const bytes = await receiveStart(response, this.#connections, MAX_JSON_BYTES, signal)
      const {
        token,
        access_token = token,
        expires_in = DEFAULT_LIFE,
      } = decode(answer, parseJSON(bytes, what), what)
      if (access_token === undefined)
        throw new OverlaidError('ERR_REGISTRY', `${what}: there is none in the answer`)
      const until = performance.now() + Math.max(MARGIN, expires_in - MARGIN) * 1000
      return { header: this.#secretHeader('Bearer', access_token), until }
    } catch (error) {
      throw disconnected(what, error)
    }
  }

  #tokenRequest(
    { parameters }: Challenge,
    scopes: readonly string[],
    auth: RegistryAuth | undefined,
  ): Outgoing {
    const url = this.#realm(parameters.get('realm') ?? '')
    const service = parameters.get('service')
    const asked = new URLSearchParams({ ...(service !== undefined && { service }), client_id: CLIENT })
    if (auth !== undefined && 'identityToken' in auth) {
      this.#secrets.add(auth.identityToken)
      const grant = {
        grant_type: 'refresh_token',
        refresh_token: auth.identityToken,
        scope: scopes.join(' '),
      }
      for (const [name, value] of Object.entries(grant)) asked.set(name, value)
      const headers = { 'content-type': 'application/x-www-form-urlencoded' }
      return { method: 'POST', url, headers, body: Buffer.from(asked.toString()) }
    }
    for (const scope of scopes) asked.append('scope', scope)
    const basic = auth === undefined ? undefined : this.#basic(auth)
    if (auth !== undefined && 'username' in auth) asked.set('account', auth.username)
    for (const [name, value] of asked) url.searchParams.append(name, value)
    return { method: 'GET', url, headers: basic === undefined ? {} : { authorization: basic } }
  }

  /** The token server, which gets the credentials. Without TLS it may only be where the registry may be so too. */
  #realm(realm: string): URL {
    const url = URL.canParse(realm) ? new URL(realm) : undefined
    const isPlain = url?.protocol === 'http:'
    const mayBePlain = this.#connections.isInsecure || isLoopback(url?.hostname ?? '')
    if (url !== undefined && (url.protocol === 'https:' || (isPlain && mayBePlain))) {
      // Not as credentials, should it have any.
      return new URL(`${url.origin}${url.pathname}${url.search}`)
    }
    const said = JSON.stringify(realm.slice(0, 200))
    const message = `${this.#host} has a token server that is not asked: ${said}`
    throw new OverlaidError('ERR_REGISTRY', message, {
      hint: isPlain ? 'credentials do not go there without TLS' : 'the realm should be a URL',
    })
  }
}
