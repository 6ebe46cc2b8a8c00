import { logout } from '../transfer/registry/login.ts'
import type { Verb } from './verb.ts'

/** `overlaid logout` */
export const verb: Verb<[host: string | undefined]> = {
  args: [['[registry]', 'its host and port; default: docker.io']],
  examples: [
    ['logout', 'from Docker Hub'],
    ['logout registry.example:5000', 'from another registry'],
  ],
  async run({ host: { env }, out }, [host = 'docker.io']) {
    const wasKept = await logout(host, { env })
    await out.result({ registry: host, wasKept }, () => [
      wasKept ? `Logged out: ${host}` : `There were no credentials for ${host}`,
    ])
  },
}
