/**
 * Certificates for a host, in docker's layout:
 *
 *     /etc/docker/certs.d/<host:port>/ca.crt          CAs that vouch for it, besides the usual ones
 *     /etc/docker/certs.d/<host:port>/client.cert     who we are
 *     /etc/docker/certs.d/<host:port>/client.key
 */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import tls from 'node:tls'
import { hasCode, OverlaidError } from '../../errors.ts'

export interface Certificates {
  readonly ca?: string[]
  readonly cert?: string[]
  readonly key?: string[]
}

/** Where dockerd looks. */
export const CERTS_DIR = '/etc/docker/certs.d'

/** What is there for the host; nothing when there is no folder for it. @throws ERR_INVALID_ARGUMENT for half a pair */
export function readCertificates(certsDir: string, { hostname, port }: URL): Certificates {
  // The folder has the name of the registry as references have it: without the port that goes without saying.
  const folders = port === '' ? [hostname, `${hostname}:443`] : [`${hostname}:${port}`]
  for (const folder of folders) {
    const names = listFolder(join(certsDir, folder))
    if (names !== undefined) return certificatesIn(join(certsDir, folder), names)
  }
  return {}
}

function certificatesIn(folder: string, names: readonly string[]): Certificates {
  const read = (name: string): string => readFileSync(join(folder, name), 'utf8')
  const having = (suffix: string): string[] => names.filter((name) => name.endsWith(suffix))
  const pairs = having('.cert').map((cert) => ({ cert, key: cert.replace(/cert$/, 'key') }))
  const lonely =
    pairs.find(({ key }) => !names.includes(key))?.cert ??
    having('.key').find((key) => !names.includes(key.replace(/key$/, 'cert')))
  if (lonely !== undefined) {
    throw new OverlaidError('ERR_INVALID_ARGUMENT', `${join(folder, lonely)} is half of a pair`, {
      hint: 'a client certificate is NAME.cert, and its key is NAME.key beside it',
    })
  }
  const ca = having('.crt').map(read)
  return {
    ...(ca.length > 0 && { ca: [...usualCAs(), ...ca] }),
    ...(pairs.length > 0 && {
      cert: pairs.map(({ cert }) => read(cert)),
      key: pairs.map(({ key }) => read(key)),
    }),
  }
}

/** What Node trusts when it is not told: with NODE_EXTRA_CA_CERTS from Node 22.15 on. */
function usualCAs(): readonly string[] {
  const { getCACertificates } = tls as { getCACertificates?: () => string[] }
  return getCACertificates?.() ?? tls.rootCertificates
}

function listFolder(path: string): string[] | undefined {
  try {
    return readdirSync(path).sort()
  } catch (error) {
    if (hasCode(error, 'ENOENT', 'ENOTDIR')) return undefined
    throw error
  }
}
