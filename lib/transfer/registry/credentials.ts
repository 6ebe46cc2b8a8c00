/** Who one is at which registry: as given, else as docker knows it. */
import { askHelper } from './credential-helper.ts'
import { authIn, authKey, dockerConfigFile, type DockerConfig, readDockerConfig } from './docker-config.ts'
import type { RegistryAuth, RegistryOptions } from './options.ts'

/** Credentials for a host, looked up when first asked for. Undefined: none. */
export type FindCredentials = (host: string) => Promise<RegistryAuth | undefined>

/** @param registry the host that `options.auth` is for */
export function credentialsFrom(options: RegistryOptions, registry: string): FindCredentials {
  const path = dockerConfigFile(options.dockerConfig, options.env)
  const known = new Map<string, Promise<RegistryAuth | undefined>>()
  return (host) => {
    if (options.auth !== undefined && host === registry) return Promise.resolve(options.auth)
    const auth = known.get(host) ?? lookUp(path, host)
    known.set(host, auth)
    return auth
  }
}

async function lookUp(path: string, host: string): Promise<RegistryAuth | undefined> {
  const config = readDockerConfig(path)
  const helper = helperFor(config, host)
  return (helper === undefined ? undefined : await askHelper(helper, authKey(host))) ?? authIn(config, host)
}

/** The helper that keeps a host's credentials, in docker's order. */
export function helperFor({ credHelpers = {}, credsStore }: DockerConfig, host: string): string | undefined {
  const key = authKey(host)
  const own = Object.hasOwn(credHelpers, key) ? credHelpers[key] : credHelpers[host]
  return own ?? (credsStore === '' ? undefined : credsStore)
}
