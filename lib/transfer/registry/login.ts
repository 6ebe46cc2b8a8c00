/** Logging in and out: credentials that a registry has taken, kept where docker keeps them. */
import { mkdirSync, realpathSync } from 'node:fs'
import { dirname } from 'node:path'
import { hasCode } from '../../errors.ts'
import { writeFileAtomic } from '../../fs/atomic.ts'
import { RegistryClient } from './client.ts'
import { Connections } from './connections.ts'
import { helperFor } from './credentials.ts'
import { runHelper } from './credential-helper.ts'
import {
  authIn,
  authKey,
  authKeysOf,
  type DockerConfig,
  dockerConfigFile,
  readDockerConfig,
} from './docker-config.ts'
import type { RegistryOptions } from './options.ts'
import { policyOf } from './retry.ts'

export interface Login {
  readonly username: string
  readonly password: string
}

export interface LoginOptions extends Omit<RegistryOptions, 'auth' | 'mirrors'> {
  readonly signal?: AbortSignal
}

/** Where credentials were put: a file in which they can be read, or a helper's name. */
export interface Kept {
  readonly file?: string
  readonly helper?: string
}

/**
 * Asks the registry whether it takes the credentials, and keeps them.
 * @throws ERR_UNAUTHORIZED when it does not, ERR_UNREACHABLE, ERR_INVALID_ARGUMENT for what is no registry
 */
export async function login(host: string, auth: Login, options: LoginOptions = {}): Promise<Kept> {
  await expectAccepted(host, auth, options)
  const path = dockerConfigFile(options.dockerConfig, options.env)
  const config = readDockerConfig(path)
  const helper = helperFor(config, host)
  const key = authKey(host)
  if (helper !== undefined) {
    const { username: Username, password: Secret } = auth
    await runHelper(helper, 'store', JSON.stringify({ ServerURL: key, Username, Secret }))
    return { helper }
  }
  const pair = Buffer.from(`${auth.username}:${auth.password}`).toString('base64')
  await writeConfig(path, { ...config, auths: { ...withoutHost(config, host), [key]: { auth: pair } } })
  return { file: path }
}

/** Forgets a registry's credentials. Whether there were any. */
export async function logout(
  host: string,
  options: Pick<LoginOptions, 'dockerConfig' | 'env'> = {},
): Promise<boolean> {
  const path = dockerConfigFile(options.dockerConfig, options.env)
  const config = readDockerConfig(path)
  const helper = helperFor(config, host)
  const wasKept = helper !== undefined && (await runHelper(helper, 'erase', authKey(host))) !== undefined
  const isListed = authKeysOf(config, host).length > 0
  if (isListed) await writeConfig(path, { ...config, auths: withoutHost(config, host) })
  return wasKept || (isListed && authIn(config, host) !== undefined)
}

async function expectAccepted(host: string, auth: Login, options: LoginOptions): Promise<void> {
  using connections = new Connections(options)
  const credentials = () => Promise.resolve(auth)
  const client = new RegistryClient(host, { connections, credentials, policy: policyOf(options) })
  const request = { method: 'GET', path: '/v2/', scopes: [], expect: [200], what: 'login' } as const
  await client.discard(await client.send(request, options.signal), options.signal)
}

function withoutHost(config: DockerConfig, host: string): DockerConfig['auths'] {
  const gone = authKeysOf(config, host)
  return Object.fromEntries(Object.entries(config.auths ?? {}).filter(([key]) => !gone.includes(key)))
}

/** As docker writes it; where it is a link, what that leads to. */
async function writeConfig(path: string, config: DockerConfig): Promise<void> {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
  const options = { mode: 0o600, durability: 'full' } as const
  await writeFileAtomic(targetOf(path), JSON.stringify(config, undefined, '\t'), options)
}

function targetOf(path: string): string {
  try {
    return realpathSync(path)
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return path
    throw error
  }
}
