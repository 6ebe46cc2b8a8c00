/** Programs in the folders of PATH. */
import { accessSync, constants } from 'node:fs'
import { isAbsolute, join } from 'node:path'
import { OverlaidError } from '../errors.ts'

const DEFAULT_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'

/** The first of its name; undefined where there is none. */
export function findProgram(
  name: string,
  path: string = process.env['PATH'] ?? DEFAULT_PATH,
): string | undefined {
  const folders = path.split(':').filter(isAbsolute)
  return folders.map((folder) => join(folder, name)).find(isExecutable)
}

/**
 * As {@link findProgram}. @throws ERR_NO_PROGRAM
 * @param what it is called, with its name
 * @param install how to get it
 */
export function expectProgram(name: string, what: string, install: string): string {
  const found = findProgram(name)
  if (found !== undefined) return found
  const message = `${what} is not installed: it is in no folder of PATH`
  throw new OverlaidError('ERR_NO_PROGRAM', message, { hint: `install it: ${install}` })
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    // Any errno: it is not there, or not for us; the next folder may have one.
    return false
  }
}
