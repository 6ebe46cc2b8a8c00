import { resolve } from 'node:path'
import type { Verb } from './verb.ts'

/** `overlaid unmount` */
export const verb: Verb<[what: string], { force?: boolean }> = {
  args: [['<container|ref|path>', 'what `overlaid mount` mounted, or where']],
  options: [{ flags: '-f, --force', does: 'though another process holds the mount' }],
  examples: [
    ['unmount web', 'wherever the container is mounted'],
    ['unmount alpine:3.20', 'what `mount --read-only` mounted'],
    ['unmount /mnt', 'what is mounted there'],
  ],
  async run({ openStore }, [what], { force }) {
    await using store = await openStore('write')
    await store.unmount(isPath(what) ? resolve(what) : what, { force: force === true })
  },
}

/** An image reference may have slashes, but begins with none and with no dot. */
function isPath(what: string): boolean {
  return /^(\/|\.\.?(\/|$))/.test(what)
}
