/**
 * Proxies as curl, Go and so docker take them from the environment: HTTPS_PROXY and HTTP_PROXY by the scheme of what
 * is asked for, NO_PROXY for what is asked directly; in capitals or not. Loopback is never asked through a proxy.
 */
import { request } from 'node:http'
import { request as requestTLS } from 'node:https'
import { BlockList, isIP } from 'node:net'
import type { Duplex } from 'node:stream'
import { OverlaidError } from '../../errors.ts'

export type Environment = Readonly<Record<string, string | undefined>>

/** The proxy for `url`; undefined when there is to be none. @throws ERR_INVALID_ARGUMENT for what is none */
export function proxyFor(url: URL, env: Environment): URL | undefined {
  const name = url.protocol === 'https:' ? 'HTTPS_PROXY' : 'HTTP_PROXY'
  const text = variable(env, name)
  if (text === '' || isLoopback(url.hostname) || isExempt(url, variable(env, 'NO_PROXY'))) return undefined
  const full = text.includes('://') ? text : `http://${text}`
  const proxy = URL.canParse(full) ? new URL(full) : undefined
  if (proxy !== undefined && /^https?:$/.test(proxy.protocol)) return proxy
  // Not with its text, which may have a password.
  throw new OverlaidError('ERR_INVALID_ARGUMENT', `$${name} is not the URL of an HTTP proxy`)
}

function variable(env: Environment, name: string): string {
  return env[name] ?? env[name.toLowerCase()] ?? ''
}

/** Whether a host of a URL or a reference is this machine itself, by its name alone. */
export function isLoopback(hostname: string): boolean {
  const name = hostname.replace(/^\[(.*)\]$/, '$1').toLowerCase()
  if (name === 'localhost' || name.endsWith('.localhost')) return true
  return isIP(name) === 4 ? name.startsWith('127.') : name === '::1'
}

/** NO_PROXY: `*`, names with all below them, addresses and networks, each with a port or without. */
function isExempt({ hostname, port, protocol }: URL, list: string): boolean {
  const host = hostname.replace(/^\[(.*)\]$/, '$1')
  const at = port === '' ? (protocol === 'https:' ? '443' : '80') : port
  return list
    .split(',')
    .map((entry) => entry.trim().toLowerCase())
    .filter((entry) => entry !== '')
    .some((entry) => {
      if (entry === '*') return true
      const [, name = entry, wanted] = /^(\[.*\]|[^:]*):(\d+)$/.exec(entry) ?? []
      if (wanted !== undefined && wanted !== at) return false
      return matches(host, name.replace(/^\[(.*)\]$/, '$1'))
    })
}

function matches(host: string, entry: string): boolean {
  const [network = '', bits] = entry.split('/')
  if (bits !== undefined) return isInNetwork(host, network, Number(bits))
  const suffix = entry.replace(/^\*?\./, '')
  return host === suffix || host.endsWith(`.${suffix}`)
}

function isInNetwork(host: string, network: string, bits: number): boolean {
  const family = isIP(network)
  if (family === 0 || isIP(host) !== family || !(bits >= 0 && bits <= (family === 4 ? 32 : 128))) return false
  const type = family === 4 ? 'ipv4' : 'ipv6'
  const list = new BlockList()
  list.addSubnet(network, bits, type)
  return list.check(host, type)
}

/** `Proxy-Authorization`, when the proxy's URL has a name and a password. */
export function proxyHeaders({ username, password }: URL): Record<string, string> {
  if (username === '' && password === '') return {}
  const pair = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`
  return { 'proxy-authorization': `Basic ${Buffer.from(pair).toString('base64')}` }
}

/** A connection to `host:port` through the proxy, by CONNECT. @see RFC 9110, section 9.3.6 */
export function openTunnel(proxy: URL, target: string, timeout: number): Promise<Duplex> {
  const send = proxy.protocol === 'https:' ? requestTLS : request
  const options = {
    method: 'CONNECT',
    path: target,
    headers: { host: target, ...proxyHeaders(proxy) },
    timeout,
  }
  const { promise, resolve, reject } = withResolvers<Duplex>()
  // A URL's username and password would become an Authorization header.
  const connecting = send(new URL(proxy.origin), { ...options, agent: false })
  connecting.once('connect', ({ statusCode }, socket) => {
    if (statusCode === 200) return resolve(socket)
    socket.destroy()
    reject(failed(proxy, `answered ${String(statusCode)}`))
  })
  connecting.once('response', ({ statusCode }) => {
    connecting.destroy()
    reject(failed(proxy, `answered ${String(statusCode)}`))
  })
  connecting.once('timeout', () => connecting.destroy(failed(proxy, 'does not answer')))
  connecting.once('error', reject)
  connecting.end()
  return promise
}

function failed(proxy: URL, how: string): OverlaidError {
  return new OverlaidError('ERR_UNREACHABLE', `the proxy ${proxy.host} ${how}`)
}

interface Resolvers<T> {
  readonly promise: Promise<T>
  readonly resolve: (value: T) => void
  readonly reject: (reason: unknown) => void
}

/** Promise.withResolvers, which Node has from 22 on. */
function withResolvers<T>(): Resolvers<T> {
  let resolvers: Omit<Resolvers<T>, 'promise'> | undefined
  const promise = new Promise<T>((resolve, reject) => (resolvers = { resolve, reject }))
  return { promise, ...(resolvers as unknown as Omit<Resolvers<T>, 'promise'>) }
}
