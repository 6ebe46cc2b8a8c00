/**
 * repositories.json: which names the images of a store have. Docker's form, compact and without a last newline:
 *
 *     {"Repositories":{"alpine":{"alpine:3.20":"sha256:…","alpine@sha256:…":"sha256:…"}}}
 *
 * Outer keys are familiar names, inner keys familiar references, values image ids. dockerd does not start on a
 * file that it cannot parse, so nothing is guessed here: a wrong file is damage.
 */
import * as v from 'valibot'
import { OverlaidError } from '../errors.ts'
import { type Digest, digestProblem, parseDigest } from './digest.ts'
import { decode, parseJSON } from './json.ts'
import { type Reference, familiar, familiarName } from './reference.ts'

/** Image id by familiar reference, by familiar name. */
export type Repositories = Map<string, Map<string, Digest>>

const WHAT = 'repositories.json'

const schema: v.GenericSchema<unknown, { Repositories?: unknown }> = v.looseObject({
  Repositories: v.nullish(
    v.custom<object>(
      (value) => typeof value === 'object' && value !== null && !Array.isArray(value),
      'an object expected',
    ),
    {},
  ),
})

/**
 * Reads repositories.json.
 * @throws ERR_DAMAGED when it does not have its form
 */
export function parseRepositories(bytes: Buffer): Repositories {
  try {
    const { Repositories } = decode(schema, parseJSON(bytes, WHAT), WHAT)
    // Not a valibot record: it drops the keys of Object.prototype, and `constructor` is a good repository name.
    return new Map(
      Object.entries(Repositories as object).map(([name, refs]) => [name, references(name, refs)]),
    )
  } catch (cause) {
    if (cause instanceof OverlaidError) throw new OverlaidError('ERR_DAMAGED', cause.message, { cause })
    throw cause
  }
}

function references(name: string, refs: unknown): Map<string, Digest> {
  if (typeof refs !== 'object' || refs === null || Array.isArray(refs)) {
    throw new OverlaidError('ERR_DAMAGED', `${WHAT}: ${name}: an object expected`)
  }
  return new Map(Object.entries(refs).map(([ref, id]) => [ref, imageID(ref, id)]))
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
