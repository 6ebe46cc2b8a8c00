/** Small files that need not be there. */
import { lstatSync, readFileSync } from 'node:fs'
import { hasCode } from '../errors.ts'

/** As {@link readText}, for a file that is missing as a rule: an error costs more than a look. */
export function readRareText(path: string): string | undefined {
  return lstatSync(path, { throwIfNoEntry: false }) === undefined ? undefined : readText(path)
}

/** The file's text, undefined where it does not exist. */
export function readText(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined
    throw error
  }
}
