/**
 * The home of the zfs driver, and its datasets; as moby's. `<dataset>` is the file system that the data root is on.
 *
 *     <dataset>/<id>                       a layer: a base of its own, all others clones, mountpoint=legacy
 *     zfs/graph/<id>/                0700  the mount point; there only while mounted
 *
 * Ours, beside ../tree/layout.ts. A colon is in no id, and dockerd leaves names that it does not know alone. `<home>` is
 * the inode number of the home's folder: two data roots may be on one dataset, and it outlives a change of the path.
 *
 *     <dataset>/overlaid:<home>:staging:<x>:<name>    belongs to the folder staging/<x>, whose lock keeps it from gc
 *     <dataset>/overlaid:<home>:trash:<random>        what remove() set aside
 *     <dataset>/overlaid:<home>:replaced:<random>:<id>  what replace() set aside; trash once <id> is there again
 *     <dataset>/overlaid:<inode>:probe:<x>            belongs to a probe folder; <inode> is that of the folder it is in
 *     <dataset>/<id>@overlaid:<home>:<x>              what staging/<x> was cloned from, destroyed once there is a clone
 *
 * A snapshot that has a clone is destroyed when its last clone is (`zfs destroy -d`). Snapshots follow their dataset when
 * that is renamed: a layer that was removed or replaced below others stays in the trash until they are gone.
 */
import { OverlaidError } from '../../errors.ts'

/** Where moby's driver mounts. */
export const GRAPH_DIR = 'graph'

const PREFIX = 'overlaid'

/** ZFS allows spaces too; what it has of those is refused before it gets into a command. */
const COMPONENT = /^[A-Za-z0-9][A-Za-z0-9_.:-]*$/
/** ZFS_MAX_DATASET_NAME_LEN is 256 with the NUL. */
const MAX_NAME = 255

/** `a/b/c` or `a/b/c@snapshot`. @throws ERR_INVALID_ARGUMENT before it gets into any command */
export function expectName(name: string): string {
  const [path = '', ...snapshots] = name.split('@')
  const parts = [...path.split('/'), ...snapshots]
  if (snapshots.length < 2 && parts.every((part) => COMPONENT.test(part)) && name.length <= MAX_NAME)
    return name
  throw new OverlaidError(
    'ERR_INVALID_ARGUMENT',
    `${JSON.stringify(name)} is no name that a dataset can have here`,
    {
      hint: `letters, digits and _ . : - in each part, and no more than ${String(MAX_NAME)} in all: zfs rename gives it another`,
    },
  )
}

/** Where the datasets of a home are, and which of those without an id are its own. */
export interface Place {
  readonly dataset: string
  /** The inode number of the home's folder, or of the folder that a probe is in. */
  readonly owner: number
}

export type Kind = 'staging' | 'trash' | 'replaced' | 'probe'

export function layerName({ dataset }: Place, id: string): string {
  return `${dataset}/${id}`
}

/** A dataset that no id names. */
export function looseName({ dataset, owner }: Place, kind: Kind, rest: string): string {
  return `${dataset}/${PREFIX}:${String(owner)}:${kind}:${rest}`
}

/** The snapshot of a layer from which the staging folder `folder` is cloned. */
export function snapshotName(place: Place, id: string, folder: string): string {
  return `${layerName(place, id)}@${PREFIX}:${String(place.owner)}:${folder}`
}

export interface Loose {
  readonly owner: number
  readonly kind: string
  readonly rest: string
}

/** What the name of a dataset says; undefined for another's. */
export function parseLoose({ dataset }: Place, name: string): Loose | undefined {
  const [prefix, owner = '', kind = '', ...rest] = name.slice(dataset.length + 1).split(':')
  return prefix === PREFIX ? { owner: Number(owner), kind, rest: rest.join(':') } : undefined
}

/** The staging folder that the snapshot `name` was made for; undefined for one that is not this home's. */
export function parseSnapshot({ owner }: Place, name: string): string | undefined {
  const [prefix, number, folder] = name.slice(name.indexOf('@') + 1).split(':')
  return prefix === PREFIX && number === String(owner) ? folder : undefined
}
