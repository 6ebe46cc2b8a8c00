import type { CommitOptions } from '../store/container.ts'
import type { Verb } from './verb.ts'

interface Options {
  readonly message?: string
  readonly author?: string
  readonly change?: readonly string[]
}

/** `overlaid commit` */
export const verb: Verb<[container: string, ref: string | undefined], Options> = {
  args: [
    ['<container>', 'by name or id'],
    ['[ref]', 'the name of the new image'],
  ],
  options: [
    { flags: '-m, --message <text>', does: 'comment in the history' },
    { flags: '-a, --author <name>', does: 'author of the image' },
    {
      flags: '-c, --change <instruction>',
      does: 'CMD, ENTRYPOINT, ENV, WORKDIR, USER, LABEL, EXPOSE or VOLUME, as in a Dockerfile; repeatable',
      many: true,
    },
  ],
  examples: [
    ['commit web web:patched', "the container's changes become a layer, and an image with that name"],
    [
      `commit -m 'add curl' -c 'CMD ["curl"]' -c 'ENV A=b' web`,
      'with a comment and another config; prints the id',
    ],
  ],
  async run({ openStore, out, signal }, [name, ref], { message, author, change }) {
    await using store = await openStore('write')
    const container = await store.containers.get(name)
    const options: CommitOptions = {
      ...(message === undefined ? {} : { message }),
      ...(author === undefined ? {} : { author }),
      ...(change === undefined ? {} : { changes: change }),
      signal,
    }
    const { id, names } = await container.commit(ref, options)
    await out.result({ id, names }, () => [id])
  },
}
