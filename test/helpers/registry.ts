/**
 * Debian's docker-registry on loopback, on a port of its own, with a folder of its own: plain, with TLS, with basic
 * authentication, or with a token server.
 */
import { execFile, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, writeFileSync } from 'node:fs'
import { createServer, request } from 'node:http'
import { request as requestTLS } from 'node:https'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { promisify } from 'node:util'

export interface RegistrySettings {
  /** PEM files of its certificate and key. */
  readonly tls?: { readonly cert: string; readonly key: string; readonly clientCA?: string }
  /** For basic authentication. */
  readonly user?: { readonly name: string; readonly password: string }
  /** For tokens. */
  readonly tokens?: {
    readonly realm: string
    readonly service: string
    readonly issuer: string
    readonly roots: string
  }
}

export interface Registry extends AsyncDisposable {
  /** `127.0.0.1:<port>`. */
  readonly host: string
  /** What overlaid asked since this was last asked: `GET /v2/…`. */
  requests(): Promise<string[]>
}

const START_TRIES = 300

export async function startRegistry(dir: string, settings: RegistrySettings = {}): Promise<Registry> {
  mkdirSync(dir, { recursive: true })
  const host = `127.0.0.1:${String(await freePort())}`
  const file = join(dir, 'config.yml')
  writeFileSync(file, configOf(dir, host, settings))
  const child = spawn('docker-registry', ['serve', file], { stdio: ['ignore', 'pipe', 'pipe'] })
  let [access, log] = ['', '']
  child.stdout.on('data', (chunk: Buffer) => void (access += chunk.toString()))
  child.stderr.on('data', (chunk: Buffer) => void (log = (log + chunk.toString()).slice(-4000)))
  const stop = async (): Promise<void> => {
    if (child.exitCode !== null || child.signalCode !== null) return
    const exited = once(child, 'exit')
    child.kill('SIGTERM')
    await exited
  }
  let marks = 0
  const requests = async (): Promise<string[]> => {
    // A line is written when its request is answered: one of ours comes after them.
    const mark = `/v2/?mark=${String(marks++)}`
    await answers(`${host}${mark}`, settings.tls !== undefined)
    while (!access.includes(`${mark} `)) await once(child.stdout, 'data')
    const lines = access.split('\n').filter((line) => line.includes('"overlaid"'))
    access = ''
    return lines.map((line) => /"([A-Z]+ \S+)/.exec(line)?.[1] ?? line)
  }
  for (let tries = 0; tries < START_TRIES && child.exitCode === null; tries++) {
    if (await answers(`${host}/v2/`, settings.tls !== undefined))
      return { host, requests, [Symbol.asyncDispose]: stop }
    await pause(50)
  }
  await stop()
  throw new Error(`docker-registry did not start: ${log}`)
}

function configOf(dir: string, host: string, { tls, user, tokens }: RegistrySettings): string {
  const lines = [
    'version: 0.1',
    'log: {level: warn, accesslog: {disabled: false}}',
    `storage: {filesystem: {rootdirectory: ${join(dir, 'data')}}, delete: {enabled: true}}`,
    'http:',
    `  addr: ${host}`,
    '  secret: test',
  ]
  if (tls !== undefined) {
    lines.push('  tls:', `    certificate: ${tls.cert}`, `    key: ${tls.key}`)
    if (tls.clientCA !== undefined) lines.push(`    clientcas: [${tls.clientCA}]`)
  }
  if (user !== undefined) {
    const path = join(dir, 'htpasswd')
    writeFileSync(path, `${user.name}:${bcrypt(user.password)}\n`)
    lines.push(`auth: {htpasswd: {realm: test, path: ${path}}}`)
  }
  if (tokens !== undefined) {
    const { realm, service, issuer, roots } = tokens
    const values = [`realm: ${realm}`, `service: ${service}`, `issuer: ${issuer}`, `rootcertbundle: ${roots}`]
    lines.push(`auth: {token: {${values.join(', ')}}}`)
  }
  return lines.join('\n')
}

/** docker-registry takes no other kind of password. */
function bcrypt(password: string): string {
  const script =
    'import crypt,sys; print(crypt.crypt(sys.argv[1], crypt.mksalt(crypt.METHOD_BLOWFISH, rounds=16)))'
  const hash = execFileSync('python3', ['-W', 'ignore', '-c', script, password], { encoding: 'utf8' }).trim()
  // glibc's prefix, of the same algorithm.
  return hash.replace(/^\$2[by]\$/, '$2a$')
}

/** A port of loopback that nobody listens on. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

/** Whatever the status, and without a client certificate: that it listens is enough. */
function answers(address: string, isTLS: boolean): Promise<boolean> {
  const url = `${isTLS ? 'https' : 'http'}://${address}`
  return new Promise((resolve) => {
    const asking = isTLS ? requestTLS(url, { rejectUnauthorized: false }) : request(url)
    asking.on('response', (response) => {
      response.resume()
      resolve(true)
    })
    asking.on('error', (error: NodeJS.ErrnoException) => resolve(error.code !== 'ECONNREFUSED'))
    asking.end()
  })
}

/** Copies an image into the registry, as skopeo does it. */
export function skopeoPush(archive: string, host: string, name: string, ...options: string[]): void {
  skopeo('copy', '--dest-tls-verify=false', ...options, archive, `docker://${host}/${name}`)
}

export function skopeo(...args: string[]): string {
  return execFileSync('skopeo', ['--insecure-policy', ...args], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
  })
}

/** As {@link skopeoPush}, for a registry that asks this process. */
export async function skopeoPushAsync(
  archive: string,
  host: string,
  name: string,
  ...options: string[]
): Promise<void> {
  const args = ['--insecure-policy', 'copy', '--dest-tls-verify=false', ...options]
  await promisify(execFile)('skopeo', [...args, archive, `docker://${host}/${name}`])
}

/** A CA of its own, and files that it signed. */
export interface Authority {
  /** PEM file of the CA. */
  readonly ca: string
  /** A pair for 127.0.0.1, `server` or `client`. */
  pair(name: string): { readonly cert: string; readonly key: string }
}

export function makeAuthority(dir: string): Authority {
  mkdirSync(dir, { recursive: true })
  const openssl = (...args: string[]): void =>
    void execFileSync('openssl', args, { cwd: dir, stdio: ['ignore', 'pipe', 'pipe'] })
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes']
  openssl('req', '-x509', ...key, '-keyout', 'ca.key', '-out', 'ca.crt', '-days', '2', '-subj', '/CN=test CA')
  return {
    ca: join(dir, 'ca.crt'),
    pair: (name) => {
      openssl('req', ...key, '-keyout', `${name}.key`, '-out', `${name}.csr`, '-subj', `/CN=${name}`)
      writeFileSync(join(dir, `${name}.ext`), 'subjectAltName=IP:127.0.0.1,DNS:localhost,DNS:registry.test')
      const by = ['-CA', 'ca.crt', '-CAkey', 'ca.key', '-CAcreateserial', '-extfile', `${name}.ext`]
      openssl('x509', '-req', '-in', `${name}.csr`, ...by, '-days', '2', '-out', `${name}.crt`)
      return { cert: join(dir, `${name}.crt`), key: join(dir, `${name}.key`) }
    },
  }
}
