/** What is written down of the parents of whole trees. */
import { readFileSync } from 'node:fs'
import { hasCode } from '../../errors.ts'
import { parentFile } from './layout.ts'

/** The parent's id, empty for a base layer; undefined where it is not known, as with layers of moby's. */
export function readParent(home: string, id: string): string | undefined {
  try {
    return readFileSync(parentFile(home, id), 'utf8').trim()
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined
    throw error
  }
}
