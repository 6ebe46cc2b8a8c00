/** Opening what is at a path of any length. */
import { closeSync, constants } from 'node:fs'
import { binding } from '../native/binding.ts'

/** One call takes a path of PATH_MAX bytes, and a name has 255 at most. */
const STEP_BYTES = 3800
const OPEN_FOLDER = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW

/** Opens `path` below `rootFd`, itself where it is empty; it was walked before: no link is on it. @throws as openInRoot */
export async function openDeep(rootFd: number, path: Buffer, flags: number): Promise<number> {
  if (path.length <= STEP_BYTES) return binding.openInRoot(rootFd, path.length === 0 ? '.' : path, flags, 0)
  const end = path.lastIndexOf(0x2f, STEP_BYTES)
  const above = await binding.openInRoot(rootFd, path.subarray(0, end), OPEN_FOLDER, 0)
  try {
    return await openDeep(above, path.subarray(end + 1), flags)
  } finally {
    closeSync(above)
  }
}

/** The directory at `path`, the root itself where that is empty. Same. */
export function openFolderDeep(rootFd: number, path: Buffer): Promise<number> {
  return openDeep(rootFd, path.length === 0 ? ROOT : path, OPEN_FOLDER)
}

const ROOT = Buffer.from('.')
