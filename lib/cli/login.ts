import { login } from '../transfer/registry/login.ts'
import { REGISTRY_OPTIONS, type RegistryFlags, registryOptions } from './registry.ts'
import { usageError } from './report.ts'
import { readStdin } from './streams.ts'
import type { Context, Verb } from './verb.ts'

interface Options extends RegistryFlags {
  readonly username?: string
  readonly passwordStdin?: boolean
}

/** Of a password; more is something else that stdin was connected to. */
const MAX_PASSWORD = 64 * 1024

/** `overlaid login` */
export const verb: Verb<[host: string | undefined], Options> = {
  args: [['[registry]', 'its host and port; default: docker.io']],
  options: [
    { flags: '-u, --username <name>', does: 'who you are there' },
    { flags: '--password-stdin', does: 'the password, or a token that serves as one, comes on stdin' },
    ...REGISTRY_OPTIONS,
  ],
  examples: [
    ['login -u me --password-stdin < token', 'at Docker Hub'],
    ['login -u me --password-stdin registry.example:5000 < token', 'at another registry'],
  ],
  notes:
    "Credentials that the registry takes are kept where docker keeps them: by the credential helper that docker's\n" +
    'config.json names, else in that file, in $DOCKER_CONFIG or ~/.docker.',
  async run(context, [host = 'docker.io'], { username = '', passwordStdin = false, ...flags }) {
    if (username === '' || !passwordStdin) {
      throw usageError(
        '--username and --password-stdin are needed',
        'a password on the command line is seen by all',
      )
    }
    const { out, signal } = context
    const password = await readPassword(context)
    const kept = await login(host, { username, password }, { ...registryOptions(context, flags), signal })
    if (kept.file !== undefined)
      out.warn(`the password can be read in ${kept.file}: a credential helper hides it`)
    await out.result({ registry: host, username, ...kept }, () => [`Logged in: ${host}`])
  },
}

async function readPassword(context: Context): Promise<string> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of readStdin(context)) {
    chunks.push(chunk)
    size += chunk.length
    if (size > MAX_PASSWORD) throw usageError('what comes on stdin is too long for a password')
  }
  const password = Buffer.concat(chunks)
    .toString()
    .replace(/\r?\n$/, '')
  if (password === '') throw usageError('the password on stdin is empty')
  return password
}
