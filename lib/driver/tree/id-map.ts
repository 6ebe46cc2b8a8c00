/**
 * Containers with an id map, see ../id-map.ts, whose tree is their own: the mount of it has its ids mapped (5.12; the
 * file system has to know of it). What is stored is what the container sees, since the kernel maps on the
 * way in as on the way out: no diff, commit or child has to turn anything round.
 *
 * Only ids that the map has can own a new file: root from outside gets EOVERFLOW there.
 */
import { unlinkSync } from 'node:fs'
import { join } from 'node:path'
import { hasCode, OverlaidError } from '../../errors.ts'
import { mkdirDurable, writeFileAtomic } from '../../fs/atomic.ts'
import { failpoint } from '../../fs/failpoint.ts'
import { cloneMapped, type Detached, mapMount } from '../../native/mount.ts'
import { describeBacking } from '../backing.ts'
import type { OpenOptions } from '../driver.ts'
import type { Home } from '../home/home.ts'
import { expectReadOnly, formatIDMap, readIDMap } from '../home/id-map-file.ts'
import { expectIDMap, type IDMap, openUserNamespace } from '../id-map.ts'
import { ID_MAPS_DIR, idMapFile, MODES } from './layout.ts'

/** @throws ERR_INVALID_ARGUMENT for a map that is none; ERR_UNSUPPORTED_FS; a SyscallError with a hint */
export async function expectMapping(home: string, idMap: IDMap): Promise<void> {
  expectIDMap(idMap)
  using userns = await openUserNamespace(idMap)
  try {
    await (await cloneMapped(home, userns.fd)).fd.closeAsync()
  } catch (error) {
    if (!hasCode(error, 'EINVAL', 'EOPNOTSUPP')) throw error
    const { name } = await describeBacking(home)
    throw new OverlaidError('ERR_UNSUPPORTED_FS', `${name} cannot show its files with mapped ids`, {
      path: home,
      cause: error,
      hint: 'put the data root on ext4, XFS, btrfs or, from Linux 6.3 on, tmpfs, or leave the id map out',
    })
  }
}

/** Writes down the map of `id`, or that it has none. */
export async function recordIDMap(
  { path: home, durability }: Home,
  id: string,
  idMap?: IDMap,
): Promise<void> {
  if (idMap === undefined) {
    forgetIDMap(home, id)
    return
  }
  await mkdirDurable(join(home, ID_MAPS_DIR), { mode: MODES.folder, durability })
  failpoint('driver.tree.before-id-map')
  await writeFileAtomic(idMapFile(home, id), formatIDMap(idMap), { mode: MODES.idMap, durability })
}

export function forgetIDMap(home: string, id: string): void {
  try {
    unlinkSync(idMapFile(home, id))
  } catch (error) {
    if (!hasCode(error, 'ENOENT')) throw error
  }
}

/** What `mount` gives of the tree of `id`, with its ids mapped where it has a map. @throws ERR_DAMAGED */
export async function mapped(
  home: string,
  id: string,
  options: OpenOptions,
  mount: () => Promise<Detached>,
): Promise<Detached> {
  const idMap = readIDMap(idMapFile(home, id))
  if (idMap !== undefined && options.unmapped === true) expectReadOnly(options)
  if (idMap === undefined || options.unmapped === true) return await mount()
  using userns = await openUserNamespace(idMap)
  return await mapMount(await mount(), userns.fd)
}
