/**
 * repositories.json: the names of images. Keys are familiar references (`alpine:3.20`), grouped by repository as
 * moby's reference store has them; the file is written anew at each change. An unparsable one keeps dockerd from
 * starting.
 */
import { readFile } from 'node:fs/promises'
import { hasCode, OverlaidError } from '../errors.ts'
import { type Durability, writeFileAtomic } from '../fs/atomic.ts'
import { failpoint } from '../fs/failpoint.ts'
import { type Digest, isDigest } from '../oci/digest.ts'
import { MODES, type StorePaths } from './paths.ts'

/** Image ids by familiar reference. */
export type Names = Map<string, Digest>

/** @throws ERR_DAMAGED when the file has not its form */
export async function readNames(paths: StorePaths): Promise<Names> {
  const text = await readText(paths.repositories)
  const names: Names = new Map()
  for (const [reference, id] of text === undefined ? [] : entriesOf(text, paths.repositories)) names.set(reference, id)
  return names
}

async function readText(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8')
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined
    throw error
  }
}

function entriesOf(text: string, path: string): [string, Digest][] {
  const damaged = (cause?: unknown) =>
    new OverlaidError('ERR_DAMAGED', 'repositories.json does not have its form', { path, cause })
  let document: unknown
  try {
    document = JSON.parse(text)
  } catch (error) {
    throw damaged(error)
  }
  const repositories = (document as { Repositories?: unknown } | null)?.Repositories ?? {}
  const entries = Object.values(repositories as object).flatMap((inner) => Object.entries((inner ?? {}) as object))
  if (!entries.every((entry): entry is [string, Digest] => isDigest(entry[1]))) throw damaged()
  return entries
}

/** Replaces all names. The caller holds the store lock and has read them under it. */
export async function writeNames(paths: StorePaths, names: Names, durability: Durability): Promise<void> {
  const repositories: Record<string, Record<string, Digest>> = {}
  // Sorted by bytes, as Go's encoder writes maps.
  for (const [reference, id] of [...names].sort(([a], [b]) => (a < b ? -1 : 1))) {
    ;(repositories[repositoryOf(reference)] ??= {})[reference] = id
  }
  const text = JSON.stringify({ Repositories: sorted(repositories) })
  const beforeRename = () => failpoint('references.write.before-rename')
  await writeFileAtomic(paths.repositories, text, { mode: MODES.privateFile, durability, beforeRename })
}

function sorted<T>(object: Readonly<Record<string, T>>): Record<string, T> {
  return Object.fromEntries(Object.entries(object).sort(([a], [b]) => (a < b ? -1 : 1)))
}

/** `alpine` of `alpine:3.20` and of `alpine@sha256:…`. */
export function repositoryOf(reference: string): string {
  const at = reference.indexOf('@')
  if (at >= 0) return reference.slice(0, at)
  const colon = reference.indexOf(':', reference.lastIndexOf('/') + 1)
  return colon < 0 ? reference : reference.slice(0, colon)
}

/** The names of one image, sorted. */
export function namesOf(names: Names, id: Digest): string[] {
  return [...names].flatMap(([reference, target]) => (target === id ? [reference] : [])).sort()
}
