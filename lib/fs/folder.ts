/** Folders by their paths, none of which is followed where it is a link. */
import { constants, lstatSync, openSync } from 'node:fs'
import { hasCode } from '../errors.ts'
import { OwnedFd } from '../native/fd.ts'

/** Whether there is a folder at `path` itself. */
export function isFolder(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false })?.isDirectory() === true
}

/** Opens the folder at `path`. @throws ENOENT, ENOTDIR, ELOOP */
export function openFolder(path: string): OwnedFd {
  return new OwnedFd(openSync(path, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW))
}

/** As {@link openFolder}; undefined where there is none. */
export function openFolderIfAny(path: string): OwnedFd | undefined {
  try {
    return openFolder(path)
  } catch (error) {
    if (hasCode(error, 'ENOENT', 'ENOTDIR', 'ELOOP')) return undefined
    throw error
  }
}
