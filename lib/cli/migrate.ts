import type { MigrateReport } from '../store/migrate.ts'
import { plural } from './format.ts'
import { withProgress } from './progress.ts'
import type { Verb } from './verb.ts'

/** `overlaid migrate` */
export const verb: Verb<[root: string], { from?: string }> = {
  args: [['<root>', "Docker's data root with the old driver's state"]],
  options: [
    {
      flags: '--from <driver>',
      does: 'aufs, overlay, vfs, btrfs, zfs, fuse-overlayfs or devicemapper; default: the one there',
    },
  ],
  examples: [
    ['--root /srv/new migrate --from aufs /var/lib/docker', 'its images and names, into a root of overlay2'],
    ['--driver overlay2 --root /srv/docker migrate --from vfs /srv/docker', 'into the same root'],
  ],
  notes:
    'The old files are read as files: neither the driver nor kernel support for it is needed. Layers keep their ' +
    'diffIDs where Docker kept the record of their archives, each proved by its digest. Containers are not moved. ' +
    'A dockerd may run on the old root, unless that is the new one too; when it removes what is being read, nothing is ' +
    'moved. Of devicemapper the files data and metadata are read, by a kernel with thin pools (modprobe dm-thin-pool), ' +
    'while dockerd does not run; nothing is written to them.',
  async run(context, [root], { from }) {
    const { openStore, out, signal } = context
    await using store = await openStore('write')
    const report = await withProgress(context, (options) =>
      store.images.migrate(root, { ...options, signal, ...(from !== undefined && { from }) }),
    )
    await out.result(report, () => lines(report).map((line) => out.name(line)))
  },
}

function lines({ images, layers }: MigrateReport): string[] {
  const moved = images.flatMap(({ id, was, names }) => {
    const note = id === was ? '' : ` (was ${was})`
    const shown = names.length === 0 ? [`image ID: ${id}`] : names.map((name) => `image: ${name}`)
    return shown.map((line) => `Migrated ${line}${note}`)
  })
  return [...moved, `${plural(layers.total, 'layer')}: ${layers.added} added, ${layers.shared} shared`]
}
