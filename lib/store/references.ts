/** repositories.json on disk. An unparsable one keeps dockerd from starting, so it is only ever replaced whole. */
import { readFileSync } from 'node:fs'
import { hasCode } from '../errors.ts'
import { type Durability, writeFileAtomic } from '../fs/atomic.ts'
import { failpoint } from '../fs/failpoint.ts'
import { formatReference, parseReference } from '../oci/reference.ts'
import { formatRepositories, parseRepositories, type Repositories } from '../oci/repositories.ts'
import type { Digest } from '../oci/digest.ts'
import { namesOf } from '../oci/repositories.ts'
import { MODES, type StorePaths } from './paths.ts'

/** The names of all images; none where there is no file yet. @throws ERR_DAMAGED */
export async function readReferences(paths: StorePaths): Promise<Repositories> {
  try {
    return parseRepositories(readFileSync(paths.repositories))
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return new Map()
    throw error
  }
}

/** Replaces all names. The caller holds the store lock, and has read them under it. */
export async function writeReferences(
  paths: StorePaths,
  repositories: Repositories,
  durability: Durability,
): Promise<void> {
  const beforeRename = () => failpoint('references.write.before-rename')
  const options = { mode: MODES.privateFile, durability, beforeRename }
  await writeFileAtomic(paths.repositories, formatRepositories(repositories), options)
}

/** The names of one image, normalized: `docker.io/library/alpine:3.20`. */
export function fullNamesOf(repositories: Repositories, id: Digest): string[] {
  return namesOf(repositories, id).map((name) => formatReference(parseReference(name)))
}
