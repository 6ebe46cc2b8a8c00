/** A layer of the home, mounted with its parents. */
import { lstatSync } from 'node:fs'
import { OverlaidError } from '../../errors.ts'
import type { OpenOptions } from '../driver.ts'
import type { Home } from '../home/home.ts'
import { openUserNamespace } from '../id-map.ts'
import { noteFeatures, readFeatures } from './features.ts'
import { readIDMap } from './id-map-file.ts'
import { folderOf, type LayerFolder } from './layout.ts'
import { existingFolder, readLower } from './links.ts'
import { mountOverlay, type OverlayMount } from './mount.ts'
import { lowerLinks, mountView } from './view.ts'

/** The merged tree of `id`, read-only where a child was made on it. @throws ERR_LAYER_NOT_FOUND, as mountOverlay() */
export async function mountLayer(
  { path: home, durability }: Home,
  id: string,
  options: OpenOptions,
): Promise<OverlayMount> {
  const folder = folderOf(home, id)
  const lowers = lowerLinks(readLower(folder))
  // A layer that has parents is there: one look less.
  if (lowers.length === 0) existingFolder(home, id)
  const idMap = readIDMap(folder)
  if (options.unmapped === true && idMap !== undefined) return await mountUnmapped(home, id, options)
  const upper = `${id}/diff`
  const readOnly = options.readOnly === true || isCommitted(folder)
  const features = readOnly ? readFeatures(folder) : await noteFeatures(folder, options, durability)
  const layers = lowers.length === 0 ? { lowers, upper } : { lowers, upper, work: `${id}/work` }
  const request = { home, ...layers, options: { ...options, ...features, readOnly } }
  if (idMap === undefined) return mountOverlay(request)
  using userns = await openUserNamespace(idMap)
  return await mountOverlay({ ...request, idMap: { usernsFd: userns.fd } })
}

async function mountUnmapped(home: string, id: string, options: OpenOptions): Promise<OverlayMount> {
  if (options.readOnly !== true) {
    const message = 'a layer with an id map is written to with its ids mapped'
    throw new OverlaidError('ERR_INVALID_ARGUMENT', message, { hint: 'unmapped goes with readOnly' })
  }
  return await mountView(home, id, options)
}

export function isCommitted({ committed }: LayerFolder): boolean {
  return lstatSync(committed, { throwIfNoEntry: false }) !== undefined
}
