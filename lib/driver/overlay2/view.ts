/** A layer's merged content to read from: detached, read-only, gone when it is closed. */
import { detached } from '../detached.ts'
import type { DetachedMount } from '../driver.ts'
import { type Features, readFeatures } from './features.ts'
import { folderOf, LINK_DIR } from './layout.ts'
import { existingFolder, readLower } from './links.ts'
import { mountOverlay } from './mount.ts'

/** Link names as paths relative to the home. */
export function lowerLinks(names: readonly string[]): string[] {
  return names.map((name) => `${LINK_DIR}/${name}`)
}

/** Mounts `id` and its parents as lowers only. @throws ERR_LAYER_NOT_FOUND, ERR_DAMAGED */
export async function openView(home: string, id: string): Promise<DetachedMount> {
  const folder = existingFolder(home, id)
  const lowers = [`${id}/diff`, ...lowerLinks(readLower(folder))]
  return await mountView(home, lowers, readFeatures(folder))
}

/** Mounts what lies below `id`; undefined for a base layer. */
export async function openParentView(home: string, id: string): Promise<DetachedMount | undefined> {
  const lowers = lowerLinks(readLower(folderOf(home, id)))
  return lowers.length === 0 ? undefined : await mountView(home, lowers)
}

async function mountView(home: string, lowers: string[], features?: Features): Promise<DetachedMount> {
  return detached(await mountOverlay({ home, lowers, options: { readOnly: true, ...features } }))
}
