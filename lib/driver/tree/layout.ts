/**
 * The home of a driver that keeps whole trees. `<trees>` is the driver's: vfs has `dir`, btrfs `subvolumes`, as moby;
 * the trees of zfs are datasets (../zfs/layout.ts).
 *
 *     <driver>/                  0710
 *     ├── <trees>/<id>/                what the layer shows: all of its parents' content with its own changes
 *     ├── parents/<id>           0644  ours: the id of the parent, no newline; empty for a base layer
 *     ├── idmaps/<id>            0600  ours: the ids that a container sees, see ../home/id-map-file.ts; there for those
 *     │                                that have a map, as is the folder
 *     ├── merged/<id>/           0700  ours: the mount point; there only while mounted (zfs: moby's own, `graph`)
 *     └── staging/, trash/             ours: see ../home/home.ts
 *
 * Why parents/: moby's drivers of this kind do not know a layer's parent, it is told at each diff. A layer of moby's
 * has no such file, and diffs against whatever it is told.
 */
import { join } from 'node:path'
import { OverlaidError } from '../../errors.ts'
import { isPlainID } from '../home/home.ts'

export const PARENTS_DIR = 'parents'
export const ID_MAPS_DIR = 'idmaps'
export const MERGED_DIR = 'merged'

/** Exact modes, whatever the umask. */
export const MODES = { trees: 0o710, folder: 0o700, parent: 0o644, idMap: 0o600 } as const

/** @throws ERR_INVALID_ARGUMENT before the id gets into any path */
export function expectID(id: string): string {
  if (isPlainID(id)) return id
  throw new OverlaidError('ERR_INVALID_ARGUMENT', `${JSON.stringify(id)} cannot name a layer`)
}

export function parentFile(home: string, id: string): string {
  return join(home, PARENTS_DIR, expectID(id))
}

export function idMapFile(home: string, id: string): string {
  return join(home, ID_MAPS_DIR, expectID(id))
}

export function alreadyThere(id: string): OverlaidError {
  return new OverlaidError('ERR_ALREADY_EXISTS', `there is a layer ${id} already`)
}

export function notThere(id: string): OverlaidError {
  return new OverlaidError('ERR_LAYER_NOT_FOUND', `there is no layer ${id}`)
}
