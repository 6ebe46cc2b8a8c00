import type { StorageOptions } from '../store/storage-options.ts'
import { usageError } from './report.ts'
import type { Verb } from './verb.ts'

interface Options {
  readonly name?: string
  readonly storageOpt?: readonly string[]
}

/** `overlaid create` */
export const verb: Verb<[ref: string], Options> = {
  args: [['<ref>', 'an image, by name or id']],
  options: [
    { flags: '--name <name>', does: 'its name; by default the first 12 digits of its id' },
    {
      flags: '--storage-opt <key=value>',
      does: 'size=64M: the most that it may take on disk (ext4, XFS with project quotas)',
      many: true,
    },
  ],
  examples: [
    ['create --name web nginx:1', 'a writable layer on the image; prints its id'],
    ['create --storage-opt size=64M nginx:1', 'one that can write 64 MiB; ps --json shows what it has used'],
    ['mount $(overlaid create alpine:3.20)', 'make one and mount it'],
  ],
  async run({ openStore, out, signal }, [ref], { name, storageOpt = [] }) {
    const storageOptions = parseStorageOptions(storageOpt)
    await using store = await openStore('write')
    const options = { storageOptions, signal, ...(name === undefined ? {} : { name }) }
    const container = await store.containers.create(ref, options)
    await out.result({ id: container.id, name: container.name }, () => [container.id])
  },
}

/** docker's `KEY=VALUE`; the last one of a key counts. */
function parseStorageOptions(pairs: readonly string[]): StorageOptions {
  const entries = pairs.map((pair) => {
    const at = pair.indexOf('=')
    if (pair.slice(0, at) === 'size') return ['size', pair.slice(at + 1)] as const
    throw usageError(`--storage-opt ${pair} is not known`, 'it is size=SIZE, for example size=64M')
  })
  return Object.fromEntries(entries)
}
