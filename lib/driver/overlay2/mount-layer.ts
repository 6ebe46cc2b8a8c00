/** A layer of the home, mounted with its parents. */
import { lstatSync } from 'node:fs'
import type { OpenOptions } from '../driver.ts'
import type { Home } from '../home/home.ts'
import { expectReadOnly, readIDMap } from '../home/id-map-file.ts'
import { noteFeatures, readFeatures } from './features.ts'
import { folderOf, type LayerFolder } from './layout.ts'
import { existingFolder, readLower } from './links.ts'
import { mountOverlay, type OverlayMount } from './mount.ts'
import type { UserNamespaces } from './user-namespaces.ts'
import { lowerLinks, mountView } from './view.ts'

/** The merged tree of `id`, read-only where a child was made on it. @throws ERR_LAYER_NOT_FOUND, as mountOverlay() */
export async function mountLayer(
  { path: home, durability }: Home,
  id: string,
  options: OpenOptions,
  namespaces: UserNamespaces,
): Promise<OverlayMount> {
  const folder = folderOf(home, id)
  const lowers = lowerLinks(readLower(folder))
  // A layer that has parents is there: one look less.
  if (lowers.length === 0) existingFolder(home, id)
  const idMap = readIDMap(folder.idMap)
  if (options.unmapped === true && idMap !== undefined) {
    expectReadOnly(options)
    return await mountView(home, id, options)
  }
  const upper = `${id}/diff`
  const readOnly = options.readOnly === true || isCommitted(folder)
  const features = readOnly ? readFeatures(folder) : await noteFeatures(folder, options, durability)
  const layers = lowers.length === 0 ? { lowers, upper } : { lowers, upper, work: `${id}/work` }
  const request = { home, ...layers, options: { ...options, ...features, readOnly } }
  if (idMap === undefined) return mountOverlay(request)
  return await namespaces.use(idMap, (usernsFd) => mountOverlay({ ...request, idMap: { usernsFd } }))
}

export function isCommitted({ committed }: LayerFolder): boolean {
  return lstatSync(committed, { throwIfNoEntry: false }) !== undefined
}
