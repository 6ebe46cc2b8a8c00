/**
 * What every driver's home has beside its layers:
 *
 *     staging/                   0700  layers that no id names yet
 *     └── <random>/{lock,…}            each below its owner's lock, see staging-folder.ts
 *     trash/                     0700  what remove() set aside, to be deleted without a lock, see trash.ts
 *
 * Both are in the home because rename(2) is what makes a layer appear and disappear at once, and it works in one file
 * system only. dockerd leaves names that it does not know alone.
 */
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { hasCode } from '../../errors.ts'
import { type Durability, mkdirDurable, mkdirsDurable } from '../../fs/atomic.ts'

export const STAGING_DIR = 'staging'
export const TRASH_DIR = 'trash'

/** Exact modes, whatever the umask. */
export const MODES = { home: 0o710, staging: 0o700, lock: 0o600 } as const

export interface Home {
  /** `<root>/<driver>`. */
  readonly path: string
  readonly durability: Durability
}

/** Makes the home, and the two folders in it. */
export async function makeHome({ path, durability }: Home): Promise<void> {
  await mkdirsDurable(path, { mode: MODES.home, durability })
  await mkdirDurable(join(path, STAGING_DIR), { mode: MODES.staging, durability })
  await mkdirDurable(join(path, TRASH_DIR), { mode: MODES.staging, durability })
}

/**
 * Any name that is one plain path component. moby uses 64 hex digits, with `-init` for init layers, BuildKit 25
 * characters of base 36; a caller of this library may use words.
 */
const ID = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$/

export function isPlainID(id: string): boolean {
  return ID.test(id)
}

/** The names of the folders in `dir` that are ids; none where it is not there. */
export async function idsIn(dir: string, isID: (name: string) => boolean): Promise<string[]> {
  try {
    const entries = await readdir(dir, { withFileTypes: true })
    return entries.filter((entry) => entry.isDirectory() && isID(entry.name)).map(({ name }) => name)
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return []
    throw error
  }
}
