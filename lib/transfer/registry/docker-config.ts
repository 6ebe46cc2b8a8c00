/**
 * Docker's config.json, as far as it is about registries. The rest of it is docker's, and is kept as it is.
 *
 *     {"auths": {"host:5000": {"auth": "<base64 of name:password>", "identitytoken": "…", "registrytoken": "…"}},
 *      "credsStore": "<helper for all>", "credHelpers": {"host:5000": "<helper>"}}
 *
 * @see docker/cli, cli/config/configfile/file.go
 */
import { readFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import * as v from 'valibot'
import { hasCode, OverlaidError } from '../../errors.ts'
import { decode, maybe, parseJSON } from '../../oci/json.ts'
import type { RegistryAuth } from './options.ts'
import type { Environment } from './proxy.ts'

interface AuthEntry {
  readonly auth?: string | undefined
  readonly username?: string | undefined
  readonly password?: string | undefined
  readonly identitytoken?: string | undefined
  readonly registrytoken?: string | undefined
}

export interface DockerConfig {
  readonly auths?: Readonly<Record<string, AuthEntry>> | undefined
  readonly credsStore?: string | undefined
  readonly credHelpers?: Readonly<Record<string, string>> | undefined
  readonly [key: string]: unknown
}

const text = maybe(v.string())
const config: v.GenericSchema<unknown, DockerConfig> = v.looseObject({
  auths: maybe(
    v.record(
      v.string(),
      v.looseObject({ auth: text, username: text, password: text, identitytoken: text, registrytoken: text }),
    ),
  ),
  credsStore: text,
  credHelpers: maybe(v.record(v.string(), v.string())),
})

/** The file: in $DOCKER_CONFIG, else in ~/.docker. */
export function dockerConfigFile(folder: string | undefined, env: Environment = process.env): string {
  const given = folder ?? env['DOCKER_CONFIG']
  return join(given === undefined || given === '' ? join(homedir(), '.docker') : given, 'config.json')
}

/** What the file says; nothing when there is none. @throws ERR_BAD_MANIFEST when it does not have its form */
export function readDockerConfig(path: string): DockerConfig {
  let bytes: Buffer
  try {
    bytes = readFileSync(path)
  } catch (error) {
    if (hasCode(error, 'ENOENT', 'ENOTDIR')) return {}
    throw error
  }
  return decode(config, parseJSON(bytes, path), path)
}

/** Docker Hub has its old address for a key. */
const HUB_KEY = 'https://index.docker.io/v1/'
const HUB_HOSTS: readonly string[] = ['docker.io', 'index.docker.io', 'registry-1.docker.io']

/** The key of a registry in `auths`, and its name to credential helpers. */
export function authKey(host: string): string {
  return HUB_HOSTS.includes(host) ? HUB_KEY : host
}

/** The keys of `auths` that are a host's: its own first. Old versions of docker wrote whole URLs. */
export function authKeysOf({ auths = {} }: DockerConfig, host: string): string[] {
  const key = authKey(host)
  const others = Object.keys(auths).filter((each) => each !== key && hostOf(each) === hostOf(key))
  return Object.hasOwn(auths, key) ? [key, ...others] : others
}

/** What `auths` has for a host. @throws ERR_BAD_MANIFEST when it does not have its form */
export function authIn(config: DockerConfig, host: string): RegistryAuth | undefined {
  const [key] = authKeysOf(config, host)
  const entry = key === undefined ? undefined : config.auths?.[key]
  return entry === undefined ? undefined : authOf(entry, host)
}

function hostOf(key: string): string {
  return key.replace(/^https?:\/\//, '').replace(/\/.*$/, '')
}

function authOf(entry: AuthEntry, host: string): RegistryAuth | undefined {
  if (isGiven(entry.registrytoken)) return { registryToken: entry.registrytoken }
  if (isGiven(entry.identitytoken)) return { identityToken: entry.identitytoken }
  if (isGiven(entry.username)) return { username: entry.username, password: entry.password ?? '' }
  // What a credential helper has is listed here with nothing in it.
  if (!isGiven(entry.auth)) return undefined
  const pair = Buffer.from(entry.auth, 'base64').toString()
  const colon = pair.indexOf(':')
  if (colon > 0)
    return { username: pair.slice(0, colon), password: pair.slice(colon + 1).replace(/\0+$/, '') }
  throw new OverlaidError(
    'ERR_BAD_MANIFEST',
    `docker's config.json: the auth of ${host} is not name:password`,
    {
      hint: 'overlaid login writes it anew',
    },
  )
}

function isGiven(value: string | undefined): value is string {
  return value !== undefined && value !== ''
}
