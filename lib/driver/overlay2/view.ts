/** A layer's merged content to read from: detached, read-only, gone when it is closed. */
import { detached } from '../detached.ts'
import type { DetachedMount, MountOptions } from '../driver.ts'
import { readIDMap } from '../home/id-map-file.ts'
import { inverse, openUserNamespace } from '../id-map.ts'
import { readFeatures } from './features.ts'
import { folderOf, LINK_DIR } from './layout.ts'
import { existingFolder, readLower } from './links.ts'
import { mountOverlay, type OverlayMount } from './mount.ts'

/** Link names as paths relative to the home. */
export function lowerLinks(names: readonly string[]): string[] {
  return names.map((name) => `${LINK_DIR}/${name}`)
}

/** Mounts `id` and its parents as lowers only. @throws ERR_LAYER_NOT_FOUND, ERR_DAMAGED */
export async function openView(home: string, id: string): Promise<DetachedMount> {
  return detached(await mountView(home, id, {}))
}

/** The same, with the ids as in the image's layers: those of a layer with an id map are mapped back. */
export async function mountView(home: string, id: string, options: MountOptions): Promise<OverlayMount> {
  const folder = existingFolder(home, id)
  const lowers = [`${id}/diff`, ...lowerLinks(readLower(folder))]
  const request = { home, lowers, options: { ...options, ...readFeatures(folder), readOnly: true } }
  const idMap = readIDMap(folder.idMap)
  if (idMap === undefined) return await mountOverlay(request)
  using userns = await openUserNamespace(inverse(idMap))
  return await mountOverlay({ ...request, idMap: { usernsFd: userns.fd, count: 1 } })
}

/** Mounts what lies below `id`; undefined for a base layer. */
export async function openParentView(home: string, id: string): Promise<DetachedMount | undefined> {
  const lowers = lowerLinks(readLower(folderOf(home, id)))
  if (lowers.length === 0) return undefined
  return detached(await mountOverlay({ home, lowers, options: { readOnly: true } }))
}
