/** What the verbs that speak to registries have in common. */
import type { RegistryOptions } from '../transfer/registry/options.ts'
import type { Context, VerbOption } from './verb.ts'

/** What commander makes of {@link REGISTRY_OPTIONS}. */
export interface RegistryFlags {
  readonly insecure?: boolean
  readonly certsDir?: string
}

export const REGISTRY_OPTIONS: readonly VerbOption[] = [
  { flags: '--insecure', does: 'plain HTTP and any certificate will do; on loopback plain HTTP does anyway' },
  { flags: '--certs-dir <dir>', does: 'CAs and client certificates (default: /etc/docker/certs.d)' },
]

export const REGISTRY_NOTES: string =
  "Credentials are those of docker's config.json and its credential helpers: see overlaid login. Proxies are taken\n" +
  'from HTTPS_PROXY, HTTP_PROXY and NO_PROXY.'

export function registryOptions(
  { host }: Context,
  { insecure, certsDir }: RegistryFlags,
): Pick<RegistryOptions, 'insecure' | 'certsDir' | 'env'> {
  return { env: host.env, insecure, certsDir }
}
