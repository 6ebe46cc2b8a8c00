/** What can be said about how registries are reached. */

/** Who one is at a registry. */
export type RegistryAuth =
  | { readonly username: string; readonly password: string }
  /** What a token server gave for a login, to be exchanged for tokens. */
  | { readonly identityToken: string }
  /** A bearer token as it is. */
  | { readonly registryToken: string }

/** How long may be waited, in ms. */
export interface RegistryTimeouts {
  /** For a connection, TLS included. */
  readonly connect: number
  /** For the answer to a request that was sent whole. */
  readonly response: number
  /** In all for the next 64 KiB of a body, so that neither silence nor a byte now and then holds a pull up. */
  readonly stall: number
}

export interface RegistryOptions {
  /** For the registry of the reference; default: what docker's config.json and credential helpers have for it. */
  readonly auth?: RegistryAuth | undefined
  /** Allows plain HTTP and certificates that nobody vouches for. A registry on loopback may use plain HTTP anyway. */
  readonly insecure?: boolean | undefined
  /** Registries that are asked first, in order: `mirror.example:5000`, `https://mirror.example`. */
  readonly mirrors?: readonly string[] | undefined
  /** A folder for each host in docker's form: `<host:port>/{*.crt,*.cert,*.key}`. Default: /etc/docker/certs.d */
  readonly certsDir?: string | undefined
  /** The folder of docker's config.json; default: $DOCKER_CONFIG, else ~/.docker */
  readonly dockerConfig?: string | undefined
  /** Where HTTP_PROXY, HTTPS_PROXY, NO_PROXY and DOCKER_CONFIG are looked up; default: process.env */
  readonly env?: Readonly<Record<string, string | undefined>> | undefined
  readonly timeouts?: Partial<RegistryTimeouts> | undefined
  /** How often something is tried that may go better the next time; default 5. */
  readonly attempts?: number | undefined
  /** Before the second try, in ms, doubled with each after it; default 500. */
  readonly retryDelay?: number | undefined
}

export const DEFAULT_TIMEOUTS: RegistryTimeouts = { connect: 30_000, response: 60_000, stall: 60_000 }
