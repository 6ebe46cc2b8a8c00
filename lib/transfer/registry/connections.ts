/**
 * Connections by where they go: kept open between requests, with the certificates of their host, through its proxy.
 *
 * node:https and not fetch: that has no way to give a host its CA and client certificate, nor on Node 20 a proxy.
 */
import { Agent, type AgentOptions, type ClientRequestArgs } from 'node:http'
import { Agent as AgentTLS } from 'node:https'
import type { Duplex } from 'node:stream'
import tls from 'node:tls'
import { CERTS_DIR, readCertificates } from './certs.ts'
import { DEFAULT_TIMEOUTS, type RegistryOptions, type RegistryTimeouts } from './options.ts'
import { type Environment, openTunnel, proxyFor, proxyHeaders } from './proxy.ts'

/** How a request gets to where it is to go. */
export type Route = Pick<ClientRequestArgs, 'agent' | 'hostname' | 'port' | 'path' | 'headers' | 'protocol'>

/** Connections to one place at a time: more than layers unpack at once, so that none waits for another's body. */
const MAX_SOCKETS = 16
const KEPT: AgentOptions = { keepAlive: true, maxSockets: MAX_SOCKETS }

export class Connections implements Disposable {
  readonly timeouts: RegistryTimeouts
  readonly isInsecure: boolean
  readonly #certsDir: string
  readonly #env: Environment
  readonly #agents = new Map<string, Agent>()

  constructor(options: RegistryOptions) {
    this.timeouts = { ...DEFAULT_TIMEOUTS, ...options.timeouts }
    this.isInsecure = options.insecure ?? false
    this.#certsDir = options.certsDir ?? CERTS_DIR
    this.#env = options.env ?? process.env
  }

  /** @throws ERR_INVALID_ARGUMENT for a proxy or a client certificate that is none */
  route(url: URL): Route {
    const proxy = proxyFor(url, this.#env)
    if (url.protocol === 'https:') return { agent: this.#agent(url.origin, () => this.#agentTLS(url, proxy)) }
    if (proxy === undefined) return { agent: this.#agent('http:', () => new Agent(KEPT)) }
    const isTLS = proxy.protocol === 'https:'
    // A proxy is asked for plain HTTP by the whole URL.
    return {
      agent: this.#agent(proxy.protocol, () => (isTLS ? new AgentTLS(KEPT) : new Agent(KEPT))),
      protocol: proxy.protocol,
      hostname: proxy.hostname.replace(/^\[(.*)\]$/, '$1'),
      port: proxy.port === '' ? (isTLS ? 443 : 80) : proxy.port,
      path: url.href,
      headers: { host: url.host, ...proxyHeaders(proxy) },
    }
  }

  #agent(key: string, make: () => Agent): Agent {
    const agent = this.#agents.get(key) ?? make()
    this.#agents.set(key, agent)
    return agent
  }

  #agentTLS(url: URL, proxy: URL | undefined): Agent {
    const options = {
      ...KEPT,
      ...readCertificates(this.#certsDir, url),
      ...(this.isInsecure && { rejectUnauthorized: false }),
    }
    return proxy === undefined
      ? new AgentTLS(options)
      : new TunnelAgent(options, proxy, this.timeouts.connect)
  }

  /** Closes what is open. */
  [Symbol.dispose](): void {
    for (const agent of this.#agents.values()) agent.destroy()
    this.#agents.clear()
  }
}

/** TLS to the host, through a tunnel that a proxy opens. */
class TunnelAgent extends AgentTLS {
  readonly #proxy: URL
  readonly #timeout: number

  constructor(options: AgentOptions, proxy: URL, timeout: number) {
    super(options)
    this.#proxy = proxy
    this.#timeout = timeout
  }

  override createConnection(
    options: ClientRequestArgs & tls.ConnectionOptions,
    callback?: (error: Error | null, stream: Duplex) => void,
  ): undefined {
    const { host = '', port = 443 } = options
    openTunnel(this.#proxy, `${host}:${String(port)}`, this.#timeout).then(
      (socket) => callback?.(null, tls.connect({ ...options, socket })),
      (error: unknown) => (callback as (error: unknown) => void)(error),
    )
    return undefined
  }
}
