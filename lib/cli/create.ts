import type { IDMap, IDRange } from '../driver/id-map.ts'
import type { StorageOptions } from '../store/storage-options.ts'
import { usageError } from './report.ts'
import type { Verb } from './verb.ts'

interface Options {
  readonly name?: string
  readonly storageOpt?: readonly string[]
  readonly uidmap?: readonly string[]
  readonly gidmap?: readonly string[]
}

/** `overlaid create` */
export const verb: Verb<[ref: string], Options> = {
  args: [['<ref>', 'an image, by name or id']],
  options: [
    { flags: '--name <name>', does: 'its name; by default the first 12 digits of its id' },
    {
      flags: '--storage-opt <key=value>',
      does: 'size=64M: the most that it may take on disk (ext4, XFS with project quotas; btrfs). With vfs its image counts',
      many: true,
    },
    {
      flags: '--uidmap <container:host:size>',
      does: 'user ids that the container sees, and what they are outside; for groups too unless --gidmap is given',
      many: true,
    },
    { flags: '--gidmap <container:host:size>', does: 'group ids in the same way', many: true },
  ],
  examples: [
    ['create --name web nginx:1', 'a writable layer on the image; prints its id'],
    ['create --storage-opt size=64M nginx:1', 'one that can write 64 MiB; ps --json shows what it has used'],
    [
      'create --uidmap 0:100000:65536 nginx:1',
      "one whose root is nobody outside; the image's layers stay shared",
    ],
    ['mount $(overlaid create alpine:3.20)', 'make one and mount it'],
  ],
  async run({ openStore, out, signal }, [ref], { name, storageOpt = [], uidmap, gidmap }) {
    const storageOptions = parseStorageOptions(storageOpt)
    const idMap = parseIDMap(uidmap, gidmap)
    await using store = await openStore('write')
    const given = { ...(name !== undefined && { name }), ...(idMap !== undefined && { idMap }) }
    const options = { storageOptions, signal, ...given }
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

/** podman's: without a map for groups they are mapped as the users are. */
function parseIDMap(
  uidmap: readonly string[] | undefined,
  gidmap: readonly string[] | undefined,
): IDMap | undefined {
  if (uidmap === undefined) {
    if (gidmap === undefined) return undefined
    throw usageError('--gidmap goes with --uidmap', 'give both, or --uidmap alone for the same ids of groups')
  }
  return { uid: uidmap.map(parseRange), gid: (gidmap ?? uidmap).map(parseRange) }
}

function parseRange(text: string): IDRange {
  const [, container, host, size] = /^(\d+):(\d+):(\d+)$/.exec(text) ?? []
  if (size === undefined)
    throw usageError(`'${text}' maps no ids`, 'it is CONTAINER:HOST:SIZE, 0:100000:65536')
  return { container: Number(container), host: Number(host), size: Number(size) }
}
