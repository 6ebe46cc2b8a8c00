/** The last steps on the way to a layer, whichever way its folder was filled: see stage.ts for their order. */
import { lstatSync } from 'node:fs'
import { rename } from 'node:fs/promises'
import { hasCode, OverlaidError } from '../../errors.ts'
import { fsyncDir, writeNew } from '../../fs/atomic.ts'
import type { Home } from '../home/home.ts'
import { formatLower, type LayerFolder, MODES } from './layout.ts'
import { readLink, readLower } from './links.ts'
import { MAX_LOWERS } from './options.ts'

/** The `lower` of a child of `parent`. @throws ERR_CHAIN_TOO_DEEP, ERR_DAMAGED */
export function lowerOver(parent: LayerFolder): string {
  const lower = [readLink(parent), ...readLower(parent)]
  if (lower.length <= MAX_LOWERS) return formatLower(lower)
  throw new OverlaidError(
    'ERR_CHAIN_TOO_DEEP',
    `a layer over ${lower.length.toString()} others cannot be mounted: overlayfs stacks ${MAX_LOWERS.toString()}`,
    { path: parent.dir },
  )
}

/** From now on a mount of `parent` by itself is read-only: a child's view must not change. */
export async function markCommitted(parent: LayerFolder, { durability }: Home): Promise<void> {
  // Most parents have a child already, and an error costs more than a look.
  if (lstatSync(parent.committed, { throwIfNoEntry: false }) !== undefined) return
  try {
    // In place: an empty file is whole at once, and no temporary one is left in a folder that others use.
    await writeNew(parent.committed, '', { mode: MODES.committed, durability })
    await fsyncDir(parent.dir, { durability })
  } catch (error) {
    if (!hasCode(error, 'EEXIST')) throw error
  }
}

/** Gives the folder `from` the name of layer `id`. @throws ERR_ALREADY_EXISTS */
export async function renameInto(from: string, to: string, id: string): Promise<void> {
  try {
    await rename(from, to)
  } catch (error) {
    throw asTaken(error, id)
  }
}

/** A layer's folder is never empty, so rename refuses to replace one: the kernel decides between two makers. */
export function asTaken(error: unknown, id: string): unknown {
  return hasCode(error, 'ENOTEMPTY', 'EEXIST') ? alreadyThere(id) : error
}

export function alreadyThere(id: string): OverlaidError {
  return new OverlaidError('ERR_ALREADY_EXISTS', `there is a layer ${id} already`)
}
