/**
 * Docker's credential helpers: a program `docker-credential-NAME` on the PATH, with a verb and JSON on its streams.
 * The only programs that overlaid starts, and only those that docker's config.json names.
 * @see docker/docker-credential-helpers
 */
import { execFile } from 'node:child_process'
import * as v from 'valibot'
import { OverlaidError } from '../../errors.ts'
import { decode, parseJSON } from '../../oci/json.ts'
import type { RegistryAuth } from './options.ts'

/** It may ask a person to unlock a keyring. */
const TIMEOUT = 60_000
const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]*$/
/** The username that stands for an identity token. */
const TOKEN_USER = '<token>'
const NOT_FOUND = /credentials not found/i

const answer = v.object({ Username: v.string(), Secret: v.string() })

export type HelperVerb = 'get' | 'store' | 'erase'

/** What the helper has for a registry; undefined when that is nothing. */
export async function askHelper(name: string, key: string): Promise<RegistryAuth | undefined> {
  const output = await runHelper(name, 'get', key)
  if (output === undefined) return undefined
  const what = `the answer of docker-credential-${name}`
  const { Username, Secret } = decode(answer, parseJSON(output, what), what)
  return Username === TOKEN_USER ? { identityToken: Secret } : { username: Username, password: Secret }
}

/**
 * Runs it. Undefined when it does not know the registry.
 * @throws ERR_UNAUTHORIZED when it fails, ERR_INVALID_ARGUMENT for a name that is none
 */
export function runHelper(name: string, verb: HelperVerb, input: string): Promise<Buffer | undefined> {
  if (!NAME.test(name)) {
    throw new OverlaidError(
      'ERR_INVALID_ARGUMENT',
      `docker's config.json names no helper: ${JSON.stringify(name)}`,
    )
  }
  const program = `docker-credential-${name}`
  return new Promise((resolve, reject) => {
    const options = { encoding: 'buffer', timeout: TIMEOUT } as const
    const child = execFile(program, [verb], options, (error, stdout, stderr) => {
      if (error === null) return resolve(stdout)
      const said = `${stdout.toString()}\n${stderr.toString()}`
      // Complaints come on stdout. They are not shown: the secret may be there.
      if (NOT_FOUND.test(said)) return resolve(undefined)
      const how = error.code === 'ENOENT' ? 'is not on the PATH' : `failed at ${verb}`
      const hint = "docker's config.json names it, as credsStore or in credHelpers"
      reject(new OverlaidError('ERR_UNAUTHORIZED', `the credential helper ${program} ${how}`, { hint }))
    })
    // EPIPE: it may end without having read.
    child.stdin?.on('error', () => undefined)
    child.stdin?.end(input)
  })
}
