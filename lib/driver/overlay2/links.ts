/**
 * The chain of a layer: its `link`, its `lower`, and the short names in l/ that they go by.
 *
 * A layer's own few small files are read synchronously: 10 µs each, where a read on the thread pool is four turns of
 * 40 µs and more, and every mount begins with them.
 */
import { randomBytes } from 'node:crypto'
import { readlinkSync, symlinkSync } from 'node:fs'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { hasCode, OverlaidError } from '../../errors.ts'
import { readText } from '../../fs/read-text.ts'
import { isFolder } from '../../fs/folder.ts'
import {
  folderOf,
  type LayerFolder,
  idOfLinkTarget,
  isLinkName,
  LINK_DIR,
  linkTarget,
  parseLower,
} from './layout.ts'

const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'
const LINK_LENGTH = 26

/** A new name for l/: 130 random bits, five a character. */
export function newLinkName(): string {
  return Array.from(randomBytes(LINK_LENGTH), (byte) => ALPHABET[byte % ALPHABET.length]).join('')
}

/** Whether there is a layer `id`. @throws ERR_INVALID_ARGUMENT */
export function layerExists(home: string, id: string): boolean {
  return isFolder(folderOf(home, id).dir)
}

/** The folder of a layer that is there. @throws ERR_LAYER_NOT_FOUND, ERR_INVALID_ARGUMENT */
export function existingFolder(home: string, id: string): LayerFolder {
  const folder = folderOf(home, id)
  if (isFolder(folder.dir)) return folder
  throw new OverlaidError('ERR_LAYER_NOT_FOUND', `there is no layer ${id}`)
}

/** The layer's name in l/. @throws ERR_DAMAGED where `link` is missing or is not one */
export function readLink(folder: LayerFolder): string {
  const name = readText(folder.link)?.trim()
  if (name !== undefined && isLinkName(name)) return name
  const what = name === undefined ? 'is missing' : `holds ${JSON.stringify(name)}, which is no name in l/`
  throw damaged(folder.link, `${folder.link} ${what}`)
}

/** Link names of the layer's parents, nearest first; none for a base layer. @throws ERR_DAMAGED */
export function readLower(folder: LayerFolder): string[] {
  const text = readText(folder.lower)
  return text === undefined ? [] : parseLower(text, folder.lower)
}

/** The id behind a name in l/. @throws ERR_DAMAGED where the entry is missing or points elsewhere */
export function idOfLink(home: string, name: string): string {
  const path = join(home, LINK_DIR, name)
  const id = findIDOfLink(home, name)
  if (id !== undefined) return id
  throw damaged(path, `${path} is missing or does not point to a layer`)
}

/** Like {@link idOfLink}, undefined where the entry is missing or malformed. */
export function findIDOfLink(home: string, name: string): string | undefined {
  try {
    return idOfLinkTarget(readlinkSync(join(home, LINK_DIR, name)))
  } catch (error) {
    // EINVAL: something that is not a symlink.
    if (hasCode(error, 'ENOENT', 'EINVAL')) return undefined
    throw error
  }
}

/** The name in l/ that points to `id`, whose own `link` may be lost; the folder may be too. */
export async function nameInLinks(home: string, id: string): Promise<string | undefined> {
  for (const name of await readdir(join(home, LINK_DIR))) {
    if (isLinkName(name) && findIDOfLink(home, name) === id) return name
  }
  return undefined
}

/** Makes `l/<name>` for `id`. @throws EEXIST where another layer has the name */
export function makeLink(home: string, name: string, id: string): void {
  symlinkSync(linkTarget(id), join(home, LINK_DIR, name))
}

function damaged(path: string, message: string): OverlaidError {
  return new OverlaidError('ERR_DAMAGED', message, { path, hint: '`overlaid check --repair` rebuilds it' })
}
