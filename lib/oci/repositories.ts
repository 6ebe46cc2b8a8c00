/**
 * repositories.json: which names the images of a store have. Docker's form, compact and without a last newline:
 *
 *     {"Repositories":{"alpine":{"alpine:3.20":"sha256:…","alpine@sha256:…":"sha256:…"}}}
 *
 * Outer keys are familiar names, inner keys familiar references, values image ids. dockerd does not start on a
 * file that it cannot parse, so nothing is guessed here: a wrong file is damage.
 */
import { OverlaidError } from '../errors.ts'
import { type Digest, digestProblem, parseDigest } from './digest.ts'
import { parseJSON } from './json.ts'
import { type Reference, familiar, familiarName } from './reference.ts'

/** Image id by familiar reference, by familiar name. */
export type Repositories = Map<string, Map<string, Digest>>

const WHAT = 'repositories.json'

/**
 * Reads repositories.json.
 * @throws ERR_DAMAGED when it does not have its form
 */
export function parseRepositories(bytes: Buffer): Repositories {
  const file = entries(parseFile(bytes), 'the file')
  const names = file.find(([key]) => key === 'Repositories')?.[1] ?? {}
  return new Map(entries(names, 'Repositories').map(([name, refs]) => [name, references(name, refs)]))
}

function parseFile(bytes: Buffer): unknown {
  try {
    return parseJSON(bytes, WHAT)
  } catch (cause) {
    if (cause instanceof OverlaidError) throw new OverlaidError('ERR_DAMAGED', cause.message, { cause })
    throw cause
  }
}

/** Not a valibot record: that drops the keys of Object.prototype, and `constructor` is a good repository name. */
function entries(value: unknown, what: string): [string, unknown][] {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return Object.entries(value)
  throw new OverlaidError('ERR_DAMAGED', `${WHAT}: ${what} should be an object`)
}

function references(name: string, refs: unknown): Map<string, Digest> {
  return new Map(entries(refs, name).map(([ref, id]) => [ref, imageID(ref, id)]))
}

function imageID(ref: string, id: unknown): Digest {
  const problem = typeof id === 'string' ? digestProblem(id) : 'an image id expected'
  if (problem !== undefined) throw new OverlaidError('ERR_DAMAGED', `${WHAT}: ${ref}: ${problem}`)
  return parseDigest(id as string)
}

/** The bytes of repositories.json: keys sorted as Go sorts them, so that the same names give the same bytes. */
export function formatRepositories(repositories: Repositories): Buffer {
  const outer = sorted(repositories).map(([name, refs]) => {
    const inner = sorted(refs).map(([ref, id]) => `${JSON.stringify(ref)}:${JSON.stringify(id)}`)
    return `${JSON.stringify(name)}:{${inner.join(',')}}`
  })
  return Buffer.from(`{"Repositories":{${outer.join(',')}}}`)
}

/** By code unit; names are ASCII, so this is Go's byte order. */
function sorted<T>(map: ReadonlyMap<string, T>): [string, T][] {
  return [...map].sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))
}

/** The image id that `ref` names. */
export function lookUp(repositories: Repositories, ref: Reference): Digest | undefined {
  return repositories.get(familiarName(ref))?.get(familiar(ref))
}

/** Makes `ref` name `id`, in place. Returns the id that it named before. */
export function setReference(repositories: Repositories, ref: Reference, id: Digest): Digest | undefined {
  const name = familiarName(ref)
  const refs = repositories.get(name) ?? new Map<string, Digest>()
  const before = refs.get(familiar(ref))
  repositories.set(name, refs.set(familiar(ref), id))
  return before
}

/** Takes the name `ref` away, in place. Whether it was there. */
export function deleteReference(repositories: Repositories, ref: Reference): boolean {
  const refs = repositories.get(familiarName(ref))
  const found = refs?.delete(familiar(ref)) ?? false
  if (refs?.size === 0) repositories.delete(familiarName(ref))
  return found
}

/** The familiar references of `id`, sorted. */
export function namesOf(repositories: Repositories, id: Digest): string[] {
  const names: string[] = []
  for (const refs of repositories.values()) {
    for (const [ref, named] of refs) if (named === id) names.push(ref)
  }
  return names.sort()
}
